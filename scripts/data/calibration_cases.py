"""The scans that thresholds are calibrated on, each with the part that it plays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from scripts.data.datalists import load_datalists
from scripts.data.records import Role, load_records
from scripts.errors import InputError

__all__ = ["CalibrationRole", "load_calibration_cases"]


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
        person.

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
    people = {role: {item["subject"] for item in items if item["role"] == role} for role in CalibrationRole}
    shared = sorted(people[CalibrationRole.HEALTHY] & people[CalibrationRole.HELD_OUT])
    if shared:
        what = f"healthy scans of the same person are in validation and test: {', '.join(shared[:3])}"
        raise InputError(what, path=dataset_dir, fix="Take them out of one of the splits.")
    for item in items:
        del item["attributes"]  # they differ from set to set, and a batch needs the same keys
    return items


@contextmanager
def _named(option: str) -> Iterator[None]:
    """Put the option's name before what is wrong with its sets."""
    try:
        yield
    except InputError as error:
        raise InputError(f"`{option}`: {error.what}", path=error.path, fix=error.fix) from error
