"""The CSV files of `DATA_DIR/splits`, the paths in them, and scans or subjects that occur where they must not."""

from __future__ import annotations

import csv
import logging
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from scripts.errors import InputError

__all__ = ["drop_duplicates", "drop_leaks", "read_column", "read_split", "resolve_path"]


def read_split(path: Path, *, required: Mapping[str, str]) -> list[dict[str, str]]:
    """Read the rows of a split CSV.

    Unnamed columns (a row index) are left out, white space around names and values is removed.

    Args:
        path: the CSV file, comma separated, with a header.
        required: columns that must exist and hold a value in every row, and what they hold, for the messages.

    Returns:
        One dict of column name to text per row, in the file's order.

    Raises:
        InputError: if the file is missing, is not such a table, has no rows, lacks a required column or leaves one
            empty, or has a row with more values than the header.
    """
    header, *rows = _read_table(path) or [[]]
    header = [name.strip() for name in header]
    missing = [name for name in required if name not in header]
    if missing:
        found = ", ".join(name for name in header if name) or "none"
        wanted = "; ".join(f"{name} ({required[name]})" for name in missing)
        what = f"column missing: {wanted}; columns found: {found}"
        raise InputError(what, path=path, fix="The first line must name the columns, separated by commas")
    if not rows:
        raise InputError("no rows below the header", path=path, fix="Add one line per case")
    return [_row(header, values, number, path=path, required=required) for number, values in enumerate(rows, start=1)]


def read_column(path: Path) -> set[str]:
    """Read all values of a small CSV file, such as a list of subjects with or without index and header.

    Raises:
        InputError: if the file is missing or is not text.
    """
    return {value.strip() for value in chain.from_iterable(_read_table(path)) if value.strip()}


def resolve_path(dataset_dir: Path, entry: str, *, source: Path) -> Path:
    """Return the file that a CSV entry names; entries start at `DATA_DIR`, with or without a leading slash.

    Links below `dataset_dir` are followed like folders; only the entry itself is judged.

    Args:
        dataset_dir: `DATA_DIR`, absolute.
        entry: path in the CSV.
        source: the CSV, for the message.

    Raises:
        InputError: if the entry leads out of `dataset_dir`.
    """
    text = entry.replace("\\", "/")
    root = dataset_dir.as_posix()
    if PurePosixPath(text).is_relative_to(root):
        text = text.removeprefix(root)
    relative = posixpath.normpath(text.lstrip("/"))
    resolved = dataset_dir / relative
    climbs = relative == ".." or relative.startswith("../") or relative[1:2] == ":"
    elsewhere = Path(text).is_absolute() and not resolved.exists() and Path(text).exists()
    if climbs or elsewhere:
        fix = f"Paths must start at `dataset_dir`, as in /Train/ixi/t1/name_t1.nii.gz; it is {dataset_dir} now"
        raise InputError(f"path {entry!r} leads out of `dataset_dir`", path=source, fix=fix)
    return resolved


def _read_table(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [row for row in csv.reader(file, strict=True) if any(value.strip() for value in row)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"not a CSV file in UTF-8 ({error})", path=path) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from error


def _row(
    header: list[str], values: list[str], number: int, *, path: Path, required: Mapping[str, str]
) -> dict[str, str]:
    if len(values) > len(header):
        what = f"row {number} has {len(values)} values for {len(header)} columns"
        raise InputError(what, path=path, fix="Put values that contain a comma in double quotes")
    padded = values + [""] * (len(header) - len(values))
    row = {name: value.strip() for name, value in zip(header, padded, strict=True) if name}
    empty = [f"{name} ({meaning})" for name, meaning in required.items() if not row[name]]
    if empty:
        what = f"row {number} ({row.get('img_name') or 'no img_name'}) has no value for {'; '.join(empty)}"
        raise InputError(what, path=path, fix="Fill it in or remove the row")
    return row


Item = dict[str, Any]
logger = logging.getLogger(__name__)


def drop_duplicates(items: Sequence[Item], *, source: object) -> list[Item]:
    """Return the items without those whose image came before, and warn with their names.

    Args:
        items: a datalist.
        source: where it came from, for the warning.
    """
    first = {item["image"]: item for item in reversed(items)}
    kept = [item for item in items if first[item["image"]] is item]
    if len(kept) < len(items):
        names = sorted({item["case"] for item in items if first[item["image"]] is not item})
        logger.warning("%s: dropped %d repeated row(s): %s", source, len(items) - len(kept), ", ".join(names))
    return kept


def drop_leaks(
    train: Sequence[Item], val: Sequence[Item], test: Sequence[Item] = ()
) -> tuple[list[Item], list[Item], list[Item]]:
    """Return the datalists with every subject in one of them only, and warn with the names of those dropped.

    Training loses a subject to validation and test, validation loses it to test, test loses nothing, so that the
    figures on the test set stay those of the whole test set.

    Args:
        train: datalist to train on.
        val: datalist to select a model on.
        test: datalist to report on.
    """
    kept_val = _without(val, _subjects(test), name="validation")
    kept_train = _without(train, _subjects(val) | _subjects(test), name="training")
    return kept_train, kept_val, list(test)


def _without(items: Sequence[Item], subjects: set[str], *, name: str) -> list[Item]:
    dropped = sorted(_subjects(items) & subjects)
    if dropped:
        logger.warning(
            "dropped %d subject(s) from %s that are in a later split too: %s", len(dropped), name, ", ".join(dropped)
        )
    return [item for item in items if item["subject"] not in subjects]


def _subjects(items: Iterable[Item]) -> set[str]:
    return {item["subject"] for item in items}
