"""MONAI's reader for images on disk, with a message for every file that it cannot read or header it cannot trust."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import PathLike
from monai.data import NibabelReader
from monai.utils import ensure_tuple
from nibabel.spatialimages import HeaderDataError, SpatialImage
from scripts.errors import InputError
from scripts.scans.file import read_scan_file

__all__ = ["HeaderAffine", "ScanReader", "header_affine", "unit_mm"]

Affine = np.ndarray
MIN_VOLUME_FACTOR = 0.1  # |det| of the three unit axes: 1 at right angles, 0 where they lie in one plane
MAX_TURN_DEG = 45.0  # between sform and qform; a turned head or an oblique slab stays below
MAX_ZOOM_FACTOR = 1.05
MIN_SHEAR_DEG = 1.0
MAX_EDGE_MM = 100.0
_UNITS = {1: (1000.0, "metre"), 3: (0.001, "micrometre")}  # of NIfTI; anything else counts as mm


@dataclass(frozen=True, kw_only=True)
class HeaderAffine:
    """A voxel-to-world matrix, and what was found on the way to it.

    Attributes:
        affine: [4, 4] float64, voxel index to RAS mm.
        problems: reasons to doubt which side is left, or which way is up; results may be mirrored.
        notes: what is unusual or was repaired, and does no harm.
    """

    affine: Affine
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def header_affine(image: SpatialImage, *, oriented: bool = True) -> HeaderAffine:
    """Return the voxel-to-world matrix that a header gives, or the best that can be made of it.

    A NIfTI sform (code above 0) comes first, then the qform (code above 0), then what nibabel makes of the voxel sizes
    alone: axes to the left, front and top around the middle of the image. A matrix counts if it is finite and its axes
    span space; a sheared sform is used as it is. Metres and micrometres (`xyzt_units`) become mm.

    Args:
        image: the image as nibabel reads its header.
        oriented: whether a header that is not NIfTI gives the orientation at all.

    Raises:
        InputError: if not even the voxel sizes are positive numbers, or they are more than 100 mm.
    """
    found = _as_stated(image, oriented=oriented)
    factor, unit = _UNITS.get(_unit_code(image.header), (1.0, ""))
    affine = np.diag([factor, factor, factor, 1.0]) @ found.affine
    longest = float(np.linalg.norm(affine[:3, :3], axis=0).max())
    if longest > MAX_EDGE_MM:
        note = f" (its unit is the {unit})" if unit else ""
        fix = "Correct the header's voxel sizes or its unit (`xyzt_units`)"
        raise InputError(f"the header says that voxels are {longest:,.6g} mm long{note}, as in no head scan", fix=fix)
    notes = [*found.notes, *([f"the header's unit is the {unit}, not the millimetre"] if unit else [])]
    return HeaderAffine(affine=affine, problems=found.problems, notes=notes)


def unit_mm(code: object) -> float:
    """Return the length in mm of the unit that a header's `xyzt_units` names; 1 where it names none."""
    return _UNITS.get(int(str(code)) & 7, (1.0, ""))[0] if str(code).isdigit() else 1.0


def _unit_code(header: object) -> int:
    return int(header["xyzt_units"]) & 7 if isinstance(header, nib.Nifti1Header) else 0


def _as_stated(image: SpatialImage, *, oriented: bool) -> HeaderAffine:
    """Return the matrix in the header's own unit."""
    header = image.header
    if not isinstance(header, nib.Nifti1Header):  # NIfTI-2 and pairs are sub-classes of it
        own = np.asarray(image.affine, dtype=np.float64)
        return HeaderAffine(affine=own) if oriented and _usable(own) else _guess(own, [])
    notes = []
    sform, qform = _form(header, "sform"), _form(header, "qform")
    for name, form in (("sform", sform), ("qform", qform)):
        if form is None and int(header[f"{name}_code"]) > 0:
            notes.append(f"the {name} of the header is not used, as it is not finite or does not span space")
    affine = sform if sform is not None else qform
    if affine is None:
        return _guess(np.asarray(header.get_base_affine(), dtype=np.float64), notes)
    if sform is not None:
        notes += _shear(sform) + _zooms(header, sform)
    problems = [] if sform is None or qform is None else _disagreement(sform, qform)
    return HeaderAffine(affine=affine, problems=problems, notes=notes)


def _form(header: nib.Nifti1Header, name: str) -> Affine | None:
    """Return a form that is set and usable."""
    if int(header[f"{name}_code"]) <= 0:
        return None
    try:
        form = np.asarray(getattr(header, f"get_{name}")(), dtype=np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        return None
    return form if _usable(form) else None


def _usable(affine: Affine) -> bool:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all():
        return False
    return abs(np.linalg.det(affine[:3, :3] / lengths)) > MIN_VOLUME_FACTOR


def _guess(affine: Affine, notes: list[str]) -> HeaderAffine:
    if not _usable(affine):
        fix = "Convert the scan again from its source (for DICOM, `dcm2niix`)"
        raise InputError("the header gives neither the orientation nor the size of the voxels", fix=fix)
    axes = "".join(nib.aff2axcodes(affine))
    problem = f"the header does not give the orientation; its voxel axes were taken as {axes}, which is a guess"
    return HeaderAffine(affine=affine, problems=[problem], notes=notes)


def _shear(sform: Affine) -> list[str]:
    axes = sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0)
    cosines = (axes.T @ axes)[np.triu_indices(3, 1)]
    degrees = float(np.degrees(np.arcsin(np.clip(np.abs(cosines), 0, 1))).max())
    return [f"the sform shears the scan by {degrees:.1f}°"] if degrees > MIN_SHEAR_DEG else []


def _zooms(header: nib.Nifti1Header, sform: Affine) -> list[str]:
    stated = np.asarray(header.get_zooms()[:3], dtype=np.float64)
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    ratio = np.divide(stated, lengths)
    if np.isfinite(ratio).all() and (ratio > 1 / MAX_ZOOM_FACTOR).all() and (ratio < MAX_ZOOM_FACTOR).all():
        return []
    return [f"the header's voxel sizes {_text(stated)} mm contradict its sform, {_text(lengths)} mm; the sform counts"]


def _text(lengths: np.ndarray) -> str:
    return " × ".join(f"{length:.3g}" for length in lengths)


def _disagreement(sform: Affine, qform: Affine) -> list[str]:
    names = " and ".join("".join(nib.aff2axcodes(form)) for form in (sform, qform))
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        return [f"sform and qform of the header mirror each other ({names}), so that left and right are in doubt"]
    turn = _rotation(sform) @ _rotation(qform).T
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    if degrees <= MAX_TURN_DEG:
        return []
    return [f"sform and qform of the header differ by a turn of {degrees:.0f}° ({names})"]


def _rotation(affine: Affine) -> Affine:
    """Return the nearest matrix with orthonormal axes."""
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    return left @ right


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

    Raises:
        InputError: in `get_data`, if a file is missing, no such image, cut off, damaged, or no single volume of real
            numbers, or its header gives not even voxel sizes.
    """

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
