"""Bring a raw data set into the layout of `DATA_DIR`, case by case and several at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.data import Role, add_participants
from scripts.data.folders import check_writable
from scripts.errors import InputError, check_choice
from scripts.report.pages import write_preprocessing_page, write_preprocessing_table
from scripts.workflows.preprocess_case import CaseFiles, CaseSteps
from scripts.workflows.processes import LOST, run_in_processes, run_on_cluster
from tqdm import tqdm

__all__ = ["Preprocess"]

logger = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(kw_only=True)
class Preprocess:
    """Write `Train/<set>/{t1,t2,mask}` or `Test/<set>/{t1,t2,mask,seg}` from raw scans.

    Cases that are finished are skipped, one that fails does not stop the others. In `quality/` of the set: a picture of
    each scan, `index.html`, `preprocessing.csv` and a JSON file a case.

    Args:
        cases: from `find_raw_cases`.
        dataset: name of the set.
        dataset_dir: `DATA_DIR`, made if missing.
        preparation: from a raw scan to MNI world on its own grid.
        resampling: onto the output grid.
        role: healthy or lesion; None takes lesion if any case has a label.
        participants: a `participants.tsv` with age, sex and group, whose lines are added to that of the set.
        parameters: what to note beside the results.
        num_workers: cases at a time, each in a process of its own; 0 and 1 stay in this one.
        cluster: address of a Dask scheduler whose workers do the cases; None for this machine alone.
        overwrite: whether finished cases are done again, and foreign files replaced.
        progress: whether to show a progress bar over the cases, on a terminal only.

    Raises:
        InputError: if the name or the role cannot be used.
    """

    cases: Sequence[Mapping[str, Any]]
    dataset: str | None
    dataset_dir: str
    preparation: Callable
    resampling: Callable
    role: str | None = None
    participants: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    num_workers: int = 1
    cluster: str | None = None
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        """Check the name and the role."""
        name = str(self.dataset or "")
        if not name or not name.replace("-", "").replace("_", "").isalnum():
            raise InputError(
                f"`dataset` must be a name of letters, digits, - and _, got {self.dataset!r}",
                fix="Give --dataset the name of the set",
            )
        if self.role is None:
            labelled = any("label" in scan for case in self.cases for scan in case["scans"])
            self.role = Role.LESION if labelled else Role.HEALTHY
        self.role = check_choice(Role, self.role, "role")

    @property
    def folder(self) -> Path:
        """The folder of the set."""
        return Path(self.dataset_dir).expanduser() / Role(str(self.role)).parent / str(self.dataset)

    def run(self) -> list[Row]:
        """Run the cases.

        Returns:
            A row for each scan, as `CaseSteps.run` gives them, in the order of the cases.

        Raises:
            InputError: at the end, if a scan is not there.
        """
        steps = CaseSteps(
            preparation=self.preparation,
            resampling=self.resampling,
            folder=self.folder,
            parameters=self.parameters,
            overwrite=self.overwrite,
        )
        check_writable(self.folder)
        found = {case["case"]: steps.finished(case) for case in self.cases}
        todo = [case for case in self.cases if found[case["case"]] is None]
        if len(todo) < len(self.cases):
            logger.info("skipped %d finished case(s); --overwrite true does them again", len(self.cases) - len(todo))
        with tqdm(total=len(todo), unit="case", disable=None if self.progress else True) as bar:
            for name, rows in self._results(steps, todo):
                found[name] = rows
                bar.set_description(name)
                bar.update()
        rows = [self._still_there(row) for case in self.cases for row in found[case["case"]] or []]
        self._report(rows)
        bad = [f"{row['case']} ({row['modality']})" for row in rows if row["status"] != "ok"]
        if bad:
            fix = f"The reasons stand above and in {self.folder / 'quality' / 'preprocessing.csv'}"
            raise InputError(f"{len(bad)} of {len(rows)} scans were left out: {', '.join(bad)}", fix=fix)
        return rows

    def _still_there(self, row: Row) -> Row:
        """Return a scan's row, or why it counts as failed where someone has removed its files meanwhile."""
        if row["status"] != "ok" or all((self.folder / name).is_file() for name in row["files"]):
            return row
        return {**row, "status": "failed", "reasons": ["its files were removed while the others were made"]}

    def _results(self, steps: CaseSteps, cases: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Row]]]:
        if self.cluster is not None:
            results = run_on_cluster(steps.go_on, cases, address=self.cluster)
        elif int(self.num_workers) > 1:
            results = run_in_processes(steps.run, cases, num_workers=int(self.num_workers))
        else:
            yield from ((case["case"], steps.run(case)) for case in cases)
            return
        with closing(results) as finished:
            for index, rows in finished:
                yield cases[index]["case"], _lost(cases[index]) if rows is None else rows

    def _report(self, rows: Sequence[Row]) -> None:
        quality = self.folder / "quality"
        together = sorted([*self._earlier(rows), *rows], key=lambda row: row["case"])
        write_preprocessing_table(quality / "preprocessing.csv", together)
        write_preprocessing_page(quality / "index.html", together, title=f"Preprocessing of {self.dataset}")
        if self.participants:
            self._add_participants(self.participants, rows)
        counts = Counter(row["status"] for row in rows)
        total = ", ".join(f"{counts[name]} {name}" for name in ("ok", "refused", "failed") if counts[name])
        lines = [
            f"  {row['case']} ({row['modality']}): {row['status']}: {'; '.join(row['reasons'])}"
            for row in rows
            if row["status"] != "ok"
        ]
        logger.info("%s: %d scans: %s; %s\n%s", self.folder, len(rows), total, quality / "index.html", "\n".join(lines))

    def _add_participants(self, table: str, rows: Sequence[Row]) -> None:
        """Add the table to that of the set; a line that is there changes only with a scan of this run."""
        there = {str(row["subject"]).removeprefix("sub-") for row in rows if row["status"] == "ok"}
        try:
            add_participants(self.folder / "participants.tsv", table, of=there)
        except InputError as error:
            logger.warning("The table of participants was not taken over: %s", error)

    def _earlier(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of cases that earlier runs brought and this one does not know."""
        now = {row["case"] for row in rows}
        records = (CaseFiles(self.folder, path.stem) for path in (self.folder / "quality").glob("[!.]*.json"))
        return [row for files in records if files.case not in now for row in files.read_record().get("scans", [])]


def _lost(case: Mapping[str, Any]) -> list[Row]:
    facts = {name: case[name] for name in ("case", "subject", "session")}
    failed = {"status": "failed", "reasons": [LOST]}
    return [
        {**facts, "modality": scan["modality"], "input": Path(scan["image"]).name, **failed} for scan in case["scans"]
    ]
