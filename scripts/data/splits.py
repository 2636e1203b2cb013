"""Load training, validation and test split together, without persons that are in more than one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.data.datalist import listed_subjects, load_datalists
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
    keep_published_splits: bool = False,
) -> dict[str, list[Item]]:
    """Load the splits of one or several data sets together, without subjects that are in more than one of them.

    Args:
        dataset_dir: `DATA_DIR`.
        datasets: the data sets, as for `load_datalist`; a set that has no such split adds nothing to it.
        splits: the splits to load. They are compared with each other and with the sets' other later splits, as far as
            their CSV files are there.
        modality: a modality of all the records.
        fold: fold number, for splits that have folds.
        records_dir: folder of the records.
        limit: number of cases to keep of each set and split, before shared subjects are dropped.
        drop_shared: whether `drop_leaks` is applied.
        keep_published_splits: keep everything as it was published: shared subjects, and rows that name an image again.

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
        lists[str(split)] = _load(
            dataset_dir, having, split, modality, fold=fold, limit=limit, keep_duplicates=keep_published_splits
        )
    if keep_published_splits or not drop_shared:
        return lists
    others = [
        {"subject": subject}
        for record in records
        for split in (Split.VAL, Split.TEST)
        if split in record.splits and split not in lists
        for subject in listed_subjects(dataset_dir, record, split, fold=fold)
    ]
    train, val, test = (lists.get(split, []) for split in Split)
    kept_train, kept_val, _ = drop_leaks(train, val, [*test, *others])
    kept = {Split.TRAIN: kept_train, Split.VAL: kept_val, Split.TEST: test}
    emptied = [split for split in lists if lists[split] and not kept[Split(split)]]
    if emptied:
        what = f"no case of {', '.join(emptied)} is left: all its subjects are in a later split too"
        raise InputError(what, path=dataset_dir, fix="Correct the split CSVs, or set `keep_published_splits` to true")
    return {split: kept[Split(split)] for split in lists}


def _load(
    dataset_dir: str | Path, records: list[DatasetRecord], split: str, modality: str, **options: Any
) -> list[Item]:
    return load_datalists(dataset_dir, records, split, modality=modality, **options) if records else []
