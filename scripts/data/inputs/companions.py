"""Find what lies beside a scan: its lesion label and its brain mask."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from scripts.data.inputs.files import scan_stem

__all__ = ["label_beside", "mask_beside", "session_of", "without_modality"]

_WORD = "(?:[iI]n[pP]lane)?[tT][12][wWnN]?$"
_MODALITY_WORD = re.compile(rf"[_\-. ]{_WORD}|(?<=[a-z0-9])(?:inplane)?T[12][wWnN]?$|^{_WORD}")  # not of patient1
_DESCRIPTION = re.compile(r"_desc-[^_]+")
_LABEL_ENDS = ("_label-lesion_mask", "_desc-lesion_mask", "_label-lesion_roi", "_lesion_mask", "_seg")
_MASK_ENDS = ("_desc-brain_mask", "_brain_mask", "_mask")
_SUFFIXES = (".nii.gz", ".nii", ".mgz")


def label_beside(image: Path) -> Path | None:
    """Return the lesion label that lies beside a scan, or None.

    That is `x_seg`, `x_lesion_mask`, `x_label-lesion_mask` or the like for `x_T1w`, in the same folder or, for a scan
    in a folder `t1` or `t2`, in the folder `seg` next to it.

    Args:
        image: the scan.
    """
    return _beside(image, "seg", _LABEL_ENDS)


def mask_beside(image: Path) -> Path | None:
    """Return the brain mask that lies beside a scan, or None.

    That is `x_mask`, `x_brain_mask` or `x_desc-brain_mask` for `x_T1w` or `x_desc-preproc_T1w`, in the same folder or,
    for a scan in a folder `t1` or `t2`, in the folder `mask` next to it.

    Args:
        image: the scan.
    """
    return _beside(image, "mask", _MASK_ENDS)


def without_modality(stem: str) -> str:
    """Return a scan's name without the word at its end that tells T1 or T2; the name itself where that is all."""
    return _MODALITY_WORD.sub("", stem) or stem


def session_of(image: Path) -> tuple[Path, str]:
    """Return what the scans of one session have in common: their folder, and their name but for T1 and T2."""
    return image.parent, _MODALITY_WORD.sub("", scan_stem(image))


def _beside(image: Path, folder: str, ends: tuple[str, ...]) -> Path | None:
    stem = scan_stem(image)
    plain = without_modality(stem)
    stems = dict.fromkeys((stem, plain, _DESCRIPTION.sub("", plain)))
    folders = [image.parent]
    if image.parent.name.lower() in ("t1", "t2"):
        folders.append(image.parent.parent / folder)
    names = ["".join(parts) for parts in product(stems, ends, _SUFFIXES)]
    return next((path for path in (f / name for f, name in product(folders, names)) if path.is_file()), None)
