"""Scans that a person names on the command line, as a MONAI datalist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.errors import InputError

__all__ = ["find_scans"]

_SUFFIXES = (".nii.gz", ".nii")


def _stem(path: Path) -> str:
    return next((path.name[: -len(s)] for s in _SUFFIXES if path.name.lower().endswith(s)), path.stem)


def _expand(entry: Path) -> list[Path]:
    if entry.is_dir():
        found = sorted(p for p in entry.iterdir() if p.is_file() and p.name.lower().endswith(_SUFFIXES))
        if not found:
            raise InputError("the folder holds no NIfTI file", path=entry, fix=f"Expected names ending in {_SUFFIXES}.")
        return found
    if not entry.is_file():
        raise InputError("the scan does not exist", path=entry, fix="Give --input a NIfTI file, a folder or a list.")
    if not entry.name.lower().endswith(_SUFFIXES):
        raise InputError(f"the name must end in {' or '.join(_SUFFIXES)}", path=entry, fix="Convert it to NIfTI.")
    return [entry]


def find_scans(
    scans: str | Sequence[str] | None, *, brain_mask: str | Sequence[str] | None = None, dataset: str = "input"
) -> list[dict[str, str]]:
    """Return a datalist for scans named by a user.

    Args:
        scans: a NIfTI file, a folder of them, or a list of files and folders.
        brain_mask: a mask for each scan, in the same order; without it the voxels that are not zero are the brain.
        dataset: name under which the reports list the scans.

    Returns:
        Dicts with `image`, `case` (the file name without suffix), `dataset`, and `brain_mask` where given.

    Raises:
        InputError: if nothing is named, a file is missing or no NIfTI, two scans share a name, or the number of masks
            differs from that of scans.
    """
    if not scans:
        raise InputError("no scan is named", fix="Give --input a NIfTI file, a folder or a list.")
    entries = [scans] if isinstance(scans, (str, Path)) else list(scans)
    paths = [path for entry in entries for path in _expand(Path(entry).expanduser())]
    masks = [] if not brain_mask else [brain_mask] if isinstance(brain_mask, (str, Path)) else list(brain_mask)
    if masks and len(masks) != len(paths):
        raise InputError(f"`brain_mask` must name one mask for each of {len(paths)} scans, got {len(masks)}")
    names = [_stem(path) for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"scans must differ in name, got twice: {', '.join(twice)}", fix="Run them into two folders.")
    items = [{"image": str(p), "case": name, "dataset": dataset} for p, name in zip(paths, names, strict=True)]
    for item, mask in zip(items, masks, strict=bool(masks)):
        item["brain_mask"] = str(_expand(Path(mask))[0])
    return items
