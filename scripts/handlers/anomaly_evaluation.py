"""Evaluate anomaly maps while an evaluator runs, and write tables and pictures when it ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from scripts.data.folders import check_writable
from scripts.errors import InputError, check_choice, check_whole
from scripts.evaluation.case import CaseStore, engine_items, read_case
from scripts.evaluation.figures import chosen_panels, draw_case, draw_curves, panel_point, read_panels
from scripts.evaluation.operating_points import ThresholdsSource, read_thresholds, write_thresholds
from scripts.evaluation.rows import (
    RECONSTRUCTION,
    case_row,
    case_slices,
    lesion_rows,
    operating_point_columns,
    size_block,
    size_rows,
    slice_rows,
)
from scripts.evaluation.scores import Region, RunScores, gathered, settle
from scripts.evaluation.summary import mean_over_cases, summarize, summary_blocks
from scripts.files import temporary_folder
from scripts.metrics.segmentation import size_bins
from scripts.report.pages import Block, Picture, as_markdown, write_document_page
from scripts.report.tables import table_of_summary, write_csv, write_json, write_paper_table, write_text
from scripts.results import portable_command

__all__ = ["AnomalyEvaluationHandler"]

Points = Mapping[tuple[str, str], Mapping[str, float]]  # thresholds by name, of each data set and map
_MOST_PANELS = 60  # small copies in the page
_NOT_SCORES = (RECONSTRUCTION, "uncertainty", "brain_mask")
_CARRIED = ("seconds", "age", "sex", "group")  # of a case, to `cases.csv` where present


class AnomalyEvaluationHandler:
    """Score every case of an evaluator's run and write what was found to a folder.

    Each item of `engine.state.output` is a case after decollation and postprocessing: `image`, `brain_mask`
    [1, H, W, D], `pred` [C, H, W, D], names `case` and `dataset`, and `label` [1, H, W, D] unless the case is healthy.
    Between iteration and end of the run the cases lie in a temporary folder inside `output_dir`.

    At the end of the run the folder holds `cases.csv` (a row per case and map), `slices.csv`, `summary.json`,
    `summary.md` and the same as a page, `evaluation.html`, `thresholds.json` (for `thresholds` of a later run),
    `panels/*.png`, and where there are lesions `lesions.csv`, `lesion_sizes.csv`, `pr_curve_DATASET.png`, and the
    paper's table as `table.csv`, `.md` and `.tex`.
    Several processes may share the cases (`torch.distributed`); the first one writes the same tables as one alone.
    Cases stand in the order of their names.

    At the end of the epoch `engine.state.metrics` gets `MAP_auprc` and `MAP_oracle_dice`, means over the cases with a
    lesion; list the handler before MONAI's StatsHandler to have them printed.

    Args:
        output_dir: the folder, made if missing; files of an earlier run are replaced.
        outputs: names of the C channels of `pred`; all but `reconstruction`, `uncertainty` and `brain_mask` are scores,
            higher meaning more anomalous. The first score is the one in the pictures.
        region: `volume` counts every voxel, with score zero outside the brain (the paper's way); `brain` counts the
            voxels of the brain mask only. AUROC depends much on it, AUPRC and Dice hardly.
        thresholds: operating points of an earlier run or of a calibration: path of its `thresholds.json`, or
            {map: threshold} or {map: {name: threshold}}.
        modality: t1 or t2, whose entry of a calibration is used.
        preset: which of the entries.
        healthy_rates: false positive rates of brain voxels for which healthy data sets give thresholds.
        panels: which cases get a picture: "all", the first so many, or "best_median_worst" by AUPRC in each data set
            (healthy sets by false positive volume). Cases of one data set need different names.
        lesion_bins_ml: volumes in ml that part the lesions of `lesion_sizes.csv`.
        num_bootstrap: rounds of the bootstrap intervals of the means; 0 for none.

    Raises:
        InputError: when no output is a score, or an option is not valid.
    """

    def __init__(
        self,
        output_dir: str,
        outputs: Sequence[str],
        *,
        region: Region | str = Region.VOLUME,
        thresholds: ThresholdsSource = None,
        modality: str | None = None,
        preset: str = "default",
        healthy_rates: Sequence[float] = (0.01, 0.05, 0.1),
        panels: int | str = "all",
        lesion_bins_ml: Sequence[float] = (0.1, 1, 10),
        num_bootstrap: int = 10_000,
    ) -> None:
        """Check the options; nothing is written before the run starts."""
        self.output_dir = Path(output_dir)
        self.outputs = list(outputs)
        self.map_names = [name for name in self.outputs if name not in _NOT_SCORES]
        if not self.map_names:
            raise InputError(f"`outputs` must hold a score, got {self.outputs}")
        if not all(0 < rate < 1 for rate in healthy_rates):
            raise InputError(f"`healthy_rates` must be in (0, 1), got {list(healthy_rates)}")
        check_whole(num_bootstrap, "num_bootstrap", least=0)
        self.lesion_bins = size_bins(lesion_bins_ml)
        self.region = check_choice(Region, region, "region")
        self.thresholds = read_thresholds(thresholds, modality=modality, preset=preset)
        self.healthy_rates, self.panels, self.num_bootstrap = tuple(healthy_rates), read_panels(panels), num_bootstrap
        self.logger = logging.getLogger(__name__)

    def direct(self, output_dir: str | PathLike[str], *, thresholds: ThresholdsSource) -> None:
        """Send the next run to another folder, with other operating points."""
        self.output_dir, self.thresholds = Path(output_dir), read_thresholds(thresholds)

    def found_thresholds(self) -> dict[str, dict[str, float]]:
        """Return {map: {name: threshold}} of the run that has ended, in every process."""
        return {name: self._run.thresholds(name) for name in self.map_names}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator that runs one epoch."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._publish)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        """Forget an earlier run."""
        check_writable(self.output_dir)
        # Removed at the end of the run, or by its finalizer when the run fails.
        self._folder = temporary_folder(self.output_dir)
        self._store = CaseStore(Path(self._folder.name))
        self._run = RunScores(region=self.region, healthy_rates=self.healthy_rates, fixed=self.thresholds)
        self._rows: list[list[dict[str, Any]]] = []
        self._slices: list[list[dict[str, Any]]] = []

    def _collect(self, engine: Engine) -> None:
        """Score the cases of one iteration as far as no common threshold is needed."""
        for item in engine_items(engine):
            case = read_case(item, outputs=self.outputs, carry=_CARRIED)
            rows, of_slices = [], []
            for name in self.map_names:
                slices = case_slices(case, name, region=self.region)
                self._run.add(case, name, slices)
                of_slices += slice_rows(case, name, slices)
                rows.append(case_row(case, name, slices, region=self.region))
            self._rows.append(rows)
            self._slices.append(of_slices)
            self._store.append(case)

    def _publish(self, engine: Engine) -> None:
        """Set the means over cases that the evaluator's other handlers print or compare."""
        cases = _in_order(gathered(self._rows))
        for place, name in enumerate(self.map_names):
            for metric in ("auprc", "oracle_dice"):
                described = mean_over_cases([rows[place][metric] for rows in cases])
                if described["n"]:
                    engine.state.metrics[f"{name}_{metric}"] = described["mean"]

    def _finish(self, engine: Engine) -> None:
        """Score the cases at the operating points, then write everything; every process takes part."""
        try:
            if not sum(gathered(len(self._store))):
                self.logger.warning("no case was evaluated: nothing is written to the output folder")
                return
            self._run.merge(gathered(self._run))
            settle(self._run, self._store)
            points = {key: self._run.operating_points(*key) for key in self._run.pooled}
            lesions = self._score(points)
            panels = sorted(path for part in gathered(self._draw(points)) for path in part)
            tables = [_in_order(gathered(part)) for part in (self._rows, self._slices, lesions)]
            if idist.get_rank() == 0:
                self._write([[row for case in part for row in case] for part in tables], points, panels)
        finally:
            self._folder.cleanup()

    def _score(self, points: Points) -> list[list[dict[str, Any]]]:
        """Complete the rows of this process's cases and return those of their lesions."""
        lesions = []
        for case, rows in zip(self._store, self._rows, strict=True):
            own = {name: points[case.dataset, name] for name in self.map_names}
            for row in rows:
                row |= operating_point_columns(case, row["map"], own[row["map"]], region=self.region)
            lesions.append(lesion_rows(case, own, region=self.region))
        return lesions

    def _draw(self, points: Points) -> list[Path]:
        """Draw those of this process's cases that are to be drawn, and return the files."""
        first = self.map_names[0]
        scale = self._run.colour_scale(first)
        shown = panel_point(points[next(iter(points))])
        firsts = [rows[0] for rows in _in_order(gathered(self._rows))]
        volume = None if shown is None else f"false_positive_ml_at_{shown}"
        chosen = chosen_panels(firsts, self.panels, volume=volume)
        drawn = []
        for case, rows in zip(self._store, self._rows, strict=True):
            word = chosen.get((case.dataset, case.case))
            if word is not None:
                own = points[case.dataset, first]
                folder = self.output_dir / "panels"
                drawn.append(draw_case(folder, case, rows[0], own, map_maximum=scale, word=word))
        return drawn

    def _write(self, tables: Sequence[Sequence[Mapping[str, Any]]], points: Points, panels: Sequence[Path]) -> None:
        """Write and log what was measured."""
        rows, slices, lesions = tables
        summary = summarize(rows, self._run, points, num_bootstrap=self.num_bootstrap)
        command = portable_command(sys.argv)
        head: dict[str, Any] = {"command": command, "region": self.region.value}
        n_cases = len(rows) // len(self.map_names)
        head |= {"bootstrap_rounds": self.num_bootstrap, "n_cases": n_cases}
        sizes = size_rows(lesions, self.lesion_bins)
        first = self.map_names[0]
        shown = {dataset: panel_point(points[dataset, name]) for dataset, name in points if name == first}
        blocks = summary_blocks(summary, rates=self.healthy_rates, command=command)
        blocks.append(size_block(sizes, self.lesion_bins, map_name=first, points=shown))
        markdown = as_markdown("Evaluation", blocks)
        write_csv(self.output_dir / "cases.csv", rows)
        write_csv(self.output_dir / "slices.csv", slices)
        if lesions:
            write_csv(self.output_dir / "lesions.csv", lesions)
            write_csv(self.output_dir / "lesion_sizes.csv", sizes)
            write_paper_table(self.output_dir, table_of_summary(summary))
        write_json(self.output_dir / "summary.json", {**head, "data_sets": summary})
        source = f"an evaluation of {n_cases} cases"
        write_thresholds(self.output_dir / "thresholds.json", self.found_thresholds(), source=source)
        write_text(self.output_dir / "summary.md", markdown)
        curves = draw_curves(self.output_dir, self._run, self.map_names)
        pictures = [
            Picture(path, f"Precision and recall over the voxels of all cases: {name}", large=True)
            for name, path in curves.items()
        ]
        pictures += [Picture(path, path.stem.replace("_", " ")) for path in panels[:_MOST_PANELS]]
        facts = {"Cases": str(n_cases), "Data sets": str(len(summary)), "Counted": self.region.value}
        self._write_page(blocks, pictures, facts)
        self.logger.info("evaluated %d cases:\n%s", n_cases, markdown)

    def _write_page(self, blocks: Sequence[Block], pictures: Sequence[Picture], facts: Mapping[str, str]) -> None:
        """Write the tables and pictures of the run as one page."""
        files = [f"{name}.csv" for name in ("cases", "slices", "lesions", "lesion_sizes", "table")]
        write_document_page(
            self.output_dir / "evaluation.html",
            "Evaluation",
            blocks,
            facts=list(facts.items()),
            pictures=pictures,
            files=[*files, "summary.json", "thresholds.json"],
        )


def _in_order(parts: Sequence[Sequence[list[dict[str, Any]]]]) -> list[list[dict[str, Any]]]:
    """Return the cases' rows of all processes, by the names of data set and case."""
    cases = [rows for part in parts for rows in part if rows]
    return sorted(cases, key=lambda rows: (rows[0]["dataset"], rows[0]["case"]))
