"""MONAI's reader for images on disk, with a message for every file and header that it cannot trust."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import PathLike
from monai.data import NibabelReader
from monai.utils import ensure_tuple

from scripts.errors import InputError
from scripts.scans.affine import header_affine
from scripts.scans.file import read_scan_file

__all__ = ["ScanReader"]

logger = logging.getLogger(__name__)

_FACTS = ("header_problems", "header_notes")


class ScanReader(NibabelReader):
    """Read NIfTI and MGH images by what they hold, for `LoadImaged(reader=ScanReader, …)`.

    Whatever the files' format, the metadata are those of a NIfTI header, with the matrix that `header_affine` found as
    `affine` and `original_affine`: results get that matrix, which is nibabel's own where the header is sound. Two more
    entries are text, parts joined by "; " and empty where there is nothing to say: `header_problems`, reasons to doubt
    left and right or up and down, and `header_notes`, repairs that do no harm. Both are logged as warnings.

    Files are opened by `get_data`, not by `read`: `LoadImage` answers an error of `read` by trying MONAI's other
    readers, and their messages would bury ours.

    Args:
        channel_dim: as for `NibabelReader`.
        as_closest_canonical: as for `NibabelReader`.

    Raises:
        InputError: in `get_data`, if a file is missing, no such image, cut off, damaged, or no single volume of real
            numbers, or its header tells not even voxel sizes.
    """

    def __init__(self, channel_dim: str | int | None = None, *, as_closest_canonical: bool = False) -> None:
        super().__init__(channel_dim=channel_dim, as_closest_canonical=as_closest_canonical)

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Return True: what a file holds decides, not its name."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Sequence[PathLike]:
        """Return the names of the files, for `get_data`."""
        self.filenames = ensure_tuple(data)
        return self.filenames

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Return the voxels [H, W, D] of the files that `read` was given, and the metadata."""
        return super().get_data([_open(Path(name)) for name in ensure_tuple(img)])

    def _get_meta_dict(self, img: nib.Nifti1Image) -> dict:
        return {**super()._get_meta_dict(img), **{fact: img.extra[fact] for fact in _FACTS}}


def _open(path: Path) -> nib.Nifti1Image:
    """Return a file's content as a NIfTI image in memory, with the matrix to use."""
    scan = read_scan_file(path)
    try:
        found = header_affine(scan.image, oriented=scan.oriented)
    except InputError as error:
        raise InputError(error.what, path=path, fix=error.fix) from error
    facts = {"header_problems": "; ".join(found.problems), "header_notes": "; ".join(found.notes)}
    for fact in filter(None, facts.values()):
        logger.warning("%s: %s.", path, fact)
    own = scan.image.header
    is_nifti1 = isinstance(own, nib.Nifti1Header) and not isinstance(own, nib.Nifti2Header)
    header = nib.Nifti1Header.from_header(own if is_nifti1 else None, check=False)
    header.set_data_shape(scan.voxels.shape)
    header.set_sform(found.affine, code="scanner")
    header.set_qform(found.affine, code="scanner")
    return nib.Nifti1Image(scan.voxels, found.affine, header, extra=facts, dtype=scan.voxels.dtype)
