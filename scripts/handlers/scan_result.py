"""The files of each scan: images on its own grid, a JSON result, pictures and a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.engines import IterationEvents

from scripts.data.inputs.files import readable_name
from scripts.evaluation import OperatingPoints
from scripts.evaluation.case import engine_items
from scripts.handlers.dicom_result import DicomOutput, dicom_files, write_dicom
from scripts.metrics.conformal import largest_p_value
from scripts.networks import ModalityWeights
from scripts.registration.anatomy import place_of_region
from scripts.report.panel import draw_panel
from scripts.report.scan_page import write_scan_page
from scripts.report.tables import write_json
from scripts.results import remove_result, result_path
from scripts.results.provenance import versions
from scripts.results.regions import region_table
from scripts.scans.notes import read_notes
from scripts.scans.volume import as_volume, grid_of, original_scan
from scripts.scans.writer import save_volume

__all__ = ["NOTICE", "ScanResult", "scan_facts"]

logger = logging.getLogger(__name__)
NOTICE = "Research software; not a medical device. Not for diagnosis."
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


@dataclass
class ScanResult:
    """Write the images of `save`, `result.json`, `panel.png` and `report.html` of each scan, the JSON file last.

    The evaluator's items need `case`, `modality`, `folder`, `stem`, `notes`, and `image`, `brain_mask`, `anomaly_map`,
    `lesion_mask`, `reconstruction` [1, H, W, D] on the scan's own grid.
    The item's `anomaly_score` is the score of the scan; its p-value is taken against the healthy scans of the
    operating points.

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
        affine, volumes = grid_of(item["image"]), {name: as_volume(item[name]) for name in _VOLUMES}
        result = self._described(item, volumes, affine)
        result["files"] = self._save_images(item)
        if self.picture:
            draw_panel(
                result_path(self.output_dir, item, "panel", suffix=".png"),
                image=as_volume(item["image"]).clip(0),
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
                volumes={"image": original_scan(item["image"]), **volumes},
                affine=affine,
            )
        write_json(result_path(self.output_dir, item, "result", suffix=".json"), result)
        return result

    def _save_images(self, item: Mapping[str, Any]) -> dict[str, str]:
        paths = {name: result_path(self.output_dir, item, name) for name in self.save}
        for name, path in paths.items():
            save_volume(path, item[name], name=name)
        names = write_dicom(
            self._dicom_files(item), item, parameters=self.parameters, when=DicomOutput.of(self.dicom)
        )
        return {name: path.name for name, path in paths.items()} | names

    def _dicom_files(self, item: Mapping[str, Any]) -> dict[str, Path]:
        return dicom_files(self.output_dir, item, self.save, DicomOutput.of(self.dicom))

    def wanted_files(self, item: Mapping[str, Any]) -> list[Path]:
        """Return the files of a scan's result, apart from `result.json`."""
        files = [result_path(self.output_dir, item, name) for name in self.save]
        files += self._dicom_files(item).values()
        files += [result_path(self.output_dir, item, "panel", suffix=".png")] if self.picture else []
        return files + ([result_path(self.output_dir, item, "report", suffix=".html")] if self.report else [])

    def describe(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of a finished scan, as in `result.json`, before its files and times are known.

        Args:
            item: the entries that the class names, and `anomaly_score`.
        """
        return self._described(item, {name: as_volume(item[name]) for name in _VOLUMES}, grid_of(item["image"]))

    def _described(
        self, item: Mapping[str, Any], volumes: Mapping[str, np.ndarray], affine: np.ndarray
    ) -> dict[str, Any]:
        facts = scan_facts(item)
        to_template = facts["preprocessing"].get("alignment", {}).get("world_to_template")
        modality, weights = facts["modality"], self.weights.use(facts["modality"])
        threshold = self.operating_points.values[modality]
        regions = region_table(
            volumes["lesion_mask"],
            volumes["anomaly_map"],
            affine,
            threshold=threshold,
            world_to_template=np.eye(4) if to_template is None else np.asarray(to_template, dtype=np.float64),
            place_of=place_of_region,
        )
        score = float(item["anomaly_score"])
        healthy = self.operating_points.healthy_scores(modality, weights_sha256=weights["sha256"])
        groups = self.operating_points.healthy_groups(modality, weights_sha256=weights["sha256"])
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
            "threshold": threshold,
            "threshold_source": self.operating_points.source(modality, weights_sha256=weights["sha256"]),
            "healthy_false_positive_ml": self.operating_points.healthy_volumes(
                modality, weights_sha256=weights["sha256"]
            ),
            "region_volume_ml": float(sum(row["volume_ml"] for row in regions)),
            "num_regions": len(regions),
            "regions": regions,
            "brain_volume_ml": float((volumes["brain_mask"] > 0).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000),
            **facts,
            "parameters": dict(self.parameters),
            "weights": weights,
            "device": str(self.device),
        }
