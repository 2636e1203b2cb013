"""The anomaly map (Mahalanobis map × residual × brain mask), the steps it is made of, and one number for a scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scripts.errors import (
    InputError,
    check_choice,
    check_finite,
    check_non_negative,
    check_odd,
    check_positive,
    check_scales,
    check_volumes,
    check_whole,
)
from scripts.ops import filters
from scripts.options.choices import Residual
from skimage.metrics import structural_similarity
from torch import Tensor

__all__ = [
    "Residual",
    "anomaly_map",
    "median_scale",
    "min_max_scale",
    "postprocess",
    "residual_map",
    "scan_score",
    "smooth",
    "ssim_map",
]

_TRUNCATE = 3.5  # standard deviations that scikit-image's Gaussian window reaches; 9 taps for σ = 1


def ssim_map(image: Tensor, reference: Tensor, *, data_range: float | None = None, sigma: float = 1.0) -> Tensor:
    """Compute the 3D structural similarity at every voxel in float64: with scikit-image on the CPU, else on the device.

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

    Returns:
        `[S, H, W]` in [−1, 1] on the image's device and in its dtype (float32 where that is not a floating one). For
        two constant volumes a and b without `data_range` (L = 0) it is the luminance term 2ab/(a² + b²) alone, 1 where
        a = b = 0: the limit of the formula for L to 0.

    Raises:
        InputError: for shapes that differ or are not 3D, non-finite values, and a parameter out of range.

    References:
        Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13, with C₁ = (0.01 L)² and C₂ = (0.03 L)².
    """
    check_volumes(image=image, reference=reference)
    check_finite(image=image, reference=reference)
    check_positive(sigma, "sigma")
    if data_range is not None:
        check_positive(data_range, "data_range")
    first, second = (volume.detach().to(image.device, torch.float64) for volume in (image, reference))
    span = max(_range(first), _range(second)) if data_range is None else data_range
    dtype = image.dtype if image.dtype.is_floating_point else torch.float32
    if span == 0:
        return _constant_pair(first, second).to(dtype)
    if filters.is_on_host(first):
        return torch.from_numpy(_similarity(first.numpy(), second.numpy(), span, sigma)).to(dtype)
    return filters.structural_similarity(first, second, data_range=span, sigma=sigma, truncate=_TRUNCATE).to(dtype)


def _range(volume: Tensor) -> float:
    low, high = volume.aminmax()
    return float(high - low)


def _similarity(
    image: NDArray[np.float64], reference: NDArray[np.float64], span: float, sigma: float
) -> NDArray[np.float64]:
    """Call scikit-image, with axes shorter than its window mirrored first and cut back after."""
    radius = int(_TRUNCATE * sigma + 0.5)
    margins = [radius if size < 2 * radius + 1 else 0 for size in image.shape]
    padded = [np.pad(volume, [(margin, margin) for margin in margins], "symmetric") for volume in (image, reference)]
    _, similarity = structural_similarity(
        *padded, data_range=span, gaussian_weights=True, sigma=sigma, use_sample_covariance=False, full=True
    )
    inside = tuple(slice(margin, margin + size) for margin, size in zip(margins, image.shape, strict=True))
    return np.ascontiguousarray(similarity[inside])


def _constant_pair(image: Tensor, reference: Tensor) -> Tensor:
    """Return the luminance term of two constant volumes, which have no range to set C₁ from."""
    a, b = float(image.flatten()[0]), float(reference.flatten()[0])
    return torch.full_like(image, 1.0 if a == b else 2 * a * b / (a * a + b * b))


def min_max_scale(volume: Tensor) -> Tensor:
    """Map the volume's minimum to 0 and its maximum to 1, over all voxels.

    Args:
        volume: finite values of any floating dtype and shape.

    Returns:
        The same shape, dtype and device, in [0, 1]; a constant volume becomes zero everywhere.

    Raises:
        InputError: when a value is NaN or infinite.
    """
    check_finite(volume=volume)
    low, high = volume.aminmax()
    if bool(low == high):
        return torch.zeros_like(volume)
    return (volume - low) / (high - low)


def smooth(volume: Tensor, sigma: float) -> Tensor:
    """Blur a volume as scipy's 3D Gaussian filter does (cut off at 4σ, mirrored at the border with the edge repeated).

    Args:
        volume: `[S, H, W]`, finite.
        sigma: standard deviation in voxels, the same on all axes; 0 returns the volume unchanged.

    Returns:
        `[S, H, W]`, same dtype and device; half precision is filtered in float32.

    Raises:
        InputError: for a volume that is not 3D or not finite, and a negative `sigma`.
    """
    check_volumes(volume=volume)
    check_finite(volume=volume)
    check_non_negative(sigma, "sigma")
    if sigma == 0:
        return volume
    return filters.gaussian(_at_least_float32(volume).detach(), sigma).to(volume)


def residual_map(
    image: Tensor, reconstruction: Tensor, *, residual: str = Residual.SSIM, ssim_sigma: float | Sequence[float] = 1.0
) -> Tensor:
    """Compare an image with a reconstruction: 1 − SSIM (in [0, 2]), |x − r| or (x − r)²; all ones for none.

    Args:
        image: `[S, H, W]`.
        reconstruction: `[S, H, W]`, in the image's unit.
        residual: ssim, l1, l2 or none.
        ssim_sigma: window of the SSIM in voxels; several make an ensemble, the mean over these scales.

    Returns:
        `[S, H, W]`, >= 0, in the wider dtype of the two and at least float32. l1 has the image's unit, l2 its square.

    Raises:
        InputError: for an unknown residual, shapes that differ and non-finite values.
    """
    residual = check_choice(Residual, residual, "residual")
    check_volumes(image=image, reconstruction=reconstruction)
    check_finite(image=image, reconstruction=reconstruction)
    dtype = torch.promote_types(torch.promote_types(image.dtype, reconstruction.dtype), torch.float32)
    image, reconstruction = image.to(dtype), reconstruction.to(dtype)
    if residual is Residual.SSIM:
        scales = check_scales(ssim_sigma, "ssim_sigma")
        maps = [ssim_map(image, reconstruction, sigma=sigma) for sigma in scales]
        return 1 - torch.stack(maps).mean(dim=0)
    if residual is Residual.NONE:
        return torch.ones_like(image)
    difference = image - reconstruction
    return difference.abs() if residual is Residual.L1 else difference.square()


def postprocess(volume: Tensor, brain_mask: Tensor, *, median_size: int = 0, erosion: int = 0) -> Tensor:
    """Take the median of each voxel's cube, then set what lies outside the eroded brain mask to zero.

    Args:
        volume: `[S, H, W]`, finite.
        brain_mask: `[S, H, W]`, boolean or number; non-zero is brain.
        median_size: odd edge of the cube in voxels (mirrored at the border with the edge repeated); 0 for none.
        erosion: voxels to take off the mask, over the six face neighbours. The faces of the volume do not count
            as background: where the brain is cut by the field of view nothing is taken off.

    Returns:
        `[S, H, W]`, same dtype and device; half precision is filtered in float32. All zero if erosion leaves no brain.

    Raises:
        InputError: for shapes that differ, non-finite values, an even or negative `median_size`, a negative `erosion`.
    """
    check_volumes(volume=volume, brain_mask=brain_mask)
    check_finite(volume=volume, brain_mask=brain_mask)
    if median_size != 0:  # zero is off
        check_odd(median_size, "median_size")
    check_whole(erosion, "erosion", least=0)
    inside = filters.erode(brain_mask != 0, erosion)
    if median_size > 1:
        wide = _at_least_float32(volume).detach()
        if filters.is_on_host(wide):
            filtered = torch.from_numpy(ndimage.median_filter(wide.numpy(), size=median_size))
        else:
            filtered = filters.median(wide, median_size)
        volume = filtered.to(volume)
    return volume * inside


def anomaly_map(
    image: Tensor,
    reconstruction_mean: Tensor,
    mahalanobis_map: Tensor | None,
    brain_mask: Tensor,
    *,
    residual: str = Residual.SSIM,
    min_max: bool = True,
    median_scaling: bool = False,
    smoothing_sigma: float = 1.0,
    median_size: int = 0,
    erosion: int = 0,
    ssim_sigma: float | Sequence[float] = 1.0,
) -> Tensor:
    """Combine a Mahalanobis map and a residual into one anomaly map.

    In this order: NaN of the Mahalanobis map to 0; min-max scaling over the whole volume; 3D Gaussian smoothing;
    times the residual and the brain mask; 3D median filter; erosion of the mask; division by the map's own median.

    Args:
        image: `[S, H, W]`, finite, any intensity unit.
        reconstruction_mean: mean of the reconstructions, `[S, H, W]`, in the image's unit.
        mahalanobis_map: `[S, H, W]`, >= 0 or NaN; None for the residual alone, neither scaled nor smoothed.
        brain_mask: `[S, H, W]`, boolean or number; non-zero is brain.
        residual: ssim for 1 − SSIM, l1, l2, or none for the Mahalanobis map alone.
        min_max: scale the Mahalanobis map to [0, 1], as the paper does; it makes volumes incomparable, so leave it off
            where one threshold is to serve several volumes. A constant map becomes zero.
        median_scaling: divide the map by the median of its values above 0, its healthy background, so that one
            threshold serves scanners of other noise and sharpness. A lesion has to cover most of the brain to move it.
        smoothing_sigma: of the Gaussian in voxels, 0 for none.
        median_size: odd edge of the median's cube in voxels, 0 for none.
        erosion: voxels to take off the brain mask.
        ssim_sigma: window of the SSIM in voxels; several make an ensemble, the mean over these scales.

    Returns:
        `[S, H, W]`, >= 0, zero outside the (eroded) mask, on the image's device, in the widest dtype of the input and
        at least float32.

    Raises:
        InputError: for an unknown residual, no Mahalanobis map and no residual either, shapes that differ, values that
            are infinite (or NaN, but for the Mahalanobis map), a mask without brain, and a parameter out of range.

    References:
        Behrendt et al. 2024, doi:10.1007/978-3-031-72120-5_37.
    """
    residual = check_choice(Residual, residual, "residual")
    if mahalanobis_map is None and residual is Residual.NONE:
        raise InputError("`residual` must be ssim, l1 or l2 where `mahalanobis_map` is None, got 'none'")
    check_volumes(image=image, reconstruction_mean=reconstruction_mean, brain_mask=brain_mask)
    if not bool((brain_mask != 0).any()):
        raise InputError("`brain_mask` must hold at least one brain voxel, got none")
    check_non_negative(smoothing_sigma, "smoothing_sigma")
    combined = residual_map(image, reconstruction_mean, residual=residual, ssim_sigma=ssim_sigma)
    if mahalanobis_map is not None:
        check_volumes(image=image, mahalanobis_map=mahalanobis_map)
        distance = _at_least_float32(mahalanobis_map)
        distance = distance.masked_fill(distance.isnan(), 0)
        check_finite(mahalanobis_map=distance)
        combined = combined * smooth(min_max_scale(distance) if min_max else distance, smoothing_sigma)
    result = postprocess(combined * (brain_mask != 0), brain_mask, median_size=median_size, erosion=erosion)
    return median_scale(result) if median_scaling else result


def median_scale(volume: Tensor) -> Tensor:
    """Divide a map by the median of its values above 0; a map without any stays as it is.

    Args:
        volume: any shape, finite, >= 0.

    Returns:
        The same shape; values in medians of the map.
    """
    above = volume[volume > 0]
    return volume / above.median() if above.numel() else volume


def _at_least_float32(volume: Tensor) -> Tensor:
    """Widen half precision and whole numbers to float32."""
    return volume.to(torch.promote_types(volume.dtype, torch.float32))


def scan_score(anomaly_map: Tensor, brain_mask: Tensor, *, share: float = 0.01) -> float:
    """Average the highest values of an anomaly map inside the brain.

    Args:
        anomaly_map: any shape, finite inside the brain, higher is more anomalous.
        brain_mask: same shape, boolean or number; non-zero is brain.
        share: of the brain's voxels that are averaged, in (0, 1]; at least one voxel is.

    Returns:
        The mean, in the map's unit.

    Raises:
        InputError: when the shapes differ, the mask is empty or `share` is out of range.

    Examples:
        >>> import torch
        >>> scan_score(torch.arange(100.0), torch.ones(100), share=0.02)
        98.5
    """
    if anomaly_map.shape != brain_mask.shape:
        shapes = f"{tuple(anomaly_map.shape)}, got {tuple(brain_mask.shape)}"
        raise InputError(f"`brain_mask` must have the shape of `anomaly_map`, {shapes}")
    if not 0 < share <= 1:
        raise InputError(f"`share` must be above 0 and at most 1, got {share!r}")
    inside = torch.as_tensor(anomaly_map)[torch.as_tensor(brain_mask) > 0].flatten()
    if not inside.numel():
        raise InputError("`brain_mask` must hold at least one brain voxel, got none")
    return float(inside.double().topk(max(1, int(inside.numel() * share))).values.mean())
