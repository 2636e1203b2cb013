"""Scans that a person names on the command line, as a MONAI datalist."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from scripts.data.inputs.bids import bids_items, is_bids
from scripts.data.inputs.dicom import dicom_items
from scripts.data.inputs.files import (
    case_names,
    check_file,
    holds_dicom_alone,
    scan_stem,
    search_folder,
    telling_folders,
)
from scripts.data.inputs.modality import Modality, choose_modality, select_modality
from scripts.data.inputs.table import csv_items
from scripts.errors import InputError
from scripts.scans.dicom import is_dicom

__all__ = ["find_scans"]

logger = logging.getLogger(__name__)
Item = dict[str, str]
Paths = str | Path | Sequence[str | Path]


def find_scans(
    scans: Paths | None,
    *,
    brain_mask: Paths | None = None,
    t1: Paths | None = None,
    modality: str | None = None,
    series: str | int | None = None,
    dataset: str = "input",
) -> list[Item]:
    """Return a datalist for scans named by a user.

    Args:
        scans: a NIfTI or MGH file, a folder (searched with its sub-folders; masks and results are left out), a BIDS
            data set or one subject of it, a folder of DICOM or one file of a series, a CSV with the column `img_path`
            (and `mask_path`, `img_name`), or a list of these, which may be written as text in brackets.
        brain_mask: a mask for each scan, in the same order.
        t1: the T1-weighted scan of the same person for each T2-weighted one, in the same order; BIDS scans know theirs.
        modality: `t1` or `t2`, for scans whose name does not tell; of folders, CSVs and BIDS it selects the scans.
        series: which DICOM series: its number, its UID or a part of its description.
        dataset: name under which the reports list the scans.

    Returns:
        Dicts of text: `image`, `case` (unique), `modality`, `dataset`, `folder` (for the results, relative),
        `stem` (what the results' names begin with), and where known `brain_mask`, `t1` and `bids_suffix`.

    Raises:
        InputError: if nothing is named, a file is missing or no image by name, a modality is unknown, a scan is named
            twice, or the number of masks or T1-weighted scans does not fit.
    """
    wanted = None if modality is None else Modality.of(modality)
    entries = _as_paths(scans)
    if not entries:
        raise InputError("no scan is named", fix="Give --input a NIfTI file, a folder, a list, a CSV or a BIDS folder.")
    items = [{**item, "dataset": dataset} for entry in entries for item in _expand(entry, wanted, series)]
    _check_named_once([item["image"] for item in items])
    items = _with_own_folders(items)
    for item, mask in _pair_up(items, _as_paths(brain_mask), "brain_mask", "brain mask"):
        item["brain_mask"] = mask
    t2 = [item for item in items if item["modality"] == Modality.T2]
    for item, partner in _pair_up(t2, _as_paths(t1), "t1", "T1-weighted scan"):
        item["t1"] = partner
    return items


def _check_named_once(images: Sequence[str]) -> None:
    seen: set[Path] = set()
    for image in images:
        path = Path(os.path.abspath(image))
        if path in seen:
            raise InputError("the scan is named twice", path=image, fix="Name each scan once")
        seen.add(path)


def _with_own_folders(items: Sequence[Item]) -> list[Item]:
    """Give scans of one name, such as `a/T1.nii` and `b/T1.nii`, names and result folders of their own."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item["case"].casefold(), []).append(item)
    taken = set(groups)
    result = []
    for item in items:
        group = groups[item["case"].casefold()]
        if len(group) == 1:
            result.append(item)
            continue
        told = telling_folders([Path(other["image"]) for other in group])[group.index(item)]
        result.append(_renamed(item, told, taken))
    return result


def _renamed(item: Item, told: str, taken: set[str]) -> Item:
    """Put `told` before the names of a scan, and a number behind it where that name is taken as well."""
    prefix, number = told, 1
    while f"{prefix}_{item['case']}".casefold() in taken:
        number += 1
        prefix = f"{told}_{number}"
    case = f"{prefix}_{item['case']}"
    taken.add(case.casefold())
    logger.info("%s: its results are called %s, as another scan has the same name.", item["image"], case)
    if "bids_suffix" in item:
        return {**item, "case": case, "folder": f"{prefix}/{item['folder']}"}
    return {**item, "case": case, "folder": case, "stem": case}


def _as_paths(entries: Paths | None) -> list[Path]:
    if not entries:
        return []
    if isinstance(entries, str) and entries.startswith("[") and entries.endswith("]") and not Path(entries).exists():
        entries = [word for word in (part.strip(" '\"") for part in entries[1:-1].split(",")) if word]
    names = [entries] if isinstance(entries, str | Path) else list(entries)
    return [Path(name).expanduser() for name in names]


def _expand(entry: Path, modality: Modality | None, series: str | int | None) -> list[Item]:
    if entry.is_dir() and is_bids(entry):
        return bids_items(entry, modality=modality)
    if holds_dicom_alone(entry) if entry.is_dir() else is_dicom(entry):
        return dicom_items(entry, modality=modality, series=series)
    if entry.is_dir():
        return _folder_items(entry, modality)
    if entry.suffix.lower() == ".csv":
        return csv_items(entry, modality=modality)
    stem = scan_stem(check_file(entry))
    return [_plain_item(entry, stem, choose_modality(entry, modality))]


def _folder_items(folder: Path, modality: Modality | None) -> list[Item]:
    chosen = select_modality(search_folder(folder), modality, source=folder)
    names = case_names(list(chosen), folder)
    return [_plain_item(path, name, chosen[path]) for path, name in zip(chosen, names, strict=True)]


def _plain_item(path: Path, case: str, modality: Modality) -> Item:
    return {"image": str(path), "case": case, "modality": str(modality), "folder": case, "stem": case}


def _pair_up(items: list[Item], paths: list[Path], argument: str, what: str) -> list[tuple[Item, str]]:
    if not paths:
        return []
    if len(paths) != len(items):
        scans = "scans" if argument == "brain_mask" else "T2-weighted scans"
        raise InputError(f"`{argument}` must name one {what} for each of {len(items)} {scans}, got {len(paths)}")
    return [(item, str(check_file(path, what))) for item, path in zip(items, paths, strict=True)]
