"""Local structural similarity of two volumes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

from scripts.ops.checks import check_finite, check_non_negative, check_positive, check_volumes

__all__ = ["ssim_map"]

_TRUNCATE = 3.5  # standard deviations that scikit-image's Gaussian window reaches; 9 taps for σ = 1


def ssim_map(
    image: Tensor,
    reference: Tensor,
    *,
    data_range: float | None = None,
    sigma: float = 1.0,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Tensor:
    """Compute the 3D structural similarity at every voxel with scikit-image, in float64 on the CPU.

    Local means, variances (population form) and the covariance are taken under a Gaussian window of
    2⌊3.5 σ + ½⌋ + 1 taps an axis. Beyond the border the volumes are mirrored with the edge voxel repeated (scipy's
    `reflect`, `c b a | a b c`), scikit-image's own choice: no made-up zeros next to a cropped brain, and it is defined
    for any thickness, so a volume of fewer slices (or rows, columns) than taps is treated in the same way and a single
    slice gets its 2D map.

    Args:
        image: `[S, H, W]`, any real dtype.
        reference: `[S, H, W]`, in the image's unit. The measure is symmetric in the two.
        data_range: dynamic range L of the unit, above zero; default the larger of the two volumes' max − min.
        sigma: standard deviation of the window in voxels, above zero.
        k1: C₁ = (k1 L)², at least 0.
        k2: C₂ = (k2 L)², at least 0.

    Returns:
        `[S, H, W]` in [−1, 1] on the image's device and in its dtype (float32 where that is not a floating one). For
        two constant volumes a and b without `data_range` (L = 0) it is the luminance term 2ab/(a² + b²) alone, 1 where
        a = b = 0: the limit of the formula for L to 0.

    Raises:
        InputError: for shapes that differ or are not 3D, non-finite values, and a parameter out of range.

    References:
        Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13.
    """
    check_volumes(image=image, reference=reference)
    check_finite(image=image, reference=reference)
    check_positive(sigma, "sigma")
    check_non_negative(k1, "k1")
    check_non_negative(k2, "k2")
    if data_range is not None:
        check_positive(data_range, "data_range")
    first, second = (volume.detach().to("cpu", torch.float64).numpy() for volume in (image, reference))
    span = max(float(np.ptp(first)), float(np.ptp(second))) if data_range is None else data_range
    similarity = _constant_pair(first, second) if span == 0 else _similarity(first, second, span, sigma, k1, k2)
    dtype = image.dtype if image.dtype.is_floating_point else torch.float32
    return torch.from_numpy(similarity).to(image.device, dtype)


def _similarity(
    image: NDArray[np.float64], reference: NDArray[np.float64], span: float, sigma: float, k1: float, k2: float
) -> NDArray[np.float64]:
    """Call scikit-image, with axes shorter than its window mirrored first and cut back after."""
    radius = int(_TRUNCATE * sigma + 0.5)
    margins = [radius if size < 2 * radius + 1 else 0 for size in image.shape]
    padded = [np.pad(volume, [(margin, margin) for margin in margins], "symmetric") for volume in (image, reference)]
    _, similarity = structural_similarity(
        *padded,
        data_range=span,
        gaussian_weights=True,
        sigma=sigma,
        use_sample_covariance=False,
        full=True,
        K1=k1,
        K2=k2,
    )
    inside = tuple(slice(margin, margin + size) for margin, size in zip(margins, image.shape, strict=True))
    return np.ascontiguousarray(similarity[inside])


def _constant_pair(image: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the luminance term of two constant volumes, which have no range to set C₁ from."""
    a, b = float(image.flat[0]), float(reference.flat[0])
    return np.full(image.shape, 1.0 if a == b else 2 * a * b / (a * a + b * b))
