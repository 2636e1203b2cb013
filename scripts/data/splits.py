"""Load training, validation and test split together, without persons that are in more than one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.data.datalist import load_datalists
from scripts.data.leaks import drop_leaks
from scripts.data.records import DatasetRecord, Split, load_records
from scripts.errors import InputError

__all__ = ["load_splits"]

Item = dict[str, Any]


def load_splits(
    dataset_dir: str | Path,
    datasets: str | Path | DatasetRecord | Sequence[str | Path | DatasetRecord],
    *,
    splits: Sequence[str] = tuple(Split),
    modality: str = "t1",
    fold: int = 0,
    records_dir: str | Path | None = None,
    limit: int | None = None,
    drop_shared: bool = True,
) -> dict[str, list[Item]]:
    """Load the splits of one or several data sets together, without subjects that are in more than one of them.

    Args:
        dataset_dir: `DATA_DIR`.
        datasets: the data sets, as for `load_datalist`; a set that has no such split adds nothing to it.
        splits: the splits to load, and to compare with each other.
        modality: a modality of all the records.
        fold: fold number, for splits that have folds.
        records_dir: folder of the records.
        limit: number of cases to keep of each set and split, before shared subjects are dropped.
        drop_shared: whether `drop_leaks` is applied.

    Returns:
        A datalist for each of `splits`; empty if no set has that split.

    Raises:
        InputError: as `load_datalists`, or if a split is unknown or comes out empty although a set has it.
    """
    unknown = [split for split in splits if split not in tuple(Split)]
    if unknown:
        raise InputError(f"`splits` must be out of {', '.join(Split)}, got {', '.join(map(repr, unknown))}")
    records = load_records(datasets, records_dir=records_dir)
    lists: dict[str, list[Item]] = {}
    for split in splits:
        having = [record for record in records if split in record.splits]
        loaded = load_datalists(dataset_dir, having, split, modality=modality, fold=fold, limit=limit) if having else []
        lists[str(split)] = loaded
    if not drop_shared:
        return lists
    kept = dict(zip(Split, drop_leaks(*(lists.get(split, []) for split in Split)), strict=True))
    emptied = [split for split in lists if lists[split] and not kept[Split(split)]]
    if emptied:
        what = f"no case of {', '.join(emptied)} is left: all its subjects are in a later split too"
        raise InputError(what, path=dataset_dir, fix="Correct the split CSVs, or set `drop_shared` to false")
    return {split: kept[Split(split)] for split in lists}
