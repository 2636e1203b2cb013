"""The files of each scan: images on its own grid (DICOM where it came as that), a JSON result, pictures and a page.

Results of BIDS scans get sidecars, and the files of a data set of derivatives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from scripts.data.inputs.files import readable_name
from scripts.errors import InputError, check_choice
from scripts.evaluation import OperatingPoints
from scripts.evaluation.case import engine_items
from scripts.handlers.session_change import CHANGE_IMAGES, SessionChange, compare_sessions, save_change
from scripts.metrics.thresholds import largest_p_value
from scripts.networks import ModalityWeights
from scripts.registration.template import place_of_region
from scripts.report.pages import NOTICE
from scripts.report.panel import draw_panel
from scripts.report.scan_page import write_scan_page
from scripts.report.tables import write_json, write_text
from scripts.results import (
    BUNDLE,
    bundle_version,
    region_table,
    remove_result,
    result_path,
    versions,
    write_dataset_description,
)
from scripts.scans.dicom import is_dicom
from scripts.scans.dicom.results import DicomSource, ResultMaker
from scripts.scans.volume import as_volume, grid_of, original_scan, read_notes, save_volume, source_path

__all__ = [
    "DicomOutput",
    "ScanResult",
    "dicom_files",
    "scan_facts",
    "write_dataset_files",
    "write_dicom",
    "write_sidecars",
]

logger = logging.getLogger(__name__)
_SUFFIX = ".dcm"
_LABELS = {"lesion_mask": "Candidate regions", "anomaly_map": "Anomaly map"}


class DicomOutput(StrEnum):
    """When results are written as DICOM too."""

    AUTO = "auto"
    TRUE = "true"
    FALSE = "false"

    @classmethod
    def of(cls, value: object) -> DicomOutput:
        """Return the member of that value, a bool among them.

        Raises:
            InputError: for anything else.

        Examples:
            >>> DicomOutput.of(False)
            <DicomOutput.FALSE: 'false'>
        """
        return check_choice(cls, str(value).strip().lower(), "dicom")


def dicom_files(output_dir: str, item: Mapping[str, Any], save: Sequence[str], when: DicomOutput) -> dict[str, Path]:
    """Return the DICOM files that a scan gets: a segmentation and a parametric map, of the images that are saved.

    Args:
        output_dir: folder of all results.
        item: the scan; `image` is its file, or was loaded from it.
        save: the images that are written.
        when: `auto` and `true` write them where the scan is DICOM, `auto` only if highdicom is installed.
    """
    image = item["image"]
    path = Path(image) if isinstance(image, str) else source_path(image)
    if when is DicomOutput.FALSE or path is None or not is_dicom(path):
        return {}
    if when is DicomOutput.AUTO and find_spec("highdicom") is None:
        logger.warning("%s: no DICOM results, as highdicom is not installed (`pip install highdicom`).", path)
        return {}
    return {name: result_path(output_dir, item, name, suffix=_SUFFIX) for name in _LABELS if name in save}


def write_dicom(
    files: Mapping[str, Path], item: Mapping[str, Any], *, parameters: Mapping[str, Any], when: DicomOutput
) -> dict[str, str]:
    """Write the DICOM files of a finished scan.

    They carry the patient and study of the source series, so that an archive files them there.

    Args:
        files: from `dicom_files`.
        item: the scan, with its images on its own grid.
        parameters: what the maps were made with; noted in the segmentation.
        when: with `auto`, a series that results cannot refer to gives a warning in their place.

    Returns:
        The files' names by what they hold, such as `lesion_mask_dicom`.

    Raises:
        InputError: with `true`, if results cannot refer to the series.
    """
    image = source_path(item["image"])
    if not files or image is None:
        return {}
    maker = ResultMaker(
        name=BUNDLE, version=bundle_version(), parameters={key: str(value) for key, value in parameters.items()}
    )
    try:
        source = DicomSource(image)
    except InputError as error:
        if when is DicomOutput.TRUE:
            raise
        logger.warning("No DICOM results: %s", error)
        return {}
    for name, path in files.items():
        write = source.write_segmentation if name == "lesion_mask" else source.write_map
        write(path, as_volume(item[name]), grid_of(item[name]), label=_LABELS[name], maker=maker)
    return {f"{name}_dicom": path.name for name, path in files.items()}


_VOLUMES = ("reconstruction", "anomaly_map", "lesion_mask", "brain_mask")
_APART = ("quality", "seconds", "input_sha256")


def scan_facts(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a result that is known of every scan, refused ones too: who, which input, quality, steps."""
    notes = read_notes(item)
    return {
        "case": str(item["case"]),
        "modality": str(item["modality"]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "input_sha256": notes.get("input_sha256"),
        "quality": notes.get("quality"),
        "preprocessing": {step: facts for step, facts in notes.items() if step not in _APART},
        "versions": versions(),
        "notice": NOTICE,
    }


def _volumes(item: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the images of a scan as arrays [H, W, D]; masks of bytes stay bytes, as they may be large."""
    return {name: np.asarray(torch.as_tensor(item[name]).detach().cpu())[0] for name in _VOLUMES}


@dataclass
class ScanResult:
    """Write the images of `save`, `result.json`, `panel.png` and `report.html` of each scan, the JSON file last.

    The evaluator's items need `case`, `modality`, `folder`, `stem`, `notes`, and `image`, `brain_mask`, `anomaly_map`,
    `lesion_mask`, `reconstruction` [1, H, W, D] on the scan's own grid.
    The item's `anomaly_score` is the score of the scan; its p-value is taken against the healthy scans of the
    operating points. An item with `baseline_case` is compared with that scan, whose files must be there already.

    Args:
        output_dir: folder; `result_path` says where in it the files of a scan go.
        operating_points: the thresholds that made the lesion masks.
        weights: the network's weights, for their name and checksum.
        save: images to write, some of `SAVED_IMAGES`.
        parameters: anything that belongs into the JSON file, such as the seed.
        settings: of the map; they join the parameters.
        device: what the network ran on.
        picture: whether to draw the panel.
        report: whether to write the page.
        dicom: auto writes candidate regions and anomaly map as DICOM too where the scan is DICOM; true, false.
        baselines: the scans of a run by their names, for those that others are compared with.
    """

    output_dir: str
    operating_points: OperatingPoints
    weights: ModalityWeights
    save: Sequence[str] = ("anomaly_map", "lesion_mask")
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    picture: bool = True
    report: bool = True
    dicom: str | bool = DicomOutput.AUTO
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with no result."""
        self.dicom = DicomOutput.of(self.dicom)
        self.parameters = {**self.parameters, **self.settings}
        self.results: list[dict[str, Any]] = []
        self._began = self._ready = self._reconstructed = time.perf_counter()

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._have_batch)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._have_maps)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self._began = time.perf_counter()

    def _have_batch(self, engine: Engine) -> None:
        self._ready = time.perf_counter()

    def _have_maps(self, engine: Engine) -> None:
        self._reconstructed = time.perf_counter()

    def __call__(self, engine: Engine) -> None:
        """Write the files of the current iteration's scans."""
        for item in engine_items(engine):
            self.results.append(self._write(item))
        self._start(engine)

    def _write(self, item: Mapping[str, Any]) -> dict[str, Any]:
        writing = time.perf_counter()
        # Without result.json first, a run that ends here would leave new images beside an old result.
        remove_result(self.output_dir, item)
        affine, volumes = grid_of(item["image"]), _volumes(item)
        result = self._described(item, volumes, affine)
        change = self._compared(item, result, volumes, affine)
        if change is not None:
            result["change"] = change.facts
        result["files"] = self._save_images(item, change)
        if self.picture:
            draw_panel(
                result_path(self.output_dir, item, "panel", suffix=".png"),
                image=as_volume(item["image"]),
                reconstruction=volumes["reconstruction"],
                anomaly_map=volumes["anomaly_map"],
                brain_mask=volumes["brain_mask"],
                region_mask=volumes["lesion_mask"],
                threshold=result["threshold"],
                affine=affine,
                spacing_mm=tuple(np.linalg.norm(affine[:3, :3], axis=0)),
                title=f"{result['case']} · {result['region_volume_ml']:.1f} ml above {result['threshold']:g}",
            )
        seconds = {**read_notes(item).get("seconds", {}), "reconstruction and map": self._reconstructed - self._ready}
        seconds["writing images"] = time.perf_counter() - writing
        seconds["total"] = time.perf_counter() - self._began
        result["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
        if self.report:
            write_scan_page(
                result_path(self.output_dir, item, "report", suffix=".html"),
                result=result,
                volumes={"image": original_scan(item["image"]), **volumes, **(change.volumes if change else {})},
                affine=affine,
            )
        write_json(result_path(self.output_dir, item, "result", suffix=".json"), result)
        return result

    def _compared(
        self, item: Mapping[str, Any], result: Mapping[str, Any], volumes: Mapping[str, np.ndarray], affine: np.ndarray
    ) -> SessionChange | None:
        baseline = self.baselines.get(str(item.get("baseline_case")))
        if baseline is None:
            return None
        scan = {**volumes, "image": original_scan(item["image"])}
        return compare_sessions(self.output_dir, baseline, result=result, volumes=scan, affine=affine)

    def _saved(self, item: Mapping[str, Any]) -> list[str]:
        """Return the images to write of a scan, with those that a comparison with another session needs."""
        also = [name for name in str(item.get("also_save") or "").split(",") if name]
        return list(dict.fromkeys([*self.save, *also]))

    def _save_images(self, item: Mapping[str, Any], change: SessionChange | None) -> dict[str, str]:
        paths = {name: result_path(self.output_dir, item, name) for name in self._saved(item)}
        for name, path in paths.items():
            save_volume(path, item[name], name=name)
        names = write_dicom(self._dicom_files(item), item, parameters=self.parameters, when=DicomOutput.of(self.dicom))
        changes = save_change(self.output_dir, item, change) if change else {}
        write_sidecars(self.output_dir, item, [*paths, *changes])
        return {name: path.name for name, path in paths.items()} | changes | names

    def _dicom_files(self, item: Mapping[str, Any]) -> dict[str, Path]:
        return dicom_files(self.output_dir, item, self._saved(item), DicomOutput.of(self.dicom))

    def wanted_files(self, item: Mapping[str, Any]) -> list[Path]:
        """Return the files of a scan's result, apart from `result.json`."""
        compared = CHANGE_IMAGES if item.get("baseline_case") else ()
        files = [result_path(self.output_dir, item, name) for name in (*self._saved(item), *compared)]
        files += self._dicom_files(item).values()
        files += [result_path(self.output_dir, item, "panel", suffix=".png")] if self.picture else []
        return files + ([result_path(self.output_dir, item, "report", suffix=".html")] if self.report else [])

    def describe(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of a finished scan, as in `result.json`, before its files and times are known.

        Args:
            item: the entries that the class names, and `anomaly_score`.
        """
        return self._described(item, _volumes(item), grid_of(item["image"]))

    def _described(
        self, item: Mapping[str, Any], volumes: Mapping[str, np.ndarray], affine: np.ndarray
    ) -> dict[str, Any]:
        facts = scan_facts(item)
        to_template = facts["preprocessing"].get("alignment", {}).get("world_to_template")
        modality, weights = facts["modality"], self.weights.use(facts["modality"])
        score, sha256 = float(item["anomaly_score"]), weights["sha256"]
        threshold = self.operating_points.values[modality]
        healthy = self.operating_points.healthy_scores(modality, weights_sha256=sha256)
        groups = self.operating_points.healthy_groups(modality, weights_sha256=sha256)
        from_points = {
            "threshold": threshold,
            "threshold_source": self.operating_points.source(modality, weights_sha256=sha256),
            "healthy_false_positive_ml": self.operating_points.healthy_volumes(modality, weights_sha256=sha256),
        }
        regions = region_table(
            volumes["lesion_mask"],
            volumes["anomaly_map"],
            affine,
            threshold=threshold,
            world_to_template=np.eye(4) if to_template is None else np.asarray(to_template, dtype=np.float64),
            place_of=place_of_region,
        )
        return {
            **{key: facts.pop(key) for key in ("case", "modality")},
            "status": "ok",
            "reasons": [],
            "input": readable_name(Path(str(item["image"].meta.get("filename_or_obj", ""))).name),
            "anomaly_score": score,
            "p_value": largest_p_value(score, groups) if groups else None,
            "lowest_p_value": max(1 / (len(group) + 1) for group in groups.values()) if groups else None,
            "num_healthy_scans": len(healthy),
            "healthy_rank": 1 + sum(value >= score for value in healthy) if healthy else None,
            **from_points,
            "region_volume_ml": float(sum(row["volume_ml"] for row in regions)),
            "num_regions": len(regions),
            "regions": regions,
            "brain_volume_ml": float((volumes["brain_mask"] > 0).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000),
            **facts,
            "parameters": dict(self.parameters),
            "weights": weights,
            "device": str(self.device),
        }


_SIDECARS: dict[str, dict[str, Any]] = {
    "anomaly_map": {"Description": "Anomaly map; higher is more anomalous"},
    "lesion_mask": {"Description": "Candidate regions: the anomaly map reaches the threshold", "Type": "Lesion"},
    "mahalanobis_map": {"Description": "Mahalanobis distance from the reconstructions"},
    "reconstruction": {"Description": "Healthy brain that the model makes of the scan", "SkullStripped": True},
    "uncertainty": {"Description": "Spread of the reconstructions"},
    "brain_mask": {"Description": "Brain mask", "Type": "Brain"},
    "difference_map": {"Description": "Anomaly map less that of the baseline session"},
    "change_dseg": {"Description": "Change since baseline: 1 new, 2 grown, 3 shrunken, 4 vanished, 5 unchanged"},
}
# what BIDS has no names for
_IGNORED = ("*.html", "*.csv", "*.png", "*.dcm", "*_map.nii.gz", "*_map.json", "*_result.json", "logs/")
_README = """\
Anomaly maps of T1- and T2-weighted brain scans. Research software; not a medical device, and not for diagnosis.

`index.html` and `summary.csv` list the scans, `regions.csv` their candidate regions. Beside each scan's images lie
`*_result.json` (all numbers) and `*_report.html`, a page with a viewer. Files that BIDS has no names for are listed in
`.bidsignore`.
"""


def write_sidecars(output_dir: str, item: Mapping[str, Any], names: Iterable[str]) -> None:
    """Write the JSON sidecar of each image of a BIDS scan; nothing for other scans.

    Args:
        output_dir: folder of all results.
        item: the scan.
        names: of its images, as for `result_path`.
    """
    if "bids_suffix" not in item:
        return
    source = f"bids:raw:{item['folder']}/{item['stem']}_{item['bids_suffix']}.nii.gz"
    for name in names:
        path = result_path(output_dir, item, name, suffix=".json")
        write_json(path, {**_SIDECARS[name], "SpatialReference": source, "Sources": [source]})


def write_dataset_files(output_dir: str) -> None:
    """Write `dataset_description.json`, `.bidsignore` and `README.md`; what another program wrote stays as it is."""
    write_dataset_description(output_dir, bundle_version())
    ignored = Path(output_dir, ".bidsignore")
    known = ignored.read_text(encoding="utf-8").splitlines() if ignored.is_file() else []
    lines = list(dict.fromkeys([*known, *_IGNORED]))
    if lines != known:
        write_text(ignored, "\n".join(lines) + "\n")
    if not any(Path(output_dir).glob("README*")):
        write_text(Path(output_dir, "README.md"), _README)
