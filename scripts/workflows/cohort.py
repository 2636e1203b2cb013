"""Run a bundle's evaluator over the scans that a user named, one by one, so that a bad one does not stop the rest."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from tqdm import tqdm

from scripts.data.folders import check_writable
from scripts.errors import InputError, ScansFailedError, reason
from scripts.handlers.scan_result import ScanResult, scan_facts
from scripts.networks import ModalityWeights
from scripts.quality import ScanRefused
from scripts.registration.template import load_template
from scripts.report.pages import write_index_page, write_regions, write_summary
from scripts.report.panel import draw_quality_picture
from scripts.report.scan_page import write_scan_page
from scripts.report.tables import write_json
from scripts.results import bundle_version, relative_link, remove_result, result_path, write_dataset_description
from scripts.scans.volume import as_volume, grid_of, original_scan
from scripts.workflows.finished import finished_result, with_checksums

__all__ = ["Cohort", "write_bids_description", "write_cohort", "write_refusal"]

logger = logging.getLogger(__name__)


def write_refusal(output_dir: str, item: Mapping[str, str], refusal: ScanRefused) -> dict[str, Any]:
    """Write `result.json`, `quality.png` and `report.html` of a refused scan, and return the result."""
    data: dict[Any, Any] = {**item, **refusal.data}
    remove_result(output_dir, item)
    result: dict[str, Any] = {**scan_facts(data), "status": "refused", "reasons": list(refusal.reasons)}
    result["input"] = Path(item["image"]).name
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
    """Write `summary.csv`, `regions.csv` and `index.html`, with links to the reports."""
    folder = Path(output_dir)
    linked = []
    for item, row in zip(datalist, rows, strict=True):
        report = result_path(output_dir, item, "report", suffix=".html")
        link = relative_link(report, start=folder) if report.is_file() and row["status"] != "failed" else ""
        linked.append({**row, "report": link})
    write_summary(folder / "summary.csv", linked)
    write_regions(folder / "regions.csv", linked)
    write_index_page(folder / "index.html", linked, regions="regions.csv")


def write_bids_description(output_dir: str, datalist: Sequence[Mapping[str, str]]) -> None:
    """Write `dataset_description.json` where the input is BIDS."""
    if any("bids_suffix" in item for item in datalist):
        write_dataset_description(output_dir, bundle_version())


@dataclass(kw_only=True)
class Cohort:
    """Find the anomalies of one or many scans.

    Scans with a finished result are skipped, one that fails or is refused by quality control is reported and the next
    one is taken. More than one scan adds `summary.csv`, `regions.csv` and `index.html`.

    Args:
        evaluator: the engine, with its postprocessing; its data loader is replaced for each scan.
        preprocessing: what turns an entry of the datalist into the network's input.
        results: the evaluator's handler that writes a scan's files.
        weights: the network's weights, changed when the modality does.
        datalist: the scans, from `find_scans`.
        overwrite: whether scans with a finished result are done again.
        progress: whether to show a progress bar over the scans, on a terminal only.

    References:
        Status words in the results: `ok`, `refused` (by quality control), `failed`.
    """

    evaluator: SupervisedEvaluator
    preprocessing: Callable
    results: ScanResult
    weights: ModalityWeights
    datalist: Sequence[Mapping[str, str]]
    overwrite: bool = False
    progress: bool = True

    def run(self) -> list[dict[str, Any]]:
        """Run the scans.

        Returns:
            The result of each scan in the datalist, as in its `result.json`.

        Raises:
            InputError: at the end, if a scan has no result; for a single scan, its own error.
        """
        logging.getLogger(self.evaluator.__class__.__module__).setLevel(logging.WARNING)
        self.evaluator.logger.setLevel(logging.CRITICAL)  # the reason of a failure is said once, below
        self.evaluator.interrupt_resume_enabled = False  # ignite would go on with a scan that failed
        check_writable(self.results.output_dir)
        logger.info("Running on %s.", self.results.device)
        rows = []
        alone = len(self.datalist) == 1
        with tqdm(total=len(self.datalist), unit="scan", disable=True if alone or not self.progress else None) as bar:
            for item in self.datalist:
                bar.set_description(str(item["case"]))
                rows.append(self._one(item, alone=alone))
                bar.update()
        rows = [self._still_there(item, row) for item, row in zip(self.datalist, rows, strict=True)]
        write_bids_description(self.results.output_dir, self.datalist)
        if not alone:
            write_cohort(self.results.output_dir, self.datalist, rows)
            _tell_table(rows)
        _tell_speed(rows, str(self.results.device))
        self._tell_report(self.datalist, rows)
        bad = [row for row in rows if row["status"] != "ok"]
        if bad:
            raise ScansFailedError(
                f"{len(bad)} of {len(rows)} scans have no anomaly map: " + ", ".join(row["case"] for row in bad),
                fix="The reasons stand above, in summary.csv and in index.html.",
            )
        return rows

    def _still_there(self, item: Mapping[str, Any], row: dict[str, Any]) -> dict[str, Any]:
        """Return a scan's row, or why it counts as failed where someone has removed its result meanwhile."""
        path = result_path(self.results.output_dir, item, "result", suffix=".json")
        if row["status"] != "ok" or path.is_file():
            return row
        logger.error("%s: its result was removed while the others were made.", item["case"])
        return {**row, "status": "failed", "reasons": ["its result was removed while the others were made"]}

    def _tell_report(self, items: Sequence[Mapping[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
        """Say where the page is to look at: that of the scan, or the list of them."""
        page = Path(self.results.output_dir) / "index.html"
        if len(items) == 1:
            page = result_path(self.results.output_dir, items[0], "report", suffix=".html")
        if page.is_file() and not (len(items) == 1 and rows[0]["status"] == "failed"):
            logger.info("Report: %s", page)

    def _one(self, item: Mapping[str, str], *, alone: bool) -> dict[str, Any]:
        try:
            self._check_room(item)
            item = with_checksums(item)
            weights = self.weights.sha256(item["modality"])
            done = finished_result(self.results, item, weights, overwrite=self.overwrite)
            return self._analyze(item) if done is None else done
        except Exception as error:
            first = reason(error)
            status = "refused" if isinstance(first, ScanRefused) else "failed"
            row: dict[str, Any] = {name: item[name] for name in ("case", "modality")}
            row |= {"input": Path(item["image"]).name, "status": status}
            if isinstance(first, ScanRefused):
                row = write_refusal(self.results.output_dir, item, first)
            else:
                row["reasons"] = [_in_one_line(first)]
            if alone:
                self._tell_report([item], [row])
                raise
            logger.error("%s: %s: %s", item["case"], status, "; ".join(row["reasons"]))
            if not isinstance(first, InputError):
                logger.debug("%s:", item["case"], exc_info=error)
            return row

    def _check_room(self, item: Mapping[str, Any]) -> None:
        """Find out whether the files of a scan can be written, before anything is computed."""
        paths = [*self.results.wanted_files(item), result_path(self.results.output_dir, item, "quality", ".png")]
        below = {part for path in paths for part in path.relative_to(self.results.output_dir).parts}
        check_writable(paths[0].parent, sorted(below))

    def _analyze(self, item: Mapping[str, str]) -> dict[str, Any]:
        self.weights.use(item["modality"])
        self.results.results.clear()
        self.evaluator.data_loader = DataLoader(Dataset([dict(item)], self.preprocessing), batch_size=1, num_workers=0)
        self.evaluator.state.epoch_length = 1
        began = time.perf_counter()
        self.evaluator.run()
        result = self.results.results[0]
        logger.info(
            "%s: %d candidate regions, %.1f ml, score %.3f, %.0f s",
            item["case"],
            result["num_regions"],
            result["region_volume_ml"],
            result["anomaly_score"],
            time.perf_counter() - began,
        )
        return result


def _in_one_line(error: BaseException) -> str:
    """Return what was wrong without line breaks, and without the folders of the file that it is about."""
    if isinstance(error, InputError):
        place = f"{Path(error.path).name}: " if error.path is not None else ""
        text = f"{place}{error.what.rstrip('.')}. {error.fix or ''}"
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def _tell_speed(rows: Sequence[Mapping[str, Any]], device: str) -> None:
    """Say which share of the time a GPU would shorten, from what was measured."""
    timed = [row["seconds"] for row in rows if row["status"] == "ok" and "seconds" in row]
    total = sum(row["total"] for row in timed)
    if not device.startswith("cpu") or not total:
        return
    on_gpu = sum(row.get(name, 0.0) for row in timed for name in ("brain extraction", "reconstruction and map"))
    logger.info(
        "%.0f of %.0f s went into brain extraction and reconstructions, which a GPU shortens.",
        on_gpu,
        total,
    )


def _tell_table(rows: Sequence[Mapping[str, Any]]) -> None:
    width = max(len(str(row["case"])) for row in rows)
    lines = []
    for row in rows:
        told = (
            f"{row['num_regions']:4d} candidate regions {row['region_volume_ml']:8.1f} ml"
            f"  score {row['anomaly_score']:.3f}"
            if row["status"] == "ok"
            else "; ".join(row["reasons"])
        )
        lines.append(f"  {row['case']:<{width}}  {row['status']:<7}  {told}")
    counts = Counter(row["status"] for row in rows)
    told_counts = ", ".join(f"{counts[name]} {name}" for name in ("ok", "refused", "failed") if counts[name])
    logger.info("%d scans: %s\n%s", len(rows), told_counts, "\n".join(lines))
