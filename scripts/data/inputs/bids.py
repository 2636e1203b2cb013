"""Scans of a BIDS data set, each with the T1-weighted scan of its session."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.data.inputs.files import list_names, one_of_each
from scripts.data.inputs.modality import BIDS_SUFFIXES, Modality
from scripts.errors import InputError

__all__ = ["bids_items", "is_bids"]

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


def bids_items(folder: Path, *, modality: Modality | None = None) -> list[dict[str, str]]:
    """Return the T1- and T2-weighted scans of a BIDS data set as a datalist.

    Scans are `sub-*/[ses-*/]anat/*` with the suffix T1w, T2w, inplaneT1 or inplaneT2. Left out with a log line are
    those after a contrast agent (entity `ce`), reconstructions of an earlier run, and links to files that are not here.

    Args:
        folder: the data set, or one `sub-*` folder of it.
        modality: take only this one.

    Returns:
        Dicts with `image`, `modality`, `case` (the file name without extension), `folder` (`sub-01/ses-1/anat`),
        `stem` (all entities), `bids_suffix`, and for T2 `t1`: the T1w of the same folder that shares most entities.

    Raises:
        InputError: if there is no such scan.
    """
    folder = folder.absolute()
    scans, left_out = _find(folder)
    single = set(one_of_each([scan.path for scan in scans]))
    scans = [scan for scan in scans if scan.path in single]
    kept = [scan for scan in scans if modality in (None, scan.modality)]
    left_out += [scan.path for scan in scans if scan not in kept]
    if left_out:
        names = list_names(left_out)
        logger.info("%s: left out %d file(s) that are not wanted, or not here: %s", folder, len(left_out), names)
    if not kept:
        suffixes = [suffix for suffix, known in BIDS_SUFFIXES.items() if modality in (None, known)]
        what = f"the BIDS folder holds no sub-*/[ses-*/]anat/*_{{{','.join(suffixes)}}}.nii[.gz] without contrast agent"
        raise InputError(what, path=folder, fix="Check the folder, or --modality")
    root = folder if not folder.name.startswith("sub-") or _has_description(folder) else folder.parent
    return [_item(scan, root, scans) for scan in kept]


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


def _item(scan: _Scan, root: Path, scans: Sequence[_Scan]) -> dict[str, str]:
    item = {
        "image": str(scan.path),
        "case": f"{scan.stem}_{scan.suffix}",
        "modality": str(scan.modality),
        "folder": scan.path.parent.relative_to(root).as_posix(),
        "stem": scan.stem,
        "bids_suffix": scan.suffix,
    }
    partners = [other for other in scans if other.suffix == "T1w" and other.path.parent == scan.path.parent]
    if scan.modality is Modality.T2 and partners:
        # fewest entities that only one of the two has; the first by name where several are as close
        best = min(partners, key=lambda other: len(other.entities ^ scan.entities))
        item["t1"] = str(best.path)
    return item
