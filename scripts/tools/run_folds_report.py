"""The table over folds, and the figures of each fold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.report.paper_table import PaperTable, average_tables, table_of_summary, write_paper_table
from scripts.report.tables import write_csv

__all__ = ["read_folds", "write_report"]


def read_folds(folders: Mapping[int, Path]) -> dict[int, PaperTable]:
    """Read the table of each fold that has one.

    Args:
        folders: the folder of each fold's experiment.
    """
    tables = {}
    for fold, folder in folders.items():
        about, summary = folder / "experiment.json", folder / "test" / "summary.json"
        if about.is_file() and (folder / "finished.json").is_file():
            order = json.loads(about.read_text(encoding="utf-8"))["datasets"]
            content = json.loads(summary.read_text(encoding="utf-8"))["data_sets"]
            tables[fold] = table_of_summary(content, order=order)
    return tables


def write_report(
    folder: Path, folders: Mapping[int, Path], *, label: str = "", others: Mapping[str, str] | None = None
) -> str:
    """Write table.md, table.csv, table.tex and folds.csv, and return the Markdown.

    Args:
        folder: where to write.
        folders: the folder of each fold's experiment.
        label: what to call these rows when there are others.
        others: {label: folder of another run over folds}, whose rows come first.

    Raises:
        InputError: if no fold is finished, or another run has none.
    """
    own = read_folds(folders)
    if not own:
        raise InputError("no fold has an evaluation", path=folder, fix="The logs in the folders of the folds say why.")
    runs: dict[str, dict[int, PaperTable]] = {}
    for name, place in (others or {}).items():
        runs[name] = read_folds(_fold_folders(Path(place)))
        if not runs[name]:
            raise InputError("no fold has an evaluation", path=place, fix="Give the output_dir of a run over folds.")
    runs[label] = own
    # A fold without a validation set has another kind of Dice; the table takes the kind of the first fold.
    averaged = {name: average_tables(list(tables.values())) for name, tables in runs.items()}
    kinds = sorted({table.dice for table in averaged.values()})
    if len(kinds) > 1:
        raise InputError(f"the runs have Dice at different thresholds: {', '.join(kinds)}", path=folder)
    rows = {
        f"{name}: {row}" if name and len(runs) > 1 else row: cells
        for name, table in averaged.items()
        for row, cells in table.rows.items()
    }
    datasets = list(dict.fromkeys(dataset for table in averaged.values() for dataset in table.datasets))
    numbers = ", ".join(map(str, own))
    table = PaperTable(rows, datasets, kinds[0], f"folds ({numbers})" if len(runs) == 1 else "folds")
    write_csv(folder / "folds.csv", [line for name, tables in runs.items() for line in _fold_rows(name, tables)])
    return write_paper_table(folder, table)


def _fold_folders(root: Path) -> dict[int, Path]:
    """Return the folders of the folds that a run made."""
    found = {path.name.removeprefix("fold"): path for path in sorted(root.glob("fold*")) if path.is_dir()}
    return {int(number): path / "evaluate" for number, path in found.items() if number.isdigit()}


def _fold_rows(label: str, tables: Mapping[int, PaperTable]) -> list[dict[str, Any]]:
    """Return a row per fold, method and data set: mean and standard deviation over cases."""
    rows = []
    for fold, table in tables.items():
        for method, cells in table.rows.items():
            for dataset in table.datasets:
                row: dict[str, Any] = {"run": label, "fold": fold, "method": method, "dataset": dataset}
                for metric in ("dice", "auprc"):
                    cell = cells.get((dataset, metric))
                    row |= {f"{metric}_{part}": cell and getattr(cell, part) for part in ("mean", "std", "n")}
                rows.append(row)
    return rows
