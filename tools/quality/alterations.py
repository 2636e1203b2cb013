"""Copies of a scan that show the same head: other intensities, other voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from numpy.typing import NDArray

from scripts.brain_extraction.extract import examine
from scripts.scans.volume import background_value

__all__ = ["INTENSITIES", "Copy", "finer", "intensity_copies", "thicker"]

_NOISE = 0.03  # deviation of the white noise of finer voxels, of the scan's 99th percentile
_SLICE_MM, _SLICES = 6.0, 25
_UP = 2  # axis of a scan in RAS along which slices are thick

INTENSITIES: dict[str, Callable[[NDArray], NDArray]] = {
    "x 1e-6": lambda x: x * 1e-6,
    "x 1e6": lambda x: x * 1e6,
    "z-score": lambda x: (x - x.mean()) / x.std(),
    "[-1, 1]": lambda x: 2 * (x - x.min()) / np.ptp(x) - 1,
    "-1024": lambda x: x - 1024,
}


@dataclass(frozen=True)
class Copy:
    """An altered scan: `name` says what was done, `image` holds it as float32."""

    name: str
    image: nib.Nifti1Image


def intensity_copies(image: nib.Nifti1Image) -> Iterator[Copy]:
    """Yield the scan with other scales and offsets; one that is stripped also z-scored inside, and with NaN around it.

    Args:
        image: the scan.
    """
    voxels = np.asarray(image.get_fdata())
    for name, change in INTENSITIES.items():
        yield _copy(name, change(voxels), image.affine)
    seen = examine(voxels, image.affine)
    if seen.background == 0 and seen.may_be_stripped:
        inside = voxels[seen.foreground]
        standardised = (voxels - inside.mean()) / inside.std()
        yield _copy("z-score inside", np.where(seen.foreground, standardised, 0), image.affine)
        yield _copy("NaN outside", np.where(seen.foreground, voxels, np.nan), image.affine)


def finer(image: nib.Nifti1Image, *, edge_mm: float = 0.5, seed: int = 0) -> Copy:
    """Return a scan in smaller voxels, interpolated linearly, with white noise of 3 % of its 99th percentile.

    A constant background of 0 stays 0.

    Args:
        image: the scan.
        edge_mm: edge of its new voxels, mm.
        seed: of the noise.
    """
    voxels = np.asarray(image.get_fdata(), dtype=np.float32)
    edges = np.linalg.norm(image.affine[:3, :3], axis=0)
    shape = np.floor(np.asarray(voxels.shape) * edges / edge_mm).astype(int)
    to_old = np.diag([*(edge_mm / edges), 1.0])
    to_old[:3, 3] = (edge_mm / edges - 1) / 2  # the outer faces of the first voxels meet
    affine = image.affine @ to_old
    fine = resample_from_to(nib.Nifti1Image(voxels, image.affine), (tuple(shape), affine), order=1, mode="nearest")
    values = np.asarray(fine.dataobj, dtype=np.float32)
    noise = np.random.default_rng(seed).standard_normal(values.shape, dtype=np.float32)
    noisy = values + noise * np.float32(_NOISE * np.percentile(voxels, 99))
    if background_value(voxels) == 0:
        noisy = np.where(values > 0, np.maximum(noisy, 1), 0)
    return _copy(f"{edge_mm:g} mm with white noise", noisy, affine)


def thicker(image: nib.Nifti1Image, *, slice_mm: float = _SLICE_MM, slices: int = _SLICES) -> Copy:
    """Return a scan in axial slices that are means over their thickness, around the middle of what is not background.

    Args:
        image: the scan.
        slice_mm: thickness, mm, rounded to whole voxels.
        slices: how many are kept at most.
    """
    upright = nib.as_closest_canonical(image)
    voxels = np.asarray(upright.get_fdata(), dtype=np.float32)
    edge = float(np.linalg.norm(upright.affine[:3, _UP]))
    factor = max(1, round(slice_mm / edge))
    held = np.flatnonzero((voxels > np.percentile(voxels, 50)).any(axis=(0, 1)))
    count = min(slices, voxels.shape[_UP] // factor)
    start = int(np.clip(held[-1] + 1 - count * factor, 0, voxels.shape[_UP] - count * factor))  # the top is brain
    means = voxels[..., start : start + count * factor].reshape(*voxels.shape[:2], count, factor).mean(axis=-1)
    to_old = np.diag([1.0, 1.0, factor, 1.0])
    to_old[_UP, 3] = start + (factor - 1) / 2
    return _copy(f"{count} slices of {factor * edge:g} mm", means, upright.affine @ to_old)


def _copy(name: str, voxels: NDArray, affine: NDArray) -> Copy:
    return Copy(name, nib.Nifti1Image(np.asarray(voxels, dtype=np.float32), affine))
