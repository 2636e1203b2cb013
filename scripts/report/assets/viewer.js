// The viewer of a scan's page: loads the volumes that are embedded in the page into NiiVue and connects the controls.
// It reports to the reader and to tests through <body data-viewer="loading | ready | failed: reason">.
"use strict";
(function () {
  const panel = document.getElementById("viewer");
  if (!panel) return;
  const settings = JSON.parse(document.getElementById("viewer-settings").textContent);
  const find = (id) => document.getElementById(id);
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const layers = {}; // NiiVue's volumes by name
  let viewer = null;
  let rawCounts = null; // how many voxels of the map have each byte

  function fail(reason) {
    document.body.dataset.viewer = "failed: " + reason;
    const message = find("viewer-message");
    message.textContent = "The viewer could not start (" + reason + "). The slices below and the files beside this page show the same results.";
    message.hidden = false;
    find("viewer-body").hidden = true;
  }

  function hasWebGL2() {
    try {
      return Boolean(document.createElement("canvas").getContext("webgl2"));
    } catch (error) {
      return false;
    }
  }

  // Two redraws in one frame of the screen would only be slower: each one runs through the whole volume.
  let waiting = false;
  function redrawSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      viewer.updateGLVolume();
    });
  }

  async function load() {
    viewer = new niivue.Niivue({
      isRadiologicalConvention: true,
      crosshairColor: [0.6, 0.9, 0.6, 0.7],
      crosshairWidth: 0.6,
      crosshairWidthUnit: "mm",
      crosshairGap: 5,
      multiplanarPadPixels: 16,
      multiplanarShowRender: 1,
      dragAndDropEnabled: false,
      logLevel: "error",
      loadingText: "loading",
      fontMinPx: 20,
      showAllOrientationMarkers: true,
      fontColor: [0.9, 0.9, 0.9, 1],
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
    });
    viewer.onLocationChange = showPosition;
    viewer.onIntensityChange = () => { if (layers[shownGrey()] === viewer.volumes[0]) followDrag(); };
    await viewer.attachToCanvas(find("viewer-canvas"));
    if (settings.mapColours) viewer.addColormap("anomaly", settings.mapColours);
    // The first volume gives the grid; the reconstruction comes last and changes places with the input when chosen.
    const order = ["image", "anomaly_map", "difference_map", "lesion_mask", "change_dseg", "baseline", "reconstruction"];
    const known = settings.layers.slice().sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
    for (const layer of known) {
      const volume = await niivue.NVImage.loadFromBase64({
        base64: document.querySelector('script[data-volume="' + layer.name + '"]').textContent.trim(),
        name: layer.name + ".nii.gz",
        colormap: layer.name === "anomaly_map" ? "anomaly" : "gray",
        opacity: layer.name === "image" ? 1 : 0,
        cal_min: layer.low,
        cal_max: layer.high,
      });
      if (layer.name === "lesion_mask") {
        const [red, green, blue] = settings.regionColour;
        volume.setColormapLabel({ R: [0, red], G: [0, green], B: [0, blue], A: [0, 255], I: [0, 1], labels: ["", "candidate region"] });
      }
      if (layer.name === "change_dseg") volume.setColormapLabel(changeColours());
      if (layer.name === "difference_map") {
        volume.colormap = "warm"; // more than at baseline
        volume.colormapNegative = "winter"; // less
        volume.colormapType = 1; // what lies between -cal_min and cal_min is not drawn
      }
      if (layer.name === "anomaly_map") {
        volume.colormapType = 2; // colours count from 0, what lies below cal_min is not drawn
        rawCounts = new Array(256).fill(0);
        for (const byte of volume.img) rawCounts[byte] += 1;
      }
      layers[layer.name] = volume;
      viewer.addVolume(volume);
    }
  }

  function changeColours() {
    const kinds = settings.changes.map(([kind]) => kind), colours = settings.changes.map(([, colour]) => colour);
    const [R, G, B] = [0, 1, 2].map((channel) => [0, ...colours.map((colour) => colour[channel])]);
    return { R, G, B, A: [0, ...kinds.map(() => 255)], I: [0, ...kinds.map((kind, index) => index + 1)], labels: ["", ...kinds] };
  }

  function setGrey(name) {
    const others = GREY.filter((one) => layers[one]).map((one) => layers[one]);
    others.forEach((volume) => { volume.opacity = 0; });
    layers[name].opacity = 1;
    const position = viewer.scene.crosshairPos.slice();
    others.filter((volume) => volume !== layers[name]).forEach((volume) => viewer.setVolume(volume, viewer.volumes.length - 1));
    viewer.setVolume(layers[name], 0);
    viewer.scene.crosshairPos = position;
    showWindow();
    redrawSoon();
  }

  // Level and window count in parts of the standard window, so that input and reconstruction keep one grey for one tissue.
  const PRESETS = { standard: [0.5, 1], low: [0.6, 1.6], high: [0.55, 0.5] }; // level, window
  const GREY = ["image", "reconstruction", "baseline"];
  const standard = (name) => settings.layers.find((layer) => layer.name === name);
  const shownGrey = () => GREY.find((name) => layers[name] && layers[name].opacity > 0) || "image";

  function setWindow() {
    const level = Number(find("level").value), half = Number(find("window").value) / 2;
    for (const name of GREY.filter((one) => layers[one])) {
      const { low, high } = standard(name);
      layers[name].cal_min = low + (level - half) * (high - low);
      layers[name].cal_max = low + (level + half) * (high - low);
    }
    showWindow();
    redrawSoon();
  }

  function showWindow() {
    const volume = layers[shownGrey()];
    find("window-low").textContent = Number(volume.cal_min.toPrecision(3)).toString();
    find("window-high").textContent = Number(volume.cal_max.toPrecision(3)).toString();
  }

  // NiiVue changes the lowest layer when the right button is dragged: the sliders and the other grey image follow.
  function followDrag() {
    const name = shownGrey(), { low, high } = standard(name), volume = layers[name];
    find("level").value = ((volume.cal_min + volume.cal_max) / 2 - low) / (high - low);
    find("window").value = (volume.cal_max - volume.cal_min) / (high - low);
    setWindow();
  }

  function setMap() {
    const volume = layers.anomaly_map;
    if (!volume) return;
    const threshold = Number(find("threshold").value);
    const top = settings.layers.find((layer) => layer.name === "anomaly_map").high;
    volume.opacity = find("show-map").checked ? Number(find("map-opacity").value) : 0;
    volume.cal_min = threshold;
    volume.cal_max = Math.max(top, threshold * 1.01);
    const { scl_slope: slope, scl_inter: intercept } = volume.hdr;
    const above = rawCounts.reduce((sum, count, byte) => sum + (slope * (byte + 0.5) + intercept > threshold ? count : 0), 0);
    find("threshold-value").textContent = threshold.toFixed(3) + " and above: about " + (above * settings.voxelMl).toFixed(1) + " ml";
    find("map-scale-low").textContent = threshold.toFixed(3);
    find("map-scale-high").textContent = volume.cal_max.toFixed(3);
    drawScale(threshold / volume.cal_max);
    redrawSoon();
  }

  function drawScale(start) {
    const { R, G, B, I } = settings.mapColours;
    const stops = I.map((place, index) => [(place / 255 - start) / (1 - start), "rgb(" + R[index] + "," + G[index] + "," + B[index] + ")"]);
    const shown = stops.filter(([place]) => place >= 0).map(([place, colour]) => colour + " " + (100 * place).toFixed(1) + "%");
    find("map-scale").style.background = "linear-gradient(to right, " + (shown.length > 1 ? shown.join(", ") : "#fff, #fff") + ")";
  }

  function setMask() {
    const volume = layers.lesion_mask;
    if (!volume) return;
    // The outline has its own strength; a fill of exactly 0 would make NiiVue leave the layer out.
    volume.opacity = find("show-mask").checked ? Math.max(Number(find("mask-opacity").value), 0.004) : 0;
    setOutline();
    redrawSoon();
  }

  const isOn = (id) => Boolean(find(id)) && find(id).checked;

  function setOutline() {
    viewer.opts.atlasOutline = isOn("show-mask") || isOn("show-change") ? 1 : 0;
  }

  function setChange() {
    if (!layers.change_dseg) return;
    const opacity = Number(find("change-opacity").value);
    layers.change_dseg.opacity = isOn("show-change") ? Math.max(opacity, 0.004) : 0;
    layers.difference_map.opacity = isOn("show-difference") ? opacity : 0;
    setOutline();
    redrawSoon();
  }

  function valueText(value) {
    if (value.name.startsWith("lesion")) return value.value > 0 ? "yes" : "no";
    if (value.name.startsWith("change")) return (settings.changes[Math.round(value.value) - 1] || ["none"])[0];
    return Number(value.value.toPrecision(3)).toString();
  }

  function setView(name) {
    const types = { multiplanar: "sliceTypeMultiplanar", axial: "sliceTypeAxial", coronal: "sliceTypeCoronal", sagittal: "sliceTypeSagittal", render: "sliceTypeRender" };
    viewer.setSliceType(viewer[types[name]]);
  }

  const asText = (point) => point.slice(0, 3).map((value) => Number(value).toFixed(1)).join(", ");

  function showPosition(location) {
    const mm = Array.from(location.mm);
    let text = asText(mm);
    if (settings.worldToTemplate) {
      text += " · MNI about " + asText(settings.worldToTemplate.slice(0, 3).map((row) => row[0] * mm[0] + row[1] * mm[1] + row[2] * mm[2] + row[3]));
    }
    find("position").textContent = text;
    for (const value of location.values) {
      const cell = find("value-" + value.name.replace(".nii.gz", ""));
      if (cell) cell.textContent = valueText(value);
    }
    Array.from(location.vox).forEach((voxel, axis) => { find("slice-" + "xyz"[axis]).value = voxel; });
  }

  function moveTo(mm) {
    viewer.scene.crosshairPos = viewer.mm2frac(mm, 0, true);
    viewer.createOnLocationChange();
    viewer.drawScene();
  }

  const ROWS = "#regions tbody tr, #changes tbody tr";

  function connectRows() {
    all(ROWS).forEach((row) => {
      const button = row.querySelector("button");
      button.disabled = false;
      row.addEventListener("click", () => {
        all(ROWS).forEach((other) => other.removeAttribute("aria-current"));
        row.setAttribute("aria-current", "true");
        moveTo(JSON.parse(button.dataset.mm));
        panel.scrollIntoView({ block: "nearest" });
      });
    });
  }

  function connect() {
    const on = (id, event, action) => { const control = find(id); if (control) control.addEventListener(event, action); };
    all('input[name="grey"]').forEach((radio) => radio.addEventListener("change", () => setGrey(radio.value)));
    all('input[name="view"]').forEach((radio) => radio.addEventListener("change", () => setView(radio.value)));
    for (const id of ["show-map", "map-opacity", "threshold"]) on(id, "input", setMap);
    for (const id of ["level", "window"]) on(id, "input", setWindow);
    all("button[data-preset]").forEach((button) => button.addEventListener("click", () => {
      const [level, width] = PRESETS[button.dataset.preset];
      find("level").value = level;
      find("window").value = width;
      setWindow();
    }));
    for (const id of ["show-mask", "mask-opacity"]) on(id, "input", setMask);
    for (const id of ["show-change", "show-difference", "change-opacity"]) on(id, "input", setChange);
    on("threshold-reset", "click", () => { find("threshold").value = settings.threshold; setMap(); });
    on("radiological", "change", (event) => viewer.setRadiologicalConvention(event.target.checked));
    "xyz".split("").forEach((name, axis) => {
      const slider = find("slice-" + name);
      slider.max = viewer.volumes[0].dimsRAS[axis + 1] - 1;
      slider.addEventListener("input", () => {
        const voxel = Array.from(viewer.frac2vox(viewer.scene.crosshairPos));
        const step = [0, 0, 0];
        step[axis] = Number(slider.value) - voxel[axis];
        viewer.moveCrosshairInVox(...step);
      });
    });
    connectRows();
  }

  function start() {
    const first = document.querySelector("#changes tbody button") || document.querySelector("#regions tbody button");
    if (layers.anomaly_map) find("threshold").value = settings.threshold;
    setMap();
    setMask();
    setChange();
    setWindow();
    // One cut across thick slices says more than three, two of which are flat.
    if (window.innerWidth < 600 || settings.thickSlices) document.querySelector('input[name="view"][value="' + (settings.thickSlices || "axial") + '"]').checked = true;
    // A browser keeps the state of controls over a reload.
    const view = document.querySelector('input[name="view"]:checked');
    setView(view ? view.value : "multiplanar");
    const grey = document.querySelector('input[name="grey"]:checked');
    if (grey && grey.value !== "image") setGrey(grey.value);
    viewer.setRadiologicalConvention(find("radiological").checked);
    moveTo(first ? JSON.parse(first.dataset.mm) : Array.from(viewer.frac2mm([0.5, 0.5, 0.5], 0, true)).slice(0, 3));
    viewer.updateGLVolume();
  }

  // Closed parts are printed too; the licences stay closed.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details:not(.licences):not([open])");
    opened.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));

  async function run() {
    if (!hasWebGL2()) return fail("this browser has no WebGL2");
    try {
      await load();
      connect();
      start();
      document.body.dataset.viewer = "ready";
    } catch (error) {
      fail(error && error.message ? error.message : String(error));
    }
  }

  run();
})();
