"""Evaluate anomaly maps while an evaluator runs, and write tables and pictures when it ends."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from scripts.errors import InputError
from scripts.handlers.case_rows import RECONSTRUCTION, case_row, case_slices, operating_point_columns, slice_rows
from scripts.handlers.case_store import CaseStore
from scripts.handlers.engine_items import engine_items
from scripts.handlers.evaluated_case import read_case
from scripts.handlers.evaluation_figures import draw_case, draw_curves
from scripts.handlers.evaluation_summary import mean_over_cases, summarize, summary_markdown
from scripts.handlers.run_scores import Region, RunScores
from scripts.handlers.thresholds import ThresholdsSource, read_thresholds
from scripts.report.command import portable_command
from scripts.report.tables import write_csv, write_json, write_text

__all__ = ["AnomalyEvaluationHandler"]

_NOT_SCORES = (RECONSTRUCTION, "uncertainty", "brain_mask")


class AnomalyEvaluationHandler:
    """Score every case of an evaluator's run and write what was found to a folder.

    Each item of `engine.state.output` is a case after decollation and postprocessing: `image`, `brain_mask`
    [1, H, W, D], `pred` [C, H, W, D], names `case` and `dataset`, and `label` [1, H, W, D] unless the case is healthy.
    Between iteration and end of the run the cases lie in a temporary folder inside `output_dir`.

    At the end of the run the folder holds `cases.csv` (a row per case and map), `slices.csv`, `summary.json`,
    `summary.md`, `thresholds.json` (for `thresholds` of a later run), `pr_curve_DATASET.png` and `panels/*.png`.
    At the end of the epoch `engine.state.metrics` gets `MAP_auprc` and `MAP_oracle_dice`, means over the cases with a
    lesion; list the handler before MONAI's StatsHandler to have them printed.

    Args:
        output_dir: the folder, made if missing; files of an earlier run are replaced.
        outputs: names of the C channels of `pred`.
        map_names: which of them are scores, higher meaning more anomalous; by default all but `reconstruction`,
            `uncertainty` and `brain_mask`. The first one is the one in the pictures.
        region: `volume` counts every voxel, with score zero outside the brain (the paper's way); `brain` counts the
            voxels of the brain mask only. AUROC depends much on it, AUPRC and Dice hardly.
        thresholds: operating points of an earlier run: path of its `thresholds.json`, or {map: threshold} or
            {map: {name: threshold}}.
        healthy_rates: false positive rates of brain voxels for which healthy data sets give thresholds.
        panels: how many cases get a picture: "all", or the first so many. Cases of one data set need different names.
        num_bootstrap: rounds of the bootstrap intervals of the means; 0 for none.
        carry: more keys of a case to copy to `cases.csv` where present.
        spacing_mm: voxel edges in mm for images that are no MetaTensor.

    Raises:
        InputError: when a name in `map_names` is not in `outputs`, or an option is not valid.
    """

    def __init__(
        self,
        output_dir: str,
        outputs: Sequence[str],
        *,
        map_names: Sequence[str] | None = None,
        region: Region | str = Region.VOLUME,
        thresholds: ThresholdsSource = None,
        healthy_rates: Sequence[float] = (0.01, 0.05, 0.1),
        panels: int | str = "all",
        num_bootstrap: int = 10_000,
        carry: Sequence[str] = ("seconds", "age", "sex", "group"),
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        """Check the options; nothing is written before the run starts."""
        self.output_dir = Path(output_dir)
        self.outputs = list(outputs)
        scores = [name for name in self.outputs if name not in _NOT_SCORES]
        self.map_names = scores if map_names is None else list(map_names)
        unknown = [name for name in self.map_names if name not in self.outputs]
        if unknown or not self.map_names:
            raise InputError(f"`map_names` must be some of the outputs {self.outputs}, got {self.map_names}")
        if region not in list(Region):
            raise InputError(f"`region` must be one of {[str(choice) for choice in Region]}, got {region!r}")
        if not all(0 < rate < 1 for rate in healthy_rates):
            raise InputError(f"`healthy_rates` must be in (0, 1), got {list(healthy_rates)}")
        if panels != "all" and (not isinstance(panels, int) or panels < 0):
            raise InputError(f'`panels` must be "all" or a number of cases, got {panels!r}')
        self.region = Region(region)
        self.thresholds = read_thresholds(thresholds)
        self.healthy_rates, self.panels, self.num_bootstrap = tuple(healthy_rates), panels, num_bootstrap
        self.carry, self.spacing_mm = tuple(carry), spacing_mm
        self.logger = logging.getLogger(__name__)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator that runs one epoch."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._publish)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        """Forget an earlier run."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        # Removed at the end of the run, or by its finalizer when the run fails.
        self._folder = tempfile.TemporaryDirectory(prefix=".cases_", dir=self.output_dir)
        self._store = CaseStore(Path(self._folder.name))
        self._run = RunScores(region=self.region, healthy_rates=self.healthy_rates, fixed=self.thresholds)
        self._rows: list[list[dict[str, Any]]] = []
        self._slices: list[dict[str, Any]] = []

    def _collect(self, engine: Engine) -> None:
        """Score the cases of one iteration as far as no common threshold is needed."""
        for item in engine_items(engine):
            case = read_case(item, outputs=self.outputs, spacing_mm=self.spacing_mm, carry=self.carry)
            rows = []
            for name in self.map_names:
                slices = case_slices(case, name, region=self.region)
                self._run.add(case, name, slices)
                self._slices += slice_rows(case, name, slices)
                rows.append(case_row(case, name, slices, region=self.region))
            self._rows.append(rows)
            self._store.append(case)

    def _publish(self, engine: Engine) -> None:
        """Set the means over cases that the evaluator's other handlers print or compare."""
        for place, name in enumerate(self.map_names):
            for metric in ("auprc", "oracle_dice"):
                described = mean_over_cases([rows[place][metric] for rows in self._rows])
                if described["n"]:
                    engine.state.metrics[f"{name}_{metric}"] = described["mean"]

    def _finish(self, engine: Engine) -> None:
        """Score the cases at the operating points, then write everything."""
        try:
            if not len(self._store):
                self.logger.warning("no case was evaluated: nothing is written to the output folder")
            elif idist.get_rank() == 0:
                if idist.get_world_size() > 1:
                    self.logger.warning("the evaluation holds the cases of the first of several processes only")
                self._write()
        finally:
            self._folder.cleanup()

    def _write(self) -> None:
        """Write tables, thresholds and pictures."""
        points = {key: self._run.operating_points(*key) for key in self._run.pooled}
        scale = self._run.colour_scale(self.map_names[0])
        for index, (case, rows) in enumerate(zip(self._store, self._rows, strict=True)):
            for row in rows:
                own = points[case.dataset, row["map"]]
                row |= operating_point_columns(case, row["map"], own, region=self.region)
            if self.panels == "all" or index < int(self.panels):
                own = points[case.dataset, self.map_names[0]]
                draw_case(self.output_dir / "panels", case, rows[0], own, map_maximum=scale)
        self._write_tables([row for rows in self._rows for row in rows], points)
        draw_curves(self.output_dir, self._run, self.map_names)

    def _write_tables(
        self, rows: Sequence[Mapping[str, Any]], points: Mapping[tuple[str, str], Mapping[str, float]]
    ) -> None:
        """Write and log what was measured."""
        summary = summarize(rows, self._run, points, num_bootstrap=self.num_bootstrap)
        command = portable_command(sys.argv)
        head = {"command": command, "region": self.region.value, "bootstrap_rounds": self.num_bootstrap}
        markdown = summary_markdown(summary, rates=self.healthy_rates, command=command)
        write_csv(self.output_dir / "cases.csv", rows)
        write_csv(self.output_dir / "slices.csv", self._slices)
        write_json(self.output_dir / "summary.json", {**head, "n_cases": len(self._store), "data_sets": summary})
        write_json(self.output_dir / "thresholds.json", {name: self._run.thresholds(name) for name in self.map_names})
        write_text(self.output_dir / "summary.md", markdown)
        self.logger.info("evaluated %d cases:\n%s", len(self._store), markdown)
