"""Divide subjects into folds, validation and test, alike in age and sex as `participants.tsv` has them."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scripts.data.records import Role
from scripts.errors import InputError, check_whole
from scripts.files import replacing
from sklearn.model_selection import StratifiedKFold, train_test_split

__all__ = [
    "Participant",
    "SplitPlan",
    "add_participants",
    "find_participants",
    "plan_splits",
    "published_plan",
    "read_participants",
    "read_published_splits",
    "strata",
]

FILE_NAME = "participants.tsv"
_ID_COLUMNS = ("participant_id", "subject", "subject_id", "img_name", "id")
_COLUMNS = {"age": ("age", "age_years"), "sex": ("sex", "gender"), "group": ("group", "diagnosis")}
_UNKNOWN = ("", "n/a", "na", "nan", "none", "unknown")
_SEX = {"f": "f", "female": "f", "w": "f", "m": "m", "male": "m"}


def find_participants(folder: object) -> str | None:
    """Return the path of `participants.tsv` in a folder or the one above, as text; None where there is none.

    Args:
        folder: the data set's folder; anything else has no table.
    """
    if not isinstance(folder, str | Path) or not Path(folder).is_dir():
        return None
    root = Path(folder).absolute()
    return next((str(path / FILE_NAME) for path in (root, root.parent) if (path / FILE_NAME).is_file()), None)


def read_participants(path: str | Path) -> dict[str, dict[str, str]]:
    """Return `age` (a number, or empty), `sex` (f, m, or empty) and `group` of every subject in a table.

    Args:
        path: a file separated by tabs (`.tsv`) or commas, with a header. The subject is in `participant_id`, with or
            without `sub-`; `gender` and `diagnosis` are taken for `sex` and `group`.

    Returns:
        The facts by the subject's name without `sub-`.

    Raises:
        InputError: if the file cannot be read, has no column that names the subjects, or names one twice.
    """
    return {name: _facts(row) for name, row in _read(Path(path)).items()}


def read_published_splits(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Return the published splits of every subject, from the column `published_splits` of a table.

    Args:
        path: as for `read_participants`; the column holds names such as `train_fold0`, `val_fold3` and `test`,
            separated by spaces, or nothing.

    Returns:
        The names of the splits by the subject's name without `sub-`.

    Raises:
        InputError: as `read_participants`, or if there is no such column.
    """
    rows = _read(Path(path))
    if not any("published_splits" in row for row in rows.values()):
        raise InputError("the table has no column `published_splits`", path=path, fix="Leave --published out")
    return {name: tuple((row.get("published_splits") or "").split()) for name, row in rows.items()}


def add_participants(path: str | Path, table: str | Path, *, of: Collection[str]) -> None:
    """Add the lines of a table to a data set's `participants.tsv`, which is made if it is missing.

    Args:
        path: the `participants.tsv`. Its subjects stay; columns that only `table` has are appended.
        table: as for `read_participants`.
        of: subjects, without `sub-`, whose line is taken from `table` also where `path` has one.

    Raises:
        InputError: as `read_participants`, for either file; then `path` stays as it was.
    """
    path = Path(path)
    subjects = _read(path) if path.is_file() else {}
    for name, row in _read(Path(table)).items():
        if name in of or name not in subjects:
            subjects[name] = {**subjects.get(name, {}), **row}
    columns = dict.fromkeys(column for row in subjects.values() for column in row)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), delimiter="\t", restval="n/a", lineterminator="\n")
        writer.writeheader()
        writer.writerows(subjects.values())


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Return the cells of every subject by column in lower case; the name is in `participant_id`, which is first."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            header = [name.strip().lower() for name in reader.fieldnames or []]
            rows = [dict(zip(header, map(_text, row.values()), strict=False)) for row in reader]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"the table of participants cannot be read ({error})", path=path) from error
    column = next((name for name in _ID_COLUMNS if name in header), None)
    if column is None:
        found = ", ".join(header) or "none"
        what = f"no column names the participants; columns found: {found}"
        raise InputError(what, path=path, fix="Add the column participant_id")
    subjects: dict[str, dict[str, str]] = {}
    for row in rows:
        name = row[column].removeprefix("sub-")
        if name in subjects:
            raise InputError(f"participant {row[column]!r} stands there twice", path=path, fix="Keep one line each")
        if name:
            subjects[name] = {_ID_COLUMNS[0]: row.pop(column), **row}
    return subjects


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _facts(row: dict[str, str]) -> dict[str, str]:
    found = {key: next((row[name] for name in names if _known(row.get(name))), "") for key, names in _COLUMNS.items()}
    try:
        float(found["age"])
    except ValueError:
        found["age"] = ""
    return {**found, "sex": _SEX.get(found["sex"].lower(), "")}


def _known(value: str | None) -> bool:
    return value is not None and value.lower() not in _UNKNOWN


AGE_BINS = (4, 3, 2, 1)
REST = "rest"


@dataclass(frozen=True)
class Participant:
    """Someone who was scanned, once or several times.

    Attributes:
        name: of the subject.
        age: in years, None where unknown.
        sex: f, m, or empty where unknown.
    """

    name: str
    age: float | None = None
    sex: str = ""


@dataclass(frozen=True)
class SplitPlan:
    """Who is in which split, by name; no one is in two.

    Attributes:
        test: the test set, empty if there is none.
        folds: training and validation of each fold; of a lesion set one fold without training.
    """

    test: tuple[str, ...]
    folds: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = field(default_factory=tuple)


def plan_splits(
    subjects: Sequence[Participant],
    *,
    role: str = Role.HEALTHY,
    num_folds: int = 5,
    test_share: float = 0.15,
    val_share: float = 0.3,
    seed: int = 3141,
) -> SplitPlan:
    """Divide subjects: a healthy set into a test set and folds of the others, a lesion set into validation and test.

    Age and sex are spread evenly as far as they are known and there are subjects enough (see `strata`).

    Args:
        subjects: who is there, none twice.
        role: healthy or lesion.
        num_folds: folds of a healthy set; everyone outside the test set is in the validation of one of them. 1 makes
            one fold with `val_share` of them for validation.
        test_share: share of the subjects in the test set of a healthy set, 0 for no test set.
        val_share: share of the subjects in the validation set of a lesion set, or of a single fold.
        seed: the same seed gives the same splits, in whatever order the subjects come.

    Returns:
        The plan.

    Raises:
        InputError: if a number is out of its range, or there are too few subjects for it.
    """
    check_whole(num_folds, "num_folds", least=1)
    subjects = sorted(subjects, key=lambda subject: subject.name)
    if role == Role.LESION:
        test, val = _divide(subjects, val_share, seed, argument="val_share")
        return SplitPlan(_names(test), (((), _names(val)),))
    pool, test = _divide(subjects, test_share, seed, argument="test_share") if test_share else (subjects, [])
    if num_folds == 1:
        train, val = _divide(pool, val_share, seed, argument="val_share")
        return SplitPlan(_names(test), ((_names(train), _names(val)),))
    if num_folds > len(pool):
        fix = f"Use --num_folds {len(pool)} or fewer, or a smaller --test_share" if len(pool) > 1 else "Add scans"
        raise InputError(f"{len(pool)} subjects outside the test set are too few for {num_folds} folds", fix=fix)
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    parts = splitter.split(np.zeros(len(pool)), strata(pool, num_folds))
    folds = [tuple(_names([pool[index] for index in indices]) for indices in part) for part in parts]
    return SplitPlan(_names(test), tuple((train, val) for train, val in folds))


def published_plan(splits: Mapping[str, Sequence[str]], *, subjects: Collection[str]) -> SplitPlan:
    """Return the splits that were published for a data set, as far as its subjects are here.

    Args:
        splits: names of the splits of each subject: `test`, `train_fold0`, `val_fold0`, `train_fold1`, …; a subject
            without any is left out.
        subjects: who is here.

    Raises:
        InputError: for another name of a split, or if none of the subjects is in any.

    Examples:
        >>> published_plan({"a": ["train_fold0"], "b": ["val_fold0"], "c": ["test"]}, subjects=["a", "b", "c"])
        SplitPlan(test=('c',), folds=((('a',), ('b',)),))
    """
    known = re.compile(r"test|(?:train|val)_fold\d+")
    members: dict[str, list[str]] = {}
    for subject in sorted(subjects):
        for name in splits.get(subject, ()):
            if not known.fullmatch(name):
                what = f"a published split must be test, train_fold0, val_fold0, …, got {name!r} of {subject}"
                raise InputError(what)
            members.setdefault(name, []).append(subject)
    if not members:
        raise InputError("the table of published splits knows none of the subjects here")
    count = 1 + max((int(name.rpartition("fold")[2]) for name in members if name != "test"), default=-1)
    folds = ((tuple(members.get(f"{part}_fold{fold}", ())) for part in ("train", "val")) for fold in range(count))
    return SplitPlan(tuple(members.get("test", ())), tuple((train, val) for train, val in folds))


def strata(subjects: Sequence[Participant], smallest: int) -> list[str]:
    """Return a stratum for each subject: sex and age group, as fine as every stratum has `smallest` members.

    Age groups are quarters, thirds or halves of those whose age is known. Subjects whose stratum stays too small share
    one; if that is too small still, they join the largest.

    Args:
        subjects: who is there.
        smallest: least number of members.
    """
    ages = np.array([math.nan if subject.age is None else subject.age for subject in subjects], dtype=float)
    known = ages[np.isfinite(ages)]
    found: list[str] = []
    for bins in AGE_BINS:
        edges = np.quantile(known, np.arange(1, bins) / bins) if len(known) else np.array([])
        groups = ["?" if math.isnan(age) else str(np.searchsorted(edges, age, side="right")) for age in ages]
        found = [f"{subject.sex or '?'}{group}" for subject, group in zip(subjects, groups, strict=True)]
        if min(Counter(found).values(), default=0) >= smallest:
            return found
    counts = Counter(found)
    found = [name if counts[name] >= smallest else REST for name in found]
    counts = Counter(found)
    largest = counts.most_common(1)[0][0] if counts else REST
    return [largest if name == REST and counts[REST] < smallest else name for name in found]


def _divide(
    subjects: list[Participant], share: float, seed: int, *, argument: str
) -> tuple[list[Participant], list[Participant]]:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise InputError(f"`{argument}` must lie between 0 and 1, got {share!r}")
    if len(subjects) < 2:
        raise InputError(f"{len(subjects)} subjects are too few to be divided", fix="Add scans of other subjects")
    taken = min(max(1, round(share * len(subjects))), len(subjects) - 1)
    smallest = max(2, math.ceil(len(subjects) / min(taken, len(subjects) - taken)))
    groups = strata(subjects, smallest)
    many = len(set(groups)) <= min(taken, len(subjects) - taken) and min(Counter(groups).values()) > 1
    rest, part = train_test_split(subjects, test_size=taken, stratify=groups if many else None, random_state=seed)
    return rest, part


def _names(subjects: Sequence[Participant]) -> tuple[str, ...]:
    return tuple(sorted(subject.name for subject in subjects))
