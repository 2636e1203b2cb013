"""Scans that a CSV names, in the columns of the splits in `DATA_DIR`."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

from scripts.data.inputs.files import check_file, scan_stem
from scripts.data.inputs.modality import Modality, select_modality
from scripts.data.leaks import drop_duplicates
from scripts.data.records import DatasetRecord, Role
from scripts.data.split_csv import read_split
from scripts.errors import InputError

__all__ = ["csv_items", "csv_labels"]

# How names and paths of any set in DATA_DIR are put together: …/t1/x_t1.nii.gz, …/t2/x_t2.nii.gz.
_LAYOUT = DatasetRecord(name="CSV", folder=".", role=Role.HEALTHY, modalities=tuple(Modality), splits={})


def csv_items(path: Path, *, modality: Modality | None = None) -> list[dict[str, str]]:
    """Return the scans that a CSV names as a datalist.

    The column `img_path` is needed; `mask_path` (the brain mask) and `img_name` may be there, others are ignored. A
    path is taken as it is, else from the CSV's folder, else from the folder above (`DATA_DIR` of `DATA_DIR/splits`),
    with or without a leading slash. Rows that name an image again are dropped with a warning.

    Args:
        path: the CSV.
        modality: take only this one. As such CSVs name the T1 file, a path `…/t1/x_t1.nii.gz` stands for
            `…/t2/x_t2.nii.gz` where that exists and `t2` is wanted.

    Returns:
        Dicts with `image`, `modality`, `case` (`img_name`, else the file name, without extension and modality;
        with its modality for the T1 and the T2 of one session),
        `folder`, `stem` and, where the CSV names one, `brain_mask`.

    Raises:
        InputError: if the CSV cannot be read, names a file that does not exist or no scan of the modality, a name tells
            no modality, or an `img_name` is no name for a folder.
    """
    rows = read_split(path, required={"img_path": "the path of the scan"})
    images = [_image(row["img_path"], modality, source=path) for row in rows]
    chosen = select_modality(images, modality, source=path)
    named = [row.get("img_name") or image.name for row, image in zip(rows, images, strict=True)]
    names = [_case_name(name, source=path) for name in named]
    scans_of = Counter(name for name, image in set(zip(names, images, strict=True)) if image in chosen)
    items = []
    for row, image, name in zip(rows, images, names, strict=True):
        if image not in chosen:
            continue
        case = name if scans_of[name] == 1 else scan_stem(image)
        item = {"image": str(image), "modality": str(chosen[image]), "case": case, "folder": case, "stem": case}
        if row.get("mask_path"):
            item["brain_mask"] = str(_existing(row["mask_path"], "brain mask", source=path))
        items.append(item)
    return drop_duplicates(items, source=path)


def _case_name(entry: str, *, source: Path) -> str:
    """Return the name that a scan's results get: the last part of the entry, so that it leads to no other folder."""
    name = _LAYOUT.stem(entry)
    if name.strip(". ") and not any(unicodedata.category(letter) == "Cc" for letter in name):
        return name
    what = f"`img_name` must be a name for the scan's results, got {entry!r}"
    raise InputError(what, path=source, fix="Give a name with letters or digits, such as sub-01, or leave it empty")


def _image(entry: str, modality: Modality | None, *, source: Path) -> Path:
    derived = None
    if modality is Modality.T2 and "/t1/" in entry.replace("\\", "/"):
        derived = _locate(_LAYOUT.image_path(entry, modality), source=source)
    return derived or _existing(entry, "scan", source=source)


def _existing(entry: str, what: str, *, source: Path) -> Path:
    path = _locate(entry, source=source)
    if path is None:
        roots = " or ".join(str(root) for root in source.absolute().parents[:2])
        fix = f"Paths must be absolute, or start at {roots}"
        raise InputError(f"it names a {what} that does not exist: {entry}", path=source, fix=fix)
    return check_file(path, what)


def _locate(entry: str, *, source: Path) -> Path | None:
    text = entry.replace("\\", "/")
    given = Path(text).expanduser()
    candidates = [given] if given.is_absolute() else []
    candidates += [root / text.lstrip("/") for root in source.absolute().parents[:2]]
    return next((path for path in candidates if path.exists()), None)


def csv_labels(path: Path, *, modality: Modality | None = None) -> dict[str, str]:
    """Return the lesion label (`seg_path`) of every scan (`img_path`) that a CSV names one for, as absolute paths.

    Args:
        path: the CSV, as for `csv_items`.
        modality: as for `csv_items`, so that the scans are the same.

    Raises:
        InputError: if the CSV cannot be read or names a file that does not exist.
    """
    rows = read_split(path, required={"img_path": "the path of the scan"})
    labelled = [row for row in rows if row.get("seg_path")]
    scans = [str(_image(row["img_path"], modality, source=path)) for row in labelled]
    labels = [str(_existing(row["seg_path"], "lesion label", source=path)) for row in labelled]
    return dict(zip(scans, labels, strict=True))
