"""What thresholds are calibrated on, and what an experiment validates and tests on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from scripts.data.datalists import listed_subjects, load_datalist, load_datalists
from scripts.data.records import DatasetRecord, Role, Split, load_records
from scripts.data.splits import drop_leaks
from scripts.errors import InputError

__all__ = ["CalibrationRole", "ExperimentSets", "SkippedSplit", "load_calibration_cases", "load_experiment"]


class CalibrationRole(StrEnum):
    """What a scan is there for."""

    HEALTHY = "healthy"  # thresholds at false positive rates, and the scores that p-values refer to
    LESION = "lesion"  # the threshold with the best Dice
    HELD_OUT = "held out"  # healthy scans that only measure what the thresholds mark


def load_calibration_cases(
    dataset_dir: str | Path,
    *,
    healthy: Sequence[str],
    lesion: Sequence[str] = (),
    held_out: Sequence[str] = (),
    untrained: Sequence[str] = (),
    lesion_dir: str | Path | None = None,
    modality: str = "t1",
    fold: int = 0,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Load validation scans to choose thresholds on, and healthy test scans to measure them on.

    Args:
        dataset_dir: `DATA_DIR`.
        healthy: data sets whose validation scans are healthy.
        lesion: data sets whose validation scans have labelled lesions; none where there are none.
        held_out: data sets whose test scans are healthy.
        untrained: healthy data sets that the network was not trained on at all, of another scanner: all of their scans
            are calibrated on.
        lesion_dir: `DATA_DIR` of the lesion sets, where it is another one.
        modality: t1 or t2.
        fold: of the sets that have folds.
        limit: the first so many cases of each set.

    Returns:
        The items of `load_datalist`, each with a `role`. The healthy validation scans and the held-out ones share no
        subject.

    Raises:
        InputError: if no set is named, a set cannot be read or is no healthy or lesion set as it should be, or a
            subject is in both healthy parts.
    """
    if not healthy and not lesion and not untrained:
        raise InputError("`healthy` or `lesion` must name a data set, got neither")
    twice = sorted(set(untrained) & {*healthy, *held_out})
    if twice:
        raise InputError(f"`untrained` names sets that are in `healthy` or `held_out` too: {', '.join(twice)}")
    parts: list[tuple[str, Sequence[Any], list[str], CalibrationRole]] = [
        ("healthy", healthy, ["val"], CalibrationRole.HEALTHY),
        ("lesion", lesion, ["val"], CalibrationRole.LESION),
        ("held_out", held_out, ["test"], CalibrationRole.HELD_OUT),
    ]
    for record in load_records(list(untrained)) if untrained else []:
        parts.append(("untrained", [record], list(record.splits), CalibrationRole.HEALTHY))
    items = []
    for option, sets, splits, role in parts:
        folder = lesion_dir or dataset_dir if role is CalibrationRole.LESION else dataset_dir
        kind = Role.LESION if role is CalibrationRole.LESION else Role.HEALTHY
        for split in splits if sets else []:
            with _named(option):
                found = load_datalists(folder, list(sets), split, modality=modality, fold=fold, limit=limit, role=kind)
            items += [{**item, "role": str(role)} for item in found]
    subjects = {role: {item["subject"] for item in items if item["role"] == role} for role in CalibrationRole}
    shared = sorted(subjects[CalibrationRole.HEALTHY] & subjects[CalibrationRole.HELD_OUT])
    if shared:
        what = f"healthy scans of the same subject are in validation and test: {', '.join(shared[:3])}"
        raise InputError(what, path=dataset_dir, fix="Take them out of one of the splits.")
    for item in items:
        age = item["attributes"].get("age", "")
        item["attributes"] = {"age": age}  # the others differ from set to set, and a batch needs the same keys
    return items


@contextmanager
def _named(option: str) -> Iterator[None]:
    """Put the option's name before what is wrong with its sets."""
    try:
        yield
    except InputError as error:
        raise InputError(f"`{option}`: {error.what}", path=error.path, fix=error.fix) from error


Item = dict[str, Any]
logger = logging.getLogger(__name__)
_NAMED = 5


@dataclass(frozen=True)
class SkippedSplit:
    """A split of a data set that an experiment goes without, and why."""

    dataset: str
    split: str
    reason: str


@dataclass
class ExperimentSets:
    """The cases of an experiment.

    Attributes:
        datasets: names of the data sets in the order in which they were asked for.
        val: cases to choose thresholds on.
        test: cases to report on.
        skipped: what is not there.
        trained_on: subjects of `val` and `test` that are in the training split too.
    """

    datasets: list[str]
    val: list[Item] = field(default_factory=list)
    test: list[Item] = field(default_factory=list)
    skipped: list[SkippedSplit] = field(default_factory=list)
    trained_on: list[str] = field(default_factory=list)


def load_experiment(
    dataset_dir: str | Path,
    datasets: Sequence[str | Path | DatasetRecord] | str,
    *,
    modality: str,
    fold: int = 0,
    limit: int | None = None,
    train_datasets: Sequence[str | Path | DatasetRecord] | str = (),
    keep_published_splits: bool = False,
) -> ExperimentSets:
    """Load validation and test splits of several data sets; what is absent is skipped with a warning that says why.

    Absent means: the set has no such split or modality, or its split CSV or image folder is not in `dataset_dir`. A CSV
    that names missing files is an error, as it is for `load_datalist`.

    Args:
        dataset_dir: `DATA_DIR`.
        datasets: records of the sets, or their names.
        modality: t1 or t2.
        fold: fold number, for splits that have folds.
        limit: number of cases to keep of each set and split.
        train_datasets: what the network was trained on; subjects of its training split that turn up here are named in
            a warning. They stay: a model has seen them, which the reader must judge.
        keep_published_splits: keep repeated rows, and subjects in validation that are in test too; by default both are
            dropped.

    Raises:
        InputError: if no test split is there, or a split that is there cannot be used.
    """
    records = load_records(datasets)
    sets = ExperimentSets([record.name for record in records])
    for record in records:
        for split, items in ((Split.VAL, sets.val), (Split.TEST, sets.test)):
            reason = _absence(Path(dataset_dir), record, split, modality)
            if reason:
                sets.skipped.append(SkippedSplit(record.name, str(split), reason))
                logger.warning("skipped %s (%s): %s", record.name, split, reason)
            else:
                items += load_datalist(
                    dataset_dir,
                    record,
                    split,
                    modality=modality,
                    fold=fold,
                    limit=limit,
                    keep_duplicates=keep_published_splits,
                )
    if not sets.test:
        reasons = "; ".join(f"{one.dataset}: {one.reason}" for one in sets.skipped if one.split == Split.TEST)
        raise InputError(f"no test split is there ({reasons})", path=dataset_dir, fix="Check dataset_dir and datasets.")
    if not keep_published_splits:
        sets.val = drop_leaks([], sets.val, sets.test)[1]
    sets.trained_on = _trained_on(dataset_dir, train_datasets, sets, fold)
    return sets


def _absence(root: Path, record: DatasetRecord, split: Split, modality: str) -> str:
    """Return why a split cannot be loaded, empty if it may be."""
    if modality not in record.modalities:
        return f"the set has no {modality}"
    if split not in record.splits:
        return f"the set has no {split} split"
    pattern = record.splits[split]
    if not list((root / "splits").glob(pattern.replace("{fold}", "*"))):
        return f"splits/{pattern} is not there"
    return "" if (root / record.folder).is_dir() else f"{record.folder} is not there"


def _trained_on(
    dataset_dir: str | Path, train_datasets: Sequence[str | Path | DatasetRecord] | str, sets: ExperimentSets, fold: int
) -> list[str]:
    """Return, and warn of, the subjects that the network was trained on."""
    found: list[str] = []
    for record in load_records(train_datasets) if train_datasets else []:
        if Split.TRAIN not in record.splits:
            continue
        trained = set(listed_subjects(dataset_dir, record, Split.TRAIN, fold=fold))
        found += sorted({item["subject"] for item in (*sets.val, *sets.test)} & trained)
    if found:
        named = ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
        logger.warning("%d subject(s) here are in the training split of fold %s: %s", len(found), fold, named)
    return found
