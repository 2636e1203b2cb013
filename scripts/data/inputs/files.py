"""Which files are scans, what they are called, and which of a folder's files are meant."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import InputError
from scripts.scans.dicom import is_dicom

__all__ = [
    "case_names",
    "check_distinct",
    "check_file",
    "holds_dicom_alone",
    "list_names",
    "one_of_each",
    "readable_name",
    "scan_stem",
    "search_folder",
    "telling_folders",
]

logger = logging.getLogger(__name__)

_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".mgh.gz")
_NO_SCAN = re.compile(
    r"(^|.*[_.\-])((brain|lesion)?masks?|roi|[adm]?seg|probseg|segmentation|labels?|map|reconstruction|uncertainty)"
    r"|.*_desc-reconstruction_[A-Za-z0-9]+",
    re.IGNORECASE,
)
_NO_SCAN_FOLDER = re.compile(r"(.*[_\-])?(masks?|segs?|segmentations?|labels?|derivatives)", re.IGNORECASE)
_NUM_NAMED = 5


def scan_stem(path: Path) -> str:
    """Return a file's name without the suffix of an image format, in upper or lower case (`.nii.gz` is one).

    Names whose bytes are no UTF-8 are read as Latin-1.

    Examples:
        >>> scan_stem(Path("sub-01_T1w.nii.gz"))
        'sub-01_T1w'
    """
    suffix = _suffix(path)
    return readable_name(path.name[: -len(suffix)] if suffix else path.stem)


def readable_name(name: str) -> str:
    """Return a file's name as text that can be written: bytes that are no UTF-8 are read as Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return name


def check_file(path: Path, what: str = "scan") -> Path:
    """Return `path` if it is a file with the name of an image, or DICOM, which may have any name.

    Args:
        path: the file.
        what: what it is, for the messages.

    Raises:
        InputError: if it is missing, or named otherwise.
    """
    if path.is_symlink() and not path.exists():
        fix = "Fetch it first (for a DataLad data set, `datalad get`)"
        raise InputError(f"the {what} is a link to a file that is not here", path=path, fix=fix)
    if not path.is_file():
        raise InputError(f"the {what} does not exist", path=path, fix="Give the path of a NIfTI, MGH or DICOM file")
    if not _suffix(path) and not is_dicom(path):
        others = ", ".join(_SUFFIXES[2:4])
        what = f"the name must end in {' or '.join(_SUFFIXES[:2])} (or {others})"
        raise InputError(what, path=path, fix="Convert it to NIfTI")
    return path


def search_folder(root: Path) -> list[Path]:
    """Return the scans in a folder and its sub-folders, sorted by path.

    Left out are hidden files and folders, and, with one log line each, files that by their name or folder are masks,
    segmentations or results, and links to files that are not here.

    Args:
        root: the folder; links to folders are followed.

    Raises:
        InputError: if there is no scan.
    """
    found = sorted(path for path in _walk(root) if _suffix(path))
    found = one_of_each(found)
    no_scans = [path for path in found if _is_no_scan(path, root)]
    absent = [path for path in found if not path.is_file()]
    if no_scans:
        names = list_names(no_scans, root)
        logger.info("%s: left out %d file(s) that are no scans by name: %s", root, len(no_scans), names)
    if absent:
        names = list_names(absent, root)
        logger.warning("%s: left out %d link(s) to files that are not here: %s", root, len(absent), names)
    scans = [path for path in found if path not in {*no_scans, *absent}]
    if not scans:
        more = f", only {len(found)} that are masks, results or not here" if found else ""
        fix = f"Names must end in {', '.join(_SUFFIXES[:4])}"
        raise InputError(f"the folder holds no NIfTI or MGH scan{more}", path=root, fix=fix)
    return scans


def holds_dicom_alone(root: Path) -> bool:
    """Return whether a folder holds DICOM, and no file with the name of another image format."""
    found = _walk(root)
    return not any(map(_suffix, found)) and any(map(is_dicom, found))


def one_of_each(paths: Sequence[Path]) -> list[Path]:
    """Return the files without those that lie beside one of the same name but for the suffix, with a warning.

    `.nii.gz` comes first, then `.nii`, then the others in the order in which messages list them.

    Args:
        paths: files with the names of images.
    """
    by_stem: dict[Path, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(path.parent / scan_stem(path), []).append(path)
    for group in by_stem.values():
        group.sort(key=lambda path: _SUFFIXES.index(_suffix(path)))
        for other in group[1:]:
            logger.warning("%s: left out, as %s lies beside it.", other, group[0].name)
    kept = {group[0] for group in by_stem.values()}
    return [path for path in paths if path in kept]


def case_names(paths: Sequence[Path], root: Path) -> list[str]:
    """Return a name for each file of a folder: its stem, after the folders that tell files of the same stem apart.

    Args:
        paths: files in `root`.
        root: the folder.

    Returns:
        For `root/a/anat/T1.nii` and `root/b/anat/T1.nii` the names `a_T1` and `b_T1`.
    """
    parts = [(*map(readable_name, path.relative_to(root).parts[:-1]), scan_stem(path)) for path in paths]
    groups: dict[str, list[tuple[str, ...]]] = {}
    for entry in parts:
        groups.setdefault(entry[-1], []).append(entry)
    return ["_".join(_distinct(entry, groups[entry[-1]])) for entry in parts]


def list_names(paths: Sequence[Path], root: Path | None = None) -> str:
    """Return up to five names, relative to `root` where given, and how many more there are.

    Examples:
        >>> list_names([Path(f"{letter}.nii") for letter in "abcdefg"])
        'a.nii, b.nii, c.nii, d.nii, e.nii and 2 more'
    """
    names = [path.name if root is None else path.relative_to(root).as_posix() for path in paths[:_NUM_NAMED]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def check_distinct(names: Sequence[str]) -> None:
    """Check that no name is given twice.

    Raises:
        InputError: naming those that are.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InputError(f"scans must differ in name, got twice: {', '.join(twice)}", fix="Run them into two folders")


def telling_folders(paths: Sequence[Path]) -> list[str]:
    """Return for each of several files of one name what tells them apart, the folders that differ, joined by `_`.

    Args:
        paths: the files.

    Returns:
        For `/x/a/anat/T1.nii` and `/x/b/anat/T1.nii` the texts `a` and `b`; numbers from 1 on where folders do not
        tell them apart.
    """
    folders = [tuple(map(readable_name, path.absolute().parts[1:-1])) for path in paths]
    longest = max(map(len, folders))
    padded = [("",) * (longest - len(parts)) + parts for parts in folders]
    levels = [level for level in range(longest) if len({parts[level] for parts in padded}) > 1]
    found = ["_".join(filter(None, (parts[level] for level in levels))) for parts in padded]
    return found if all(found) and len(set(found)) == len(found) else [str(number + 1) for number in range(len(paths))]


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((s for s in _SUFFIXES if name.endswith(s) and len(name) > len(s)), "")


def _is_no_scan(path: Path, root: Path) -> bool:
    folders = path.relative_to(root).parts[:-1]
    return bool(_NO_SCAN.fullmatch(scan_stem(path))) or any(_NO_SCAN_FOLDER.fullmatch(name) for name in folders)


def _walk(root: Path) -> list[Path]:
    """Return all files that are not hidden; a folder that links lead to twice is searched once."""
    seen: set[str] = set()
    found = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        new = real not in seen
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if new and not name.startswith("."))
        found += [Path(folder, name) for name in names if new and not name.startswith(".")]
    return found


def _distinct(entry: tuple[str, ...], group: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    if len(group) == 1:
        return entry[-1:]
    if len({len(other) for other in group}) > 1:
        return entry
    levels = zip(*(other[:-1] for other in group), strict=True)
    telling = [index for index, names in enumerate(levels) if len(set(names)) > 1]
    return (*(entry[index] for index in telling), entry[-1])
