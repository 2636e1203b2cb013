"""Run a bundle's evaluator over the scans that a user named, so that a bad one does not stop the rest."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scripts.data.folders import check_writable
from scripts.errors import ScansFailedError
from scripts.handlers.scan_result import write_dataset_files
from scripts.options.fields import Shard, checked_kind
from scripts.report.pages import write_index_page, write_regions, write_summary
from scripts.report.tables import write_changes
from scripts.results import relative_link, remove_result, result_path
from scripts.workflows.processes import LOST, run_in_processes, run_on_cluster
from scripts.workflows.scan_steps import ScanSteps, failed_row
from tqdm import tqdm

__all__ = ["Cohort", "part_of", "write_bids_description", "write_cohort"]

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


def write_cohort(output_dir: str, datalist: Sequence[Mapping[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `summary.csv`, `regions.csv`, `changes.csv` where sessions were compared, and `index.html` with links."""
    folder = Path(output_dir)
    linked = []
    for item, row in zip(datalist, rows, strict=True):
        report = result_path(output_dir, item, "report", suffix=".html")
        link = relative_link(report, start=folder) if report.is_file() and row["status"] != "failed" else ""
        linked.append({**row, "report": link})
    write_summary(folder / "summary.csv", linked)
    write_regions(folder / "regions.csv", linked)
    changes = "changes.csv" if any(row.get("change") for row in linked) else None
    if changes:
        write_changes(folder / changes, linked)
    write_index_page(folder / "index.html", linked, regions="regions.csv", changes=changes)


def write_bids_description(output_dir: str, datalist: Sequence[Mapping[str, str]]) -> None:
    """Write `dataset_description.json`, `.bidsignore` and `README.md` where the input is BIDS."""
    if any("bids_suffix" in item for item in datalist):
        write_dataset_files(output_dir)


@dataclass(kw_only=True)
class Cohort:
    """Find the anomalies of one or many scans.

    Scans with a finished result are skipped, one that fails or is refused by quality control is reported and the next
    one is taken. More than one scan adds `summary.csv`, `regions.csv` and `index.html`; a shard leaves these to a run
    over all scans.

    Args:
        steps: what is done to a scan.
        datalist: the scans, from `find_scans`.
        num_workers: scans at a time, each in a process of its own with one thread; 0 and 1 stay in this one.
        shard: i/n, to do the i-th of n parts of the scans (`part_of`) and leave the others to other runs.
        cluster: address of a Dask scheduler whose workers do the scans; None for this machine alone.
        progress: whether to show a progress bar over the scans, on a terminal only.

    Raises:
        InputError: if `shard` cannot be used.

    References:
        Status words in the results: `ok`, `refused` (by quality control), `failed`.
    """

    steps: ScanSteps
    datalist: Sequence[Mapping[str, str]]
    num_workers: int = 1
    shard: str | None = None
    cluster: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        """Keep to the shard; a scan and the baseline that it is compared with stay together."""
        self.results = self.steps.results
        self.results.baselines = {str(item["case"]): item for item in self.datalist if "also_save" in item}
        if self.shard is not None:
            self.datalist = [item for group in part_of(_groups(self.datalist), self.shard) for item in group]

    def run(self) -> list[dict[str, Any]]:
        """Run the scans.

        Returns:
            The result of each scan in the datalist, as in its `result.json`.

        Raises:
            InputError: at the end, if a scan has no result; for a single scan, its own error.
        """
        check_writable(self.results.output_dir)
        logger.info("Running on %s.", self.results.device)
        if self.shard is not None:
            logger.info("%d scans are part %s; the others are left to other runs.", len(self.datalist), self.shard)
        alone = len(self.datalist) == 1 and self.cluster is None
        rows = [self._alone(self.datalist[0])] if alone else self._rows()
        rows = [self._still_there(item, row) for item, row in zip(self.datalist, rows, strict=True)]
        write_bids_description(self.results.output_dir, self.datalist)
        if len(rows) > 1:
            _log_table(rows)
        if len(rows) > 1 and self.shard is None:
            write_cohort(self.results.output_dir, self.datalist, rows)
        _log_speed(rows, str(self.results.device))
        self._log_report(self.datalist, rows)
        if self.shard is not None:
            logger.info("When all parts are done, the same without --shard writes summary.csv and index.html.")
        bad = [row for row in rows if row["status"] != "ok"]
        if bad:
            raise ScansFailedError(
                f"{len(bad)} of {len(rows)} scans have no anomaly map: " + ", ".join(row["case"] for row in bad),
                fix="The reasons stand above" + (", in summary.csv and in index.html." if self.shard is None else "."),
            )
        return rows

    def _alone(self, item: Mapping[str, str]) -> dict[str, Any]:
        try:
            return self.steps.run(item)
        except Exception as error:
            self._log_report([item], [self.steps.failure(item, error)])
            raise

    def _rows(self) -> list[dict[str, Any]]:
        """Return the rows of several scans."""
        rows: dict[int, dict[str, Any]] = {}
        hidden = None if self.progress else True  # None: hidden where there is no terminal
        with tqdm(total=len(self.datalist), unit="scan", disable=hidden) as bar, closing(self._each(bar)) as each:
            for index, row in each:
                rows[index] = self._lost(self.datalist[index]) if row is None else row
                bar.update()
        return [rows[index] for index in range(len(self.datalist))]

    def _each(self, bar: tqdm) -> Generator[tuple[int, dict[str, Any] | None]]:
        """Yield index and row of each scan as it is done, baselines first; None where its process was lost."""
        for is_followup in (False, True):
            indices = [index for index, item in enumerate(self.datalist) if ("baseline_case" in item) is is_followup]
            if indices:
                with closing(self._done([self.datalist[index] for index in indices], bar)) as done:
                    for place, row in done:
                        yield indices[place], row

    def _done(self, items: Sequence[Mapping[str, str]], bar: tqdm) -> Generator[tuple[int, dict[str, Any] | None]]:
        """Yield index and row of scans that need nothing of each other."""
        if self.cluster is not None:
            for index, row in run_on_cluster(self.steps, items, address=self.cluster):
                status = "failed" if row is None else row["status"]
                logger.info("%s: %s", items[index]["case"], status)
                yield index, row
            return
        if self.num_workers > 1:
            bar.set_description(f"{self.num_workers} at a time")
            yield from run_in_processes(self.steps, items, num_workers=self.num_workers)
            return
        for index, item in enumerate(items):
            bar.set_description(str(item["case"]))
            yield index, self.steps(item)

    def _lost(self, item: Mapping[str, str]) -> dict[str, Any]:
        logger.error("%s: failed: %s", item["case"], LOST)
        remove_result(self.results.output_dir, item)
        return failed_row(item, LOST)

    def _still_there(self, item: Mapping[str, Any], row: dict[str, Any]) -> dict[str, Any]:
        """Return a scan's row, or why it counts as failed where someone has removed its result meanwhile."""
        path = result_path(self.results.output_dir, item, "result", suffix=".json")
        if row["status"] != "ok" or path.is_file():
            return row
        logger.error("%s: its result was removed while the others were made.", item["case"])
        return failed_row(item, "its result was removed while the others were made")

    def _log_report(self, items: Sequence[Mapping[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
        """Say where the page is to look at: that of the scan, or the list of them."""
        page = Path(self.results.output_dir) / "index.html"
        if len(items) == 1:
            page = result_path(self.results.output_dir, items[0], "report", suffix=".html")
        elif self.shard is not None:
            return
        if page.is_file() and not (len(items) == 1 and rows[0]["status"] == "failed"):
            logger.info("Report: %s", page)


def _groups(items: Sequence[Mapping[str, str]]) -> list[list[Mapping[str, str]]]:
    """Return the scans in groups: a baseline with its follow-ups, each other scan alone."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    for item in items:
        groups.setdefault(str(item.get("baseline_case", item["case"])), []).append(item)
    return list(groups.values())


def part_of(items: Sequence[Item], shard: str) -> list[Item]:
    """Return the i-th of n parts of a list, for `i/n`: its items i, i + n, i + 2n, … counted from 1.

    The parts are disjoint, hold all items together, and differ by one item at most in length.

    Raises:
        InputError: if `shard` is not of that form, with 1 <= i <= n.

    Examples:
        >>> part_of(["a", "b", "c", "d", "e"], "2/3")
        ['b', 'e']
    """
    index, count = (int(part) for part in checked_kind("shard", Shard, shard).split("/"))
    return list(items[index - 1 :: count])


def _log_speed(rows: Sequence[Mapping[str, Any]], device: str) -> None:
    """Say which share of the time a GPU would shorten, from what was measured."""
    timed = [row["seconds"] for row in rows if row["status"] == "ok" and "seconds" in row]
    total = sum(row["total"] for row in timed)
    if not device.startswith("cpu") or not total:
        return
    on_gpu = sum(row.get(name, 0.0) for row in timed for name in ("brain extraction", "reconstruction and map"))
    logger.info("%.0f of %.0f s went into brain extraction and reconstructions, which a GPU shortens.", on_gpu, total)


def _log_table(rows: Sequence[Mapping[str, Any]]) -> None:
    width = max(len(str(row["case"])) for row in rows)
    lines = []
    for row in rows:
        reported = (
            f"{row['num_regions']:4d} candidate regions {row['region_volume_ml']:8.1f} ml"
            f"  score {row['anomaly_score']:.3f}"
            if row["status"] == "ok"
            else "; ".join(row["reasons"])
        )
        lines.append(f"  {row['case']:<{width}}  {row['status']:<7}  {reported}")
    counts = Counter(row["status"] for row in rows)
    reported_counts = ", ".join(f"{counts[name]} {name}" for name in ("ok", "refused", "failed") if counts[name])
    logger.info("%d scans: %s\n%s", len(rows), reported_counts, "\n".join(lines))
