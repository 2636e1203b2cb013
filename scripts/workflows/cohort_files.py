"""What a cohort reads and writes beside the files of each finished scan."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.data import relative_link, result_path, write_dataset_description
from scripts.handlers.provenance import bundle_version
from scripts.handlers.scan_result import ScanResult, scan_facts
from scripts.handlers.scan_volumes import as_volume, grid_of, original_scan
from scripts.report.index_page import write_index_page, write_summary
from scripts.report.quality_picture import draw_quality_picture
from scripts.report.scan_page import write_scan_page
from scripts.report.tables import write_json
from scripts.transforms import ScanRefused
from scripts.transforms.template import load_template

__all__ = ["finished_result", "write_bids_description", "write_cohort", "write_refusal"]

logger = logging.getLogger(__name__)


def finished_result(results: ScanResult, item: Mapping[str, str], weights: Path) -> dict[str, Any] | None:
    """Return the result of a scan that is done already, or None if it is not.

    A scan counts as done if its `result.json` says so and each image that is wanted exists. It is told where the
    earlier run had other parameters.
    """
    path = result_path(results.output_dir, item, "result", suffix=".json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = [result_path(results.output_dir, item, name) for name in results.save]
    if found.get("status") != "ok" or not all(image.is_file() for image in wanted):
        return None
    before = found.get("parameters", {})
    changed = sorted(name for name, value in results.parameters.items() if before.get(name) != value)
    if found.get("threshold") != results.operating_points.values.get(item["modality"]):
        changed.append("threshold")
    if found.get("weights", {}).get("file") != weights.name:
        changed.append("weights")
    told = f" (made with another {', '.join(changed)})" if changed else ""
    level = logging.WARNING if changed else logging.INFO
    logger.log(level, "%s: skipped, has a result%s; --overwrite true does it again.", item["case"], told)
    return found


def write_refusal(output_dir: str, item: Mapping[str, str], refusal: ScanRefused) -> dict[str, Any]:
    """Write `result.json`, `quality.png` and `report.html` of a refused scan, and return the result."""
    data: dict[Any, Any] = {**item, **refusal.data}
    result: dict[str, Any] = {**scan_facts(data), "status": "refused", "reasons": list(refusal.reasons)}
    result["input"] = str(item["image"])
    picture = result_path(output_dir, item, "quality", suffix=".png")
    template = load_template()
    draw_quality_picture(
        picture,
        image=original_scan(data["image"]),
        brain_mask=as_volume(data["brain_mask"]),
        affine=grid_of(data["image"]),
        template=template.image,
        template_affine=template.affine,
        checks=(result["quality"] or {}).get("checks", []),
        title=f"{item['case']}: refused",
    )
    write_scan_page(
        result_path(output_dir, item, "report", suffix=".html"), result=result, quality_picture=picture
    )
    write_json(result_path(output_dir, item, "result", suffix=".json"), result)
    return result


def write_cohort(output_dir: str, datalist: Sequence[Mapping[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `summary.csv` and `index.html`, with links to the reports."""
    folder = Path(output_dir)
    linked = []
    for item, row in zip(datalist, rows, strict=True):
        report = result_path(output_dir, item, "report", suffix=".html")
        link = relative_link(report, start=folder) if report.is_file() and row["status"] != "failed" else ""
        linked.append({**row, "report": link})
    write_summary(folder / "summary.csv", linked)
    write_index_page(folder / "index.html", linked)


def write_bids_description(output_dir: str, datalist: Sequence[Mapping[str, str]]) -> None:
    """Write `dataset_description.json` where the input is BIDS."""
    if any("bids_suffix" in item for item in datalist):
        write_dataset_description(output_dir, bundle_version())
