"""A JSON file and a picture for each scan."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from skimage.measure import label, regionprops

from scripts.handlers.engine_items import engine_items
from scripts.report.panel import draw_panel
from scripts.report.tables import write_json

__all__ = ["ScanResult", "lesion_table"]

logger = logging.getLogger(__name__)


def lesion_table(mask: np.ndarray, anomaly_map: np.ndarray, affine: np.ndarray) -> list[dict[str, Any]]:
    """Describe each connected lesion, largest first.

    Args:
        mask: [H, W, D], above 0 inside lesions; voxels that share a face, edge or corner belong together.
        anomaly_map: [H, W, D].
        affine: voxel to world, mm.

    Returns:
        A dict a lesion: `volume_ml`, `centroid_mm` (world), `peak` and `mean` of the map.
    """
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    regions = regionprops(label(mask > 0, connectivity=3), intensity_image=anomaly_map)
    rows = [
        {
            "volume_ml": float(region.area * voxel_ml),
            "centroid_mm": [round(float(x), 2) for x in (affine @ [*region.centroid, 1.0])[:3]],
            "peak": float(region.intensity_max),
            "mean": float(region.intensity_mean),
        }
        for region in regions
    ]
    return sorted(rows, key=lambda row: -row["volume_ml"])


def _array(image: torch.Tensor) -> np.ndarray:
    return np.asarray(torch.as_tensor(image).detach().cpu(), dtype=np.float32)[0]


class ScanResult:
    """Write `<case>_result.json` and `<case>_panel.png` beside each scan's images.

    The evaluator's items need `case`, and `image`, `brain_mask`, `anomaly_map`, `lesion_mask`, `reconstruction`
    [1, H, W, D].
    The score of a scan is the mean of the highest 1 % of its brain voxels' anomaly map.

    Args:
        output_dir: folder; the files go to `<output_dir>/<case>/`.
        threshold: the one that made the lesion mask.
        parameters: anything that belongs into the JSON file, such as seed and number of samples.
        picture: whether to draw the picture.
    """

    def __init__(
        self, output_dir: str, *, threshold: float, parameters: Mapping[str, Any] | None = None, picture: bool = True
    ) -> None:
        self.output_dir = Path(output_dir)
        self.threshold = threshold
        self.parameters = dict(parameters or {})
        self.picture = picture

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self._started = time.perf_counter()

    def __call__(self, engine: Engine) -> None:
        """Write the files of the current iteration's scans."""
        seconds = time.perf_counter() - self._started
        for item in engine_items(engine):
            self._write(item, seconds)

    def _write(self, item: Mapping[str, Any], seconds: float) -> None:
        case, image = str(item["case"]), item["image"]
        affine = np.asarray(image.affine if isinstance(image, MetaTensor) else np.eye(4), dtype=np.float64)
        volumes = {
            key: _array(item[key]) for key in ("image", "brain_mask", "anomaly_map", "lesion_mask", "reconstruction")
        }
        inside = volumes["anomaly_map"][volumes["brain_mask"] > 0]
        top = np.sort(inside)[-max(1, inside.size // 100) :]
        lesions = lesion_table(volumes["lesion_mask"], volumes["anomaly_map"], affine)
        folder = self.output_dir / case
        result = {
            "case": case,
            "anomaly_score": float(top.mean()),
            "threshold": self.threshold,
            "lesion_volume_ml": float(sum(row["volume_ml"] for row in lesions)),
            "num_lesions": len(lesions),
            "lesions": lesions,
            "brain_volume_ml": float(inside.size * abs(np.linalg.det(affine[:3, :3])) / 1000),
            "seconds": round(seconds, 2),
            "parameters": self.parameters,
            "notice": "Research software; not a medical device.",
        }
        write_json(folder / f"{case}_result.json", result)
        if self.picture:
            draw_panel(
                folder / f"{case}_panel.png",
                image=volumes["image"].clip(0),
                reconstruction=volumes["reconstruction"],
                anomaly_map=volumes["anomaly_map"],
                brain_mask=volumes["brain_mask"],
                threshold=self.threshold,
                affine=affine,
                spacing_mm=tuple(np.linalg.norm(affine[:3, :3], axis=0)),
                title=f"{case} · {result['lesion_volume_ml']:.1f} ml above {self.threshold:g}",
            )
        logger.info("%s: %d lesions, %.1f ml; see %s", case, len(lesions), result["lesion_volume_ml"], folder)
