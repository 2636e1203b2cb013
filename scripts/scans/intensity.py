"""Bring the intensities of a scan to one offset and one scale, whatever those of its file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["background_value", "fill_background", "normalized", "scale_exponent"]

_TOP = 1024.0  # the brightest tissue comes to lie between half of this and this
_DARKEST, _BRIGHTEST = 0.1, 99.9  # percentiles
_FEW = 0.05  # of the tissue's voxels: splines leave traces as wide as a brain
_TRACES = 0.01  # of the 99th percentile: what interpolation leaves around a stripped brain


def background_value(volume: NDArray) -> float | None:
    """Return the value of a scan's constant background, or None where there is none, as in noise.

    It is the value that most voxels on the image's faces have, if most of them have it. A brain that fills the field of
    view from front to back leaves the other faces.

    Args:
        volume: [H, W, D].
    """
    faces = _faces(volume)
    values, counts = np.unique(faces, return_counts=True)
    most = int(np.argmax(counts))
    return float(values[most]) if counts[most] > faces.size / 2 else None


def fill_background(volume: NDArray) -> NDArray:
    """Return a scan with a number where its background is NaN: 0, or the lowest value where that is below 0.

    NaN counts as background where it reaches the image's faces. What lies within the head stays NaN, for others to
    refuse; a scan without any number stays as it is.

    Args:
        volume: [H, W, D], of a floating type.
    """
    missing = np.isnan(volume)
    if not missing.any() or missing.all():
        return volume
    labels, _ = ndimage.label(missing)
    outside = np.isin(labels, np.setdiff1d(np.unique(_faces(labels)), [0]))
    finite = volume[np.isfinite(volume)]
    return np.where(outside, min(0.0, float(finite.min())) if finite.size else 0.0, volume).astype(volume.dtype)


def normalized(volume: NDArray) -> NDArray[np.float32]:
    """Return a scan with its background at 0 and its brightest tissue between 512 and 1024.

    A constant background is what the image's faces show; where they show noise, the darkest thousandth of the voxels
    takes its place. Tissue that reaches below a constant background, as in scans that were standardised inside of the
    brain, is lifted above it. The scale is a power of 2: it changes no digit of what it scales, so that a scan whose
    background is 0 gives the same results as without this step.

    Args:
        volume: [H, W, D], finite.
    """
    image = np.asarray(volume, dtype=np.float32)
    background = background_value(image)
    if background is None:
        image = image - np.float32(np.percentile(image, _DARKEST))
    else:
        image = _lifted(image - np.float32(background))
    return np.ldexp(image, scale_exponent(image))


def scale_exponent(volume: NDArray) -> int:
    """Return the power of 2 that brings the 99.9th percentile of the size of the voxels that are not 0 near 1024.

    Args:
        volume: any shape, finite; 0 for an image without any other value.
    """
    sizes = np.abs(volume[volume != 0])
    top = float(np.percentile(sizes, _BRIGHTEST)) if sizes.size else 0.0
    return int(np.floor(np.log2(_TOP / top))) if top > 0 else 0


def _lifted(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image whose background is 0 with its tissue above that, where it reaches far below."""
    if not (image < 0).any():
        return image
    tissue = _tissue(image)
    lowest = float(np.percentile(image[tissue], _DARKEST))
    span = float(np.percentile(image[tissue], _BRIGHTEST)) - lowest
    if np.percentile(image[tissue], 1) > -_TRACES * span:
        return image  # traces of interpolation
    return np.where(tissue, np.maximum(image - lowest, _TRACES * span), 0).astype(np.float32)


def _tissue(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return what is no background in an image whose background is 0, without the traces of interpolation around it.

    Some tissue of a standardised brain is almost as bright as its background. It counts where there are so few such
    voxels that none are traces, or else where clearer tissue encloses it.
    """
    sizes = np.abs(image)
    clear = sizes > _TRACES * np.percentile(sizes[sizes > 0], 99)
    traces = np.count_nonzero(sizes) - np.count_nonzero(clear)
    return sizes > 0 if traces < _FEW * np.count_nonzero(clear) else ndimage.binary_fill_holes(clear)


def _faces(volume: NDArray) -> NDArray:
    return np.concatenate([np.take(volume, index, axis).ravel() for axis in range(3) for index in (0, -1)])
