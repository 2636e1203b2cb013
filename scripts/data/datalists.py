"""Turn the split CSVs of `DATA_DIR` into MONAI datalists, and keep their prepared volumes on disk."""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import PersistentDataset
from scripts.data.records import BrainMask, DatasetRecord, Role, Split, load_record, load_records
from scripts.data.splits import drop_duplicates, drop_leaks, read_column, read_split, resolve_path
from scripts.errors import InputError, check_whole

__all__ = [
    "VolumeCache",
    "describe_steps",
    "hash_files",
    "listed_subjects",
    "load_datalist",
    "load_datalists",
    "load_splits",
]

FILE_KEYS = ("image", "brain_mask", "label")
PATH_COLUMNS = ("img_path", "mask_path", "seg_path")
NUM_NAMED = 3
Item = dict[str, Any]
logger = logging.getLogger(__name__)


def load_datalist(
    dataset_dir: str | Path,
    dataset: str | Path | DatasetRecord,
    split: str,
    *,
    modality: str = "t1",
    fold: int = 0,
    limit: int | None = None,
    keep_duplicates: bool = False,
) -> list[Item]:
    """Load one split of one data set; every path is checked, no image is opened.

    Rows that name the same image again are dropped with a warning. If the record has a list of the subjects with this
    modality, the other subjects are left out; so are rows with nothing in the column `t2_path` where there is one,
    which else names the image of that modality.

    Args:
        dataset_dir: `DATA_DIR`, the folder that holds `Train`, `Test` and `splits`.
        dataset: name of a record, path of a record's YAML file, or the record.
        split: train, val or test, as far as the record has them.
        modality: a modality of the record.
        fold: fold number, for splits that have folds.
        limit: number of cases to keep, from the top; all by default.
        keep_duplicates: whether rows that name the same image again stay, as they were published.

    Returns:
        A dict per case with the paths `image`, `brain_mask` and, if there is a segmentation, `label`; `case` (the
        image's name without extension and modality, unique in the list), `subject` (`<data set>/<name>`), `dataset`,
        `modality`, and `attributes` (all other columns of the CSV, as text).

    Raises:
        InputError: if an argument is not valid, the CSV is missing, empty or lacks a column or a value, a path leads
            out of `dataset_dir`, a file does not exist, or a case of a lesion set has no segmentation.
    """
    record = dataset if isinstance(dataset, DatasetRecord) else load_record(dataset)
    if limit is not None:
        check_whole(limit, "limit", least=1)
    record.check_modality(modality)
    root = Path(os.path.abspath(Path(dataset_dir).expanduser()))
    if not root.is_dir():
        fix = (
            "Give --dataset_dir the folder that holds Train, Test and splits, or set DATA_DIR in the environment or in "
            "a file .env"
        )
        raise InputError("`dataset_dir` is not a folder", path=root, fix=fix)
    source = _split_csv(root, record, split, fold)
    rows = _available(read_split(source, required=_required(record)), root, record, modality, source=source)
    items = [_item(row, root, record, modality, source=source) for row in rows]
    items = (items if keep_duplicates else drop_duplicates(items, source=source))[:limit]
    _check_cases(items, source=source)
    _check_files(items, source=source)
    return items


def listed_subjects(dataset_dir: str | Path, record: DatasetRecord, split: str, *, fold: int = 0) -> list[str]:
    """Return the `subject` of every row of a split, without a look at the images; none if its CSV is not there.

    Args:
        dataset_dir: `DATA_DIR`.
        record: the data set.
        split: a split of the record.
        fold: fold number, for splits that have folds.

    Raises:
        InputError: if the CSV is no table or lacks the column of the subjects.
    """
    path = Path(dataset_dir).expanduser() / "splits" / record.split_pattern(split).format(fold=fold)
    if not path.is_file():
        return []
    return [_subject(row, record) for row in read_split(path, required={record.subject_column: "the subject"})]


def load_datalists(
    dataset_dir: str | Path,
    datasets: str | Path | DatasetRecord | Sequence[str | Path | DatasetRecord],
    split: str,
    *,
    modality: str = "t1",
    fold: int = 0,
    limit: int | None = None,
    keep_duplicates: bool = False,
    role: Role | str | None = None,
) -> list[Item]:
    """Load one split of several data sets, one after the other.

    Every item gets the `attributes` of all sets, empty where its CSV has none, so that the items can be batched.

    Args:
        dataset_dir: `DATA_DIR`.
        datasets: the data sets, as for `load_datalist`; one is a list of one.
        split: train, val or test.
        modality: a modality of all the records.
        fold: fold number, for splits that have folds.
        limit: number of cases to keep of each set.
        keep_duplicates: whether rows that name the same image again stay.
        role: what all the sets must be, healthy or lesion; None takes any.

    Raises:
        InputError: as `load_datalist`, or if no set is named, or one twice, or one has another role.
    """
    items = []
    records = load_records(datasets)
    others = [record.name for record in records if role is not None and record.role != role]
    if others:
        what = f"{', '.join(others)}: not a {role} set, as its record says"
        raise InputError(what, fix=f"Name {role} sets here, or correct the `role` of the record")
    for record in records:
        items += load_datalist(
            dataset_dir, record, split, modality=modality, fold=fold, limit=limit, keep_duplicates=keep_duplicates
        )
    columns = dict.fromkeys(column for item in items for column in item["attributes"])
    return [{**item, "attributes": dict.fromkeys(columns, "") | item["attributes"]} for item in items]


def _split_csv(root: Path, record: DatasetRecord, split: str, fold: int) -> Path:
    pattern = record.split_pattern(split)
    path = root / "splits" / pattern.format(fold=fold)
    if path.is_file():
        return path
    shape = re.compile(re.escape(pattern).replace(re.escape("{fold}"), r"(\d+)"))
    matches = (shape.fullmatch(entry.name) for entry in (root / "splits").glob("*.csv"))
    folds = sorted(int(match[1]) for match in matches if match and match.groups())
    if folds:
        found = ", ".join(map(str, folds))
        raise InputError(f"`fold` must be one of {found} for {split} of {record.name}, got {fold!r}", path=path.parent)
    fix = f"Put the {split} split of {record.name} there; the set's splits are {', '.join(record.splits)}"
    raise InputError("split CSV not found", path=path, fix=fix)


def _required(record: DatasetRecord) -> dict[str, str]:
    required = {
        "img_name": "the name of the case",
        "img_path": f"the path of its {record.modalities[0]} image",
        "mask_path": "the path of its brain mask",
        record.subject_column: "the name of the subject",
    }
    if record.brain_mask is BrainMask.NONZERO:
        del required["mask_path"]
    if record.role is Role.LESION:
        required["seg_path"] = "the path of its segmentation, which every case of a lesion set needs"
    return required


def _available(
    rows: list[dict[str, str]], root: Path, record: DatasetRecord, modality: str, *, source: Path
) -> list[dict[str, str]]:
    column = f"{modality}_path"
    if modality != record.modalities[0] and column in rows[0]:
        return _with_modality(rows, [row for row in rows if row[column]], modality, source=source, by=column)
    if modality not in record.availability:
        return rows
    path = root / "splits" / record.availability[modality]
    if not path.is_file():
        fix = f"It lists the subjects of {record.name} that have {modality}, one file name a line"
        raise InputError("CSV not found", path=path, fix=fix)
    available = {record.stem(value) for value in read_column(path)}
    kept = [row for row in rows if record.stem(row["img_path"]) in available]
    return _with_modality(rows, kept, modality, source=source, by=path.name)


def _with_modality(
    rows: list[dict[str, str]], kept: list[dict[str, str]], modality: str, *, source: Path, by: str
) -> list[dict[str, str]]:
    if not kept:
        raise InputError(f"none of its {len(rows)} subjects has {modality} according to {by}", path=source)
    if len(kept) < len(rows):
        logger.info("%s: left out %d row(s) without %s", source, len(rows) - len(kept), modality)
    return kept


def _item(row: dict[str, str], root: Path, record: DatasetRecord, modality: str, *, source: Path) -> Item:
    first = modality == record.modalities[0]
    named = "" if first else row.get(f"{modality}_path", "")
    image = named or record.image_path(row["img_path"], modality)
    entries = (image, row.get("mask_path", ""), row.get("seg_path", ""))
    paths_of_others = {f"{name}_path" for name in record.modalities[1:]}
    paths = {
        key: str(resolve_path(root, entry, source=source))
        for key, entry in zip(FILE_KEYS, entries, strict=True)
        if entry
    }
    return {
        **paths,
        "case": record.stem(row["img_path"]),
        "subject": _subject(row, record),
        "dataset": record.name,
        "modality": modality,
        "attributes": {
            column: value for column, value in row.items() if column not in {*PATH_COLUMNS, *paths_of_others}
        },
    }


def _subject(row: dict[str, str], record: DatasetRecord) -> str:
    return f"{record.subject_source or record.name}/{record.stem(row[record.subject_column])}"


def _check_cases(items: list[Item], *, source: Path) -> None:
    counts = Counter(case for case, _ in {(item["case"], item["image"]) for item in items})
    repeated = sorted(case for case, count in counts.items() if count > 1)
    if repeated:
        what = f"different images have the same file name: {', '.join(repeated[:NUM_NAMED])}"
        raise InputError(what, path=source, fix="Rename them: the name says the cases apart in the reports")


def _check_files(items: list[Item], *, source: Path) -> None:
    paths = [item[key] for item in items for key in FILE_KEYS if key in item]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        named = ", ".join(missing[:NUM_NAMED]) + (", …" if len(missing) > NUM_NAMED else "")
        what = f"{len(missing)} of {len(paths)} files that it names do not exist: {named}"
        raise InputError(what, path=source, fix="Check `dataset_dir` and the paths in the CSV")


def load_splits(
    dataset_dir: str | Path,
    datasets: str | Path | DatasetRecord | Sequence[str | Path | DatasetRecord],
    *,
    splits: Sequence[str] = tuple(Split),
    modality: str = "t1",
    fold: int = 0,
    limit: int | None = None,
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
        limit: number of cases to keep of each set and split, before shared subjects are dropped.
        keep_published_splits: keep everything as it was published: shared subjects, and rows that name an image again.

    Returns:
        A datalist for each of `splits`; empty if no set has that split and others are asked for too.

    Raises:
        InputError: as `load_datalists`, or if a split is unknown, comes out empty although a set has it, or no set has
            any of the splits.
    """
    unknown = [split for split in splits if split not in tuple(Split)]
    if unknown:
        raise InputError(f"`splits` must be out of {', '.join(Split)}, got {', '.join(map(repr, unknown))}")
    records = load_records(datasets)
    if not any(split in record.splits for split in splits for record in records):
        held = sorted({str(split) for record in records for split in record.splits})
        what = f"none of {', '.join(record.name for record in records)} has the split {' or '.join(map(str, splits))}"
        raise InputError(what, path=dataset_dir, fix=f"Give one of theirs: {', '.join(held)}")
    lists: dict[str, list[Item]] = {}
    for split in splits:
        having = [record for record in records if split in record.splits]
        options: dict[str, Any] = {"modality": modality, "fold": fold, "limit": limit}
        options["keep_duplicates"] = keep_published_splits
        lists[str(split)] = load_datalists(dataset_dir, having, split, **options) if having else []
    if keep_published_splits:
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


_DEPTH = 6  # attributes of attributes, such as the reader of the loader of `LoadImaged`


class VolumeCache(PersistentDataset):
    """MONAI's `PersistentDataset` for volumes: one file a volume, shared by all folds, seeds and runs.

    A file is used again if the scan's files have the same path, size and time of change, and the steps the same
    settings; it holds the tensors bit for bit. It does not know about changes of the program: empty the folder after an
    update. Files that cannot be read are made anew.

    Args:
        data: datalist.
        transform: deterministic steps that end in tensors without metadata.
        cache_dir: the folder; None keeps nothing.

    Raises:
        InputError: if `cache_dir` is a file.
    """

    def __init__(
        self, data: Sequence[Mapping[str, Any]], transform: Sequence[Callable] | Callable, cache_dir: str | None = None
    ) -> None:
        folder = None if cache_dir is None else Path(cache_dir).expanduser()
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"`cache_dir` must be a folder, got the file {folder}.")
        super().__init__(
            data=data, transform=transform, cache_dir=folder, hash_func=hash_files, hash_transform=describe_steps
        )

    def _cachecheck(self, item_transformed: Any) -> Any:
        try:
            return super()._cachecheck(item_transformed)
        except (RuntimeError, EOFError):
            name = f"{self.hash_func(item_transformed).decode()}{self.transform_hash}.pt"
            path = None if self.cache_dir is None else self.cache_dir / name
            if path is None or not path.is_file():
                raise  # of a step, not of the file
            logger.warning("%s: cannot be read, made anew.", path)
            path.unlink()
            return super()._cachecheck(item_transformed)


def hash_files(item: Mapping[str, Any]) -> bytes:
    """Return a hash of the files of a case: path, size and time of change of each.

    Args:
        item: an entry of a datalist.
    """
    facts: list[object] = []
    for key in FILE_KEYS:
        if key in item:
            state = os.stat(item[key])
            facts.append([key, os.path.abspath(item[key]), state.st_size, state.st_mtime_ns])
    return _digest(facts)


def describe_steps(steps: Sequence[Callable]) -> bytes:
    """Return a hash of the classes and settings of transforms, the same in every process.

    Args:
        steps: the transforms.
    """
    return _digest([_plain(step, _DEPTH) for step in steps])


def _digest(facts: object) -> bytes:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32].encode()


def _plain(value: Any, depth: int) -> Any:
    """Return a value as what JSON can hold, objects as their class and attributes."""
    if isinstance(value, enum.Enum) or value is None or isinstance(value, bool | int | float | str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, depth) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, depth) for entry in value]
    if isinstance(value, np.ndarray | torch.Tensor):
        return np.asarray(value).tolist()
    if isinstance(value, torch.nn.Module):
        return repr(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    own = getattr(value, "__dict__", {}) if depth else {}
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return [kind, {name: _plain(entry, depth - 1) for name, entry in own.items()}]
