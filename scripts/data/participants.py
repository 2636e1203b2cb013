"""Age, sex and group of the people in a data set, from the table that BIDS calls `participants.tsv`."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from scripts.errors import InputError
from scripts.files import replacing

__all__ = ["add_participants", "find_participants", "read_participants", "read_published_splits"]

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
    """Return `age` (a number, or empty), `sex` (f, m, or empty) and `group` of every person in a table.

    Args:
        path: a file separated by tabs (`.tsv`) or commas, with a header. The person stands in `participant_id`, with or
            without `sub-`; `gender` and `diagnosis` are taken for `sex` and `group`.

    Returns:
        The facts by the person's name without `sub-`.

    Raises:
        InputError: if the file cannot be read, has no column that names the persons, or names one twice.
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
        path: the `participants.tsv`. Its people stay; columns that only `table` has are appended.
        table: as for `read_participants`.
        of: people, without `sub-`, whose line is taken from `table` also where `path` has one.

    Raises:
        InputError: as `read_participants`, for either file; then `path` stays as it was.
    """
    path = Path(path)
    people = _read(path) if path.is_file() else {}
    for name, row in _read(Path(table)).items():
        if name in of or name not in people:
            people[name] = {**people.get(name, {}), **row}
    columns = dict.fromkeys(column for row in people.values() for column in row)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), delimiter="\t", restval="n/a", lineterminator="\n")
        writer.writeheader()
        writer.writerows(people.values())


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Return the cells of every person by column in lower case; the name stands in `participant_id`, which is first."""
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
    people: dict[str, dict[str, str]] = {}
    for row in rows:
        name = row[column].removeprefix("sub-")
        if name in people:
            raise InputError(f"participant {row[column]!r} stands there twice", path=path, fix="Keep one line a person")
        if name:
            people[name] = {_ID_COLUMNS[0]: row.pop(column), **row}
    return people


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
