"""The paper's experiment on one trained network: thresholds on the validation sets, then figures on the test sets."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from monai.data import DataLoader, Dataset, DistributedSampler
from monai.engines import SupervisedEvaluator
from scripts.data.experiment_sets import ExperimentSets
from scripts.errors import InputError
from scripts.handlers.anomaly_evaluation import AnomalyEvaluationHandler
from scripts.report.tables import markdown_table, table_of_summary, write_json, write_paper_table, write_text
from scripts.results import portable_command

__all__ = ["Experiment"]

logger = logging.getLogger(__name__)
FINISHED = "experiment.json"


@dataclass(kw_only=True)
class Experiment:
    """Evaluate validation cases, take their thresholds, evaluate the test cases with them.

    `output_dir` then holds `val` and `test`, each with the files of an evaluation, the paper's table of the test cases
    (`table.md`, `.csv`, `.tex`), `experiment.md` with the sets that were skipped, and `experiment.json`, written last.

    Args:
        evaluator: the engine; its data loader is replaced for both runs.
        evaluation: the evaluator's handler that scores the cases.
        preprocessing: what turns an entry of a datalist into the network's input.
        sets: the cases, from `load_experiment`.
        output_dir: folder.
        parameters: anything that belongs into the JSON file.
    """

    evaluator: SupervisedEvaluator
    evaluation: AnomalyEvaluationHandler
    preprocessing: Callable
    sets: ExperimentSets
    output_dir: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Run both parts.

        Raises:
            InputError: if there are fewer cases than processes.
        """
        given = self.evaluation.thresholds
        if self.sets.val:
            self._evaluate("val", self.sets.val, thresholds={})
            given = self.evaluation.found_thresholds()
        else:
            logger.warning("there is no validation case: thresholds are those given, or chosen on the test cases")
        self._evaluate("test", self.sets.test, thresholds=given)
        if idist.get_rank() == 0:
            self._write()

    def _evaluate(
        self, part: str, items: Sequence[Mapping[str, Any]], *, thresholds: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Evaluate one part into its folder."""
        processes = idist.get_world_size()
        if len(items) < processes:
            what = f"the {part} cases must be at least as many as the processes ({processes}), got {len(items)}"
            raise InputError(what, fix="Start fewer processes.")
        dataset = Dataset([dict(item) for item in items], self.preprocessing)
        sampler = DistributedSampler(dataset, even_divisible=False, shuffle=False) if processes > 1 else None
        self.evaluator.data_loader = DataLoader(dataset, batch_size=1, num_workers=0, sampler=sampler)
        self.evaluator.state.epoch_length = len(self.evaluator.data_loader)
        self.evaluation.direct(Path(self.output_dir) / part, thresholds=thresholds)
        logger.info("%s: %d cases", part, len(items))
        self.evaluator.run()

    def _write(self) -> None:
        """Write what belongs to both parts."""
        folder = Path(self.output_dir)
        summary = json.loads((folder / "test" / "summary.json").read_text(encoding="utf-8"))["data_sets"]
        table = table_of_summary(summary, order=self.sets.datasets)
        parts = ["# Experiment", f"`{portable_command(sys.argv)}`"]
        if table.rows:
            parts.append(write_paper_table(folder, table).rstrip())
        if self.sets.skipped:
            lines = [[one.dataset, one.split, one.reason] for one in self.sets.skipped]
            parts.append("Skipped:\n\n" + markdown_table(["data set", "split", "reason"], lines).rstrip())
        if self.sets.trained_on:
            parts.append("In the training split too: " + ", ".join(self.sets.trained_on) + ".")
        parts.append("Validation: [val/summary.md](val/summary.md); test: [test/summary.md](test/summary.md).")
        text = "\n\n".join(parts) + "\n"
        write_text(folder / "experiment.md", text)
        about = {"command": portable_command(sys.argv), "datasets": self.sets.datasets, **self.parameters}
        about |= {"n_val": len(self.sets.val), "n_test": len(self.sets.test), "trained_on": self.sets.trained_on}
        about["skipped"] = [dataclasses.asdict(one) for one in self.sets.skipped]
        write_json(folder / FINISHED, about)
        logger.info("\n%s", text)
