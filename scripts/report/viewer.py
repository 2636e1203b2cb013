"""The scrollable viewer inside a scan's page, with its volumes as text.

NiiVue is used and not nilearn's `view_img`, because that shows one overlay at one threshold, fixed when the page is
made, while a reader has to switch between input, reconstruction, map and mask, and to move the threshold.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from scripts.report.colours import MAP, REGION
from scripts.report.display import DisplayVolumes, display_nifti

__all__ = ["VIEWER_SCRIPTS", "Layer", "Viewer", "make_viewer"]

VIEWER_SCRIPTS = ("niivue/niivue.umd.js", "viewer.js")
_LABELS = {
    "image": "input",
    "reconstruction": "reconstruction",
    "anomaly_map": "anomaly map",
    "lesion_mask": "candidate region",
}


@dataclass(frozen=True)
class Layer:
    """One volume of the viewer.

    Attributes:
        name: as in the result's files, such as `anomaly_map`.
        label: what readers see.
        base64: the gzipped NIfTI file.
        low: the value that is drawn black or as the colour scale's begin.
        high: the value that is drawn white or as the colour scale's end.
    """

    name: str
    label: str
    base64: str
    low: float
    high: float


@dataclass(frozen=True)
class Viewer:
    """What the page's template and `viewer.js` need.

    Attributes:
        layers: the volumes, the input first.
        settings: numbers for the script, nothing but what JSON can hold.
        spacing_mm: voxel edges of the copies, mm.
    """

    layers: list[Layer]
    settings: dict[str, Any]
    spacing_mm: list[float]

    @property
    def names(self) -> list[str]:
        """Names of the layers."""
        return [layer.name for layer in self.layers]


def make_viewer(
    display: DisplayVolumes,
    *,
    threshold: float | None = None,
    world_to_template: Sequence[Sequence[float]] | None = None,
    reconstruction_window: tuple[float, float] = (0.0, 1.0),
) -> Viewer:
    """Prepare the layers and settings of the viewer.

    The input's grey scale runs from the 1st to the 99th percentile inside the brain: what the pipeline calls 0 and 1.
    With its default window the reconstruction, which has that scale, therefore has the same grey for the same tissue.

    Args:
        display: `image`, and any of `reconstruction`, `anomaly_map` and `lesion_mask`.
        threshold: where the threshold slider starts; the middle of the colour scale by default.
        world_to_template: [4, 4], scanner's world to MNI152, mm; with it the crosshair is also given in MNI mm.
        reconstruction_window: values of the reconstruction that are drawn black and white.
    """
    layers = []
    for name, label in _LABELS.items():
        if name not in display.volumes:
            continue
        volume, is_label = display.volumes[name], name == "lesion_mask"
        low, high = _range(display, name)
        nifti = display_nifti(volume, display.affine, low=low, high=high, label=is_label)
        shown = _window(display, name, threshold, reconstruction_window)
        layers.append(Layer(name, label, base64.b64encode(nifti).decode("ascii"), *shown))
    settings: dict[str, Any] = {
        "layers": [{"name": one.name, "label": one.label, "low": one.low, "high": one.high} for one in layers],
        "regionColour": [round(255 * channel) for channel in to_rgb(REGION)],
        "worldToTemplate": None if world_to_template is None else np.asarray(world_to_template, float).tolist(),
        "thickSlices": _thick_slices(display.spacing_mm),
        "voxelMl": abs(float(np.linalg.det(display.affine[:3, :3]))) / 1000,
    }
    if "anomaly_map" in display.volumes:
        top = display.map_maximum(threshold)
        settings["threshold"] = top / 2 if threshold is None else float(threshold)
        settings["mapMaximum"] = max(float(display.volumes["anomaly_map"].max()), top)
        settings["mapColours"] = _colours()
    return Viewer(layers, settings, [round(float(edge), 2) for edge in display.spacing_mm])


def _thick_slices(spacing_mm: NDArray[np.float64]) -> str | None:
    """Return the view that shows whole slices, where these are over twice as thick as their pixels; else None."""
    axis = int(np.argmax(spacing_mm))
    others = np.delete(spacing_mm, axis)
    return ("sagittal", "coronal", "axial")[axis] if spacing_mm[axis] > 2 * others.max() else None


def _range(display: DisplayVolumes, name: str) -> tuple[float, float]:
    """Return the values that bytes 0 and 255 stand for; the map's peak is kept, an image's brightest 0.1 % are not."""
    volume = display.volumes[name]
    low = min(0.0, float(display.inside(name).min()))
    high = float(volume.max()) if name != "image" else float(np.percentile(display.inside(name), 99.9))
    return (low, high) if high > low else (low, low + 1.0)


def _window(
    display: DisplayVolumes, name: str, threshold: float | None, reconstruction_window: tuple[float, float]
) -> tuple[float, float]:
    """Return the values that are drawn at the ends of a layer's colour scale."""
    if name == "image":
        return display.window(name)
    if name == "reconstruction":
        return reconstruction_window
    return (0.0, display.map_maximum(threshold)) if name == "anomaly_map" else (0.0, 1.0)


def _colours() -> dict[str, list[int]]:
    """Return the map's colour scale as NiiVue wants it; only 0 is transparent."""
    places = np.linspace(0, 255, 32).round().astype(int)
    rgb = (colormaps[MAP](places)[:, :3] * 255).round().astype(int)
    channels = dict(zip("RGB", rgb.T.tolist(), strict=True))
    return {**channels, "A": [0] + [255] * (len(places) - 1), "I": places.tolist()}
