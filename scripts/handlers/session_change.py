"""Compare a follow-up scan with the finished result of its baseline: aligned, on the follow-up's grid."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scripts.brain_extraction.extract import volume_ml
from scripts.errors import InputError
from scripts.metrics.region_change import ChangeRules, count_changes, region_changes
from scripts.registration.align import SessionFit, align_sessions
from scripts.registration.register import prepare_scan
from scripts.registration.template import place_of_region
from scripts.results import result_path, without_small_regions
from scripts.scans import ScanReader
from scripts.scans.volume import as_volume, fill_background, grid_of, save_volume

__all__ = ["CHANGE_IMAGES", "SessionChange", "compare_sessions", "save_change"]

logger = logging.getLogger(__name__)
CHANGE_IMAGES = ("difference_map", "change_dseg")
_MIN_DIFFERENCE = 0.25  # of the threshold: what is nearer to it crosses it from scan to scan
_MAP_ORDER, _IMAGE_ORDER = 3, 1  # splines; cubic ones keep the height of a peak of one voxel


@dataclass(frozen=True)
class SessionChange:
    """What a comparison found.

    Attributes:
        facts: `change` in `result.json`.
        volumes: [H, W, D] on the follow-up's grid: `baseline` (the scan), `difference_map` and `change_dseg`; empty
            where the scans could not be compared.
    """

    facts: dict[str, Any]
    volumes: dict[str, NDArray]


@dataclass(frozen=True, kw_only=True)
class _Session:
    """A scan and what was found in it, on its own grid."""

    image: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    brain_mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


def compare_sessions(
    output_dir: str,
    baseline: Mapping[str, Any],
    *,
    result: Mapping[str, Any],
    volumes: Mapping[str, NDArray],
    affine: NDArray[np.float64],
) -> SessionChange:
    """Align a baseline with its follow-up, and say what became of the candidate regions.

    Only what both sessions show of the brain is compared. A region counts as changed from a quarter of the larger
    volume and 0.5 ml on, if the map changed by a quarter of the threshold there.

    Args:
        output_dir: folder of all results; the baseline's must be finished.
        baseline: the scan of `find_sessions`.
        result: `result.json` of the follow-up; `threshold` and the alignment with the template are used.
        volumes: [H, W, D] of the follow-up: `image`, `anomaly_map`, `brain_mask`, `lesion_mask`.
        affine: voxel to world of the follow-up, mm.

    Returns:
        The change; with `status` `failed` and `reasons` where the baseline has no result, or does not fit.
    """
    facts: dict[str, Any] = {"baseline": str(baseline["case"])}
    try:
        earlier, found = _read(output_dir, baseline)
        facts |= {"baseline_input": found.get("input"), "baseline_date": found.get("date")}
        facts["baseline_input_sha256"] = (found.get("input_sha256") or {}).get("image")
        later = _Session(
            image=volumes["image"],
            anomaly_map=volumes["anomaly_map"],
            brain_mask=volumes["brain_mask"] > 0,
            affine=affine,
        )
        fit = _align(earlier, later, start=_through_template(found, result))
    except InputError as error:
        logger.warning("%s: not compared with %s: %s", result["case"], baseline["case"], error)
        where = f"{Path(error.path).name}: " if error.path is not None else ""
        return SessionChange({"status": "failed", **facts, "reasons": [f"{where}{error.what}"]}, {})
    smallest = float((result.get("parameters") or {}).get("min_volume_ml") or 0)
    moved = _on_grid_of(later, earlier, fit.transform)
    compared = later.brain_mask & moved.brain_mask
    threshold = float(result["threshold"])
    before = (moved.anomaly_map >= threshold) & compared
    before = without_small_regions(before, affine, min_volume_ml=smallest)
    marked = volumes["lesion_mask"] > 0
    difference = np.where(compared, later.anomaly_map - moved.anomaly_map, 0).astype(np.float32)
    rules = ChangeRules(min_difference=_MIN_DIFFERENCE * threshold)
    rows, numbers = region_changes(
        before,
        marked & compared,
        difference,
        affine,
        rules=rules,
        world_to_template=_to_template(result),
        place_of=place_of_region,
    )
    facts |= {
        "alignment": fit.as_dict(),
        "rules": vars(rules),
        "compared_ml": volume_ml(compared, affine),
        "not_compared_ml": volume_ml(marked & ~compared, affine),
        **count_changes(rows),
        "regions": rows,
    }
    shown: dict[str, NDArray] = {"baseline": moved.image, "difference_map": difference, "change_dseg": numbers}
    return SessionChange({"status": "ok", "reasons": [], **facts}, shown)


def save_change(output_dir: str, item: Mapping[str, Any], change: SessionChange) -> dict[str, str]:
    """Write the images of a comparison on the follow-up's grid, and return their names by what they are.

    Args:
        output_dir: folder of all results.
        item: the follow-up; its `image` gives grid and unit.
        change: of `compare_sessions`.
    """
    names = {}
    for name in CHANGE_IMAGES:
        if name in change.volumes:
            path = result_path(output_dir, item, name)
            save_volume(path, _like(item["image"], change.volumes[name]), name=name)
            names[name] = path.name
    return names


def _like(image: torch.Tensor, volume: NDArray) -> torch.Tensor:
    voxels = torch.from_numpy(np.ascontiguousarray(volume))[None]
    return MetaTensor(voxels, meta=image.meta) if isinstance(image, MetaTensor) else voxels


def _read(output_dir: str, baseline: Mapping[str, Any]) -> tuple[_Session, dict[str, Any]]:
    path = result_path(output_dir, baseline, "result", suffix=".json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("the baseline has no result", path=baseline["image"]) from error
    if found.get("status") != "ok":
        raise InputError(f"the baseline was not analysed ({found.get('status')})", path=baseline["image"])
    image, _ = _load(baseline["image"])
    anomaly_map, affine = _load(result_path(output_dir, baseline, "anomaly_map"))
    brain, _ = _load(result_path(output_dir, baseline, "brain_mask"))
    session = _Session(image=fill_background(image), anomaly_map=anomaly_map, brain_mask=brain > 0, affine=affine)
    return session, found


def _load(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    image = LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(path)
    return as_volume(image), grid_of(image)


def _align(earlier: _Session, later: _Session, *, start: NDArray[np.float64] | None) -> SessionFit:
    fixed = prepare_scan(later.image, later.brain_mask, later.affine)
    moving = prepare_scan(earlier.image, earlier.brain_mask, earlier.affine)
    fit = align_sessions(moving, fixed, start=start)
    fit.check()
    return fit


def _through_template(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Return baseline world to follow-up world as the alignments with the template have it, made rigid."""
    one, other = _to_template(earlier), _to_template(later)
    if one is None or other is None:
        return None
    found = np.linalg.solve(other, one)
    left, _, right = np.linalg.svd(found[:3, :3])
    centre = np.linalg.solve(one, [0.0, 0.0, 0.0, 1.0])  # the template's origin, near the middle of the brain
    rigid = np.eye(4)
    rigid[:3, :3] = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    rigid[:3, 3] = (found @ centre)[:3] - rigid[:3, :3] @ centre[:3]
    return rigid


def _to_template(result: Mapping[str, Any]) -> NDArray[np.float64] | None:
    found = ((result.get("preprocessing") or {}).get("alignment") or {}).get("world_to_template")
    return None if found is None else np.asarray(found, dtype=np.float64)


def _on_grid_of(later: _Session, earlier: _Session, transform: NDArray[np.float64]) -> _Session:
    to_earlier = np.linalg.solve(transform @ earlier.affine, later.affine)

    def moved(volume: NDArray, order: int) -> NDArray[np.float32]:
        values = volume.astype(np.float32)
        return affine_transform(values, to_earlier, output_shape=later.image.shape, order=order, mode="grid-constant")

    return _Session(
        image=moved(earlier.image, _IMAGE_ORDER),
        anomaly_map=np.maximum(moved(earlier.anomaly_map, _MAP_ORDER), 0),
        brain_mask=moved(earlier.brain_mask, 1) > 0.5,
        affine=later.affine,
    )
