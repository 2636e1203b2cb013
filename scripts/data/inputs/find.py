"""Scans that a user names, as a MONAI datalist: files, folders, BIDS data sets and CSV tables."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.data.inputs.bids_filter import BidsFilter
from scripts.data.inputs.dicom import dicom_items
from scripts.data.inputs.files import (
    case_names,
    check_file,
    holds_dicom_alone,
    list_names,
    one_of_each,
    scan_stem,
    search_folder,
    telling_folders,
)
from scripts.data.inputs.modality import BIDS_SUFFIXES, choose_modality, select_modality
from scripts.data.records import DatasetRecord, Role
from scripts.data.splits import drop_duplicates, read_split
from scripts.errors import InputError, check_choice
from scripts.options.choices import Modality
from scripts.scans.dicom import is_dicom

__all__ = ["Item", "Paths", "as_paths", "bids_items", "csv_items", "csv_labels", "find_scans", "is_bids"]

logger = logging.getLogger(__name__)
_NAME = re.compile(rf"(?P<stem>sub-[^_]+(_[A-Za-z]+-[^_]+)*)_(?P<suffix>{'|'.join(BIDS_SUFFIXES)})\.nii(\.gz)?")
_NO_SCAN = ("ce-", "desc-reconstruction")  # after a contrast agent; a result of an earlier run
_ANAT = ("anat", "ses-*/anat")


@dataclass(frozen=True, kw_only=True)
class _Scan:
    path: Path
    stem: str
    suffix: str

    @property
    def entities(self) -> frozenset[str]:
        return frozenset(self.stem.split("_"))

    @property
    def modality(self) -> Modality:
        return BIDS_SUFFIXES[self.suffix]


def is_bids(folder: Path) -> bool:
    """Return whether a folder is a BIDS data set, or the folder of one subject in one.

    It is where it has a `dataset_description.json`, or scans with BIDS names in BIDS folders.
    """
    return _has_description(folder) or bool(_find(folder)[0])


def bids_items(
    folder: Path, *, modality: Modality | None = None, wanted: BidsFilter | None = None, other_sessions: bool = True
) -> list[dict[str, str]]:
    """Return the T1- and T2-weighted scans of a BIDS data set as a datalist.

    Scans are `sub-*/[ses-*/]anat/*` with the suffix T1w, T2w, inplaneT1 or inplaneT2. Left out with a log line are
    those after a contrast agent (entity `ce`), reconstructions of an earlier run, and links to files that are not here.

    Args:
        folder: the data set, or one `sub-*` folder of it.
        modality: take only this one.
        wanted: which scans; by default all.
        other_sessions: whether a T2 whose session has no T1w takes that of another one.

    Returns:
        Dicts with `image`, `modality`, `case` (the file name without extension), `folder` (`sub-01/ses-1/anat`),
        `stem` (all entities), `bids_suffix`, and for T2 `t1`: the T1w of the same folder that shares most entities, or
        with a warning one of another session.

    Raises:
        InputError: if there is no such scan.
    """
    folder = folder.absolute()
    scans, left_out = _find(folder)
    single = set(one_of_each([scan.path for scan in scans]))
    scans = [scan for scan in scans if scan.path in single]
    kept = [scan for scan in scans if modality in (None, scan.modality) and _is_wanted(scan, wanted)]
    left_out += [scan.path for scan in scans if scan not in kept]
    if left_out:
        names = list_names(left_out)
        logger.info("%s: left out %d file(s) that are not wanted, or not here: %s", folder, len(left_out), names)
    if not kept:
        suffixes = [suffix for suffix, known in BIDS_SUFFIXES.items() if modality in (None, known)]
        what = f"the BIDS folder holds no sub-*/[ses-*/]anat/*_{{{','.join(suffixes)}}}.nii[.gz] without contrast agent"
        what += " that the filter lets pass" if wanted else ""
        raise InputError(what, path=folder, fix="Check the folder, --modality, or the labels and filters given")
    root = folder if not folder.name.startswith("sub-") or _has_description(folder) else folder.parent
    partners = [scan for scan in scans if scan.suffix == "T1w" and _is_wanted(scan, wanted, any_session=True)]
    return [_item(scan, root, partners if other_sessions else _of_session(scan, partners)) for scan in kept]


def _is_wanted(scan: _Scan, wanted: BidsFilter | None, *, any_session: bool = False) -> bool:
    return wanted is None or wanted.keeps(scan.stem, scan.suffix, scan.modality, any_session=any_session)


def _has_description(folder: Path) -> bool:
    return (folder / "dataset_description.json").is_file()


def _anat_folders(folder: Path) -> list[Path]:
    folder = folder.absolute()
    prefix = "" if folder.name.startswith("sub-") and not _has_description(folder) else "sub-*/"
    return [path for pattern in _ANAT for path in folder.glob(prefix + pattern) if path.is_dir()]


def _find(folder: Path) -> tuple[list[_Scan], list[Path]]:
    scans, left_out = [], []
    for path in sorted(path for anat in _anat_folders(folder) for path in anat.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        scan = _Scan(path=path, stem=match["stem"], suffix=match["suffix"])
        if path.is_file() and not any(entity.startswith(_NO_SCAN) for entity in scan.entities):
            scans.append(scan)
        else:
            left_out.append(path)
    return scans, left_out


def _item(scan: _Scan, root: Path, t1_scans: Sequence[_Scan]) -> dict[str, str]:
    item = {
        "image": str(scan.path),
        "case": f"{scan.stem}_{scan.suffix}",
        "modality": str(scan.modality),
        "folder": scan.path.parent.relative_to(root).as_posix(),
        "stem": scan.stem,
        "bids_suffix": scan.suffix,
    }
    partner = _partner(scan, t1_scans) if scan.modality is Modality.T2 else None
    return item if partner is None else {**item, "t1": str(partner.path)}


def _partner(scan: _Scan, t1_scans: Sequence[_Scan]) -> _Scan | None:
    """Return the T1w that a T2 takes its brain mask and alignment from: of its session, else of another one."""
    subject = scan.stem.split("_")[0]
    own = _of_session(scan, t1_scans)
    others = [other for other in t1_scans if other.stem.split("_")[0] == subject]
    if not own and others:
        name = _most_alike(scan, others).path.name
        logger.warning("%s: its session has no T1w; that of another session is used: %s", scan.path.name, name)
    return _most_alike(scan, own or others) if own or others else None


def _of_session(scan: _Scan, others: Sequence[_Scan]) -> list[_Scan]:
    return [other for other in others if other.path.parent == scan.path.parent]


def _most_alike(scan: _Scan, others: Sequence[_Scan]) -> _Scan:
    """Return the scan with fewest entities that only one of the two has; the first by name of those as close."""
    return min(others, key=lambda other: len(other.entities ^ scan.entities))


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
        InputError: if the CSV cannot be read, names a file that does not exist or no scan of the modality, a name says
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


Item = dict[str, str]
Paths = str | Path | Sequence[str | Path]


def find_scans(
    scans: Paths | None,
    *,
    brain_mask: Paths | None = None,
    t1: Paths | None = None,
    modality: str | None = None,
    series: str | int | None = None,
    bids_filter: BidsFilter | None = None,
    other_sessions: bool = True,
    dataset: str = "input",
) -> list[Item]:
    """Return a datalist for scans named by a user.

    Args:
        scans: a NIfTI or MGH file, a folder (searched with its sub-folders; masks and results are left out), a BIDS
            data set or one subject of it, a folder of DICOM or one file of a series, a CSV with the column `img_path`
            (and `mask_path`, `img_name`), or a list of these, which may be written as text in brackets.
        brain_mask: a mask for each scan, in the same order.
        t1: the same subject's T1-weighted scan for each T2-weighted one, in the same order; BIDS scans know theirs.
        modality: `t1` or `t2`, for scans whose name does not say; of folders, CSVs and BIDS it selects the scans.
        series: which DICOM series: its number, its UID or a part of its description.
        bids_filter: which scans of a BIDS data set.
        other_sessions: whether a T2 of a BIDS data set whose session has no T1w takes that of another one.
        dataset: name under which the reports list the scans.

    Returns:
        Dicts of text: `image`, `case` (unique), `modality`, `dataset`, `folder` (for the results, relative),
        `stem` (what the results' names begin with), and where known `brain_mask`, `t1` and `bids_suffix`.

    Raises:
        InputError: if nothing is named, a file is missing or no image by name, a modality is unknown, a scan is named
            twice, or the number of masks or T1-weighted scans does not fit.
    """
    wanted = None if modality is None else check_choice(Modality, modality, "modality")
    entries = as_paths(scans)
    if not entries:
        raise InputError("no scan is named", fix="Give --input a NIfTI file, a folder, a list, a CSV or a BIDS folder.")
    found = (_expand(entry, wanted, series, bids_filter, other_sessions=other_sessions) for entry in entries)
    items = [{**item, "dataset": dataset} for part in found for item in part]
    _check_named_once([item["image"] for item in items])
    items = _with_own_folders(items)
    for item, mask in _pair_up(items, as_paths(brain_mask), "brain_mask", "brain mask"):
        item["brain_mask"] = mask
    t2 = [item for item in items if item["modality"] == Modality.T2]
    for item, partner in _pair_up(t2, as_paths(t1), "t1", "T1-weighted scan"):
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
        reported = telling_folders([Path(other["image"]) for other in group])[group.index(item)]
        result.append(_renamed(item, reported, taken))
    return result


def _renamed(item: Item, reported: str, taken: set[str]) -> Item:
    """Put `reported` before the names of a scan, and a number behind it where that name is taken as well."""
    prefix, number = reported, 1
    while f"{prefix}_{item['case']}".casefold() in taken:
        number += 1
        prefix = f"{reported}_{number}"
    case = f"{prefix}_{item['case']}"
    taken.add(case.casefold())
    logger.info("%s: its results are called %s, as another scan has the same name.", item["image"], case)
    if "bids_suffix" in item:
        return {**item, "case": case, "folder": f"{prefix}/{item['folder']}"}
    return {**item, "case": case, "folder": case, "stem": case}


def as_paths(entries: Paths | None) -> list[Path]:
    """Return what a user names as paths: one, a list, or a list that is written as text in brackets."""
    if not entries:
        return []
    if isinstance(entries, str) and entries.startswith("[") and entries.endswith("]") and not Path(entries).exists():
        entries = [word for word in (part.strip(" '\"") for part in entries[1:-1].split(",")) if word]
    names = [entries] if isinstance(entries, str | Path) else list(entries)
    return [Path(name).expanduser() for name in names]


def _expand(
    entry: Path, modality: Modality | None, series: str | int | None, wanted: BidsFilter | None, *, other_sessions: bool
) -> list[Item]:
    if entry.is_dir() and is_bids(entry):
        return bids_items(entry, modality=modality, wanted=wanted, other_sessions=other_sessions)
    if wanted is not None:
        raise InputError("session labels and BIDS filters go with BIDS data sets", path=entry, fix="Leave them out")
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
