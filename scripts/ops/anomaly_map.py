"""The anomaly map: Mahalanobis map × residual × brain mask, and the steps it is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy import ndimage
from torch import Tensor

from scripts.errors import InputError
from scripts.ops.checks import check_choice, check_finite, check_non_negative, check_odd, check_scales, check_volumes
from scripts.ops.ssim import ssim_map
from scripts.options.choices import Residual

__all__ = ["Residual", "anomaly_map", "min_max_scale", "postprocess", "residual_map", "smooth"]


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
    """Blur a volume with scipy's 3D Gaussian filter (cut off at 4σ, mirrored at the border with the edge repeated).

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
    filtered = ndimage.gaussian_filter(_at_least_float32(volume).detach().cpu().numpy(), sigma)
    return torch.from_numpy(filtered).to(volume)


def residual_map(
    image: Tensor,
    reconstruction: Tensor,
    *,
    residual: str = Residual.SSIM,
    ssim_sigma: float | Sequence[float] = 1.0,
    data_range: float | None = None,
) -> Tensor:
    """Compare an image with a reconstruction: 1 − SSIM (in [0, 2]), |x − r| or (x − r)²; all ones for none.

    Args:
        image: `[S, H, W]`.
        reconstruction: `[S, H, W]`, in the image's unit.
        residual: ssim, l1, l2 or none.
        ssim_sigma: window of the SSIM in voxels; several make an ensemble, the mean over these scales.
        data_range: of the SSIM; default the larger of the two volumes' ranges.

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
        maps = [ssim_map(image, reconstruction, data_range=data_range, sigma=sigma) for sigma in scales]
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
    if isinstance(erosion, bool) or not isinstance(erosion, int) or erosion < 0:
        raise InputError(f"`erosion` must be a whole number of voxels of at least 0, got {erosion!r}")
    inside = brain_mask != 0
    if erosion:  # scipy reads 0 iterations as "until nothing changes"
        eroded = ndimage.binary_erosion(inside.cpu().numpy(), iterations=erosion, border_value=1)
        inside = torch.from_numpy(eroded).to(inside.device)
    if median_size > 1:
        filtered = ndimage.median_filter(_at_least_float32(volume).detach().cpu().numpy(), size=median_size)
        volume = torch.from_numpy(filtered).to(volume)
    return volume * inside


def anomaly_map(
    image: Tensor,
    reconstruction_mean: Tensor,
    mahalanobis_map: Tensor | None,
    brain_mask: Tensor,
    *,
    residual: str = Residual.SSIM,
    min_max: bool = True,
    smoothing_sigma: float = 1.0,
    median_size: int = 0,
    erosion: int = 0,
    ssim_sigma: float | Sequence[float] = 1.0,
    data_range: float | None = None,
) -> Tensor:
    """Combine a Mahalanobis map and a residual into one anomaly map.

    In this order: NaN of the Mahalanobis map to 0; min-max scaling over the whole volume; 3D Gaussian smoothing;
    times the residual and the brain mask; 3D median filter; erosion of the mask.

    Args:
        image: `[S, H, W]`, finite, any intensity unit.
        reconstruction_mean: mean of the reconstructions, `[S, H, W]`, in the image's unit.
        mahalanobis_map: `[S, H, W]`, >= 0 or NaN; None for the residual alone, neither scaled nor smoothed.
        brain_mask: `[S, H, W]`, boolean or number; non-zero is brain.
        residual: ssim for 1 − SSIM, l1, l2, or none for the Mahalanobis map alone.
        min_max: scale the Mahalanobis map to [0, 1], as the paper does; it makes volumes incomparable, so leave it off
            where one threshold is to serve several volumes. A constant map becomes zero.
        smoothing_sigma: of the Gaussian in voxels, 0 for none.
        median_size: odd edge of the median's cube in voxels, 0 for none.
        erosion: voxels to take off the brain mask.
        ssim_sigma: window of the SSIM in voxels; several make an ensemble, the mean over these scales.
        data_range: of the SSIM; default the larger of the two volumes' ranges.

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
    combined = residual_map(image, reconstruction_mean, residual=residual, ssim_sigma=ssim_sigma, data_range=data_range)
    if mahalanobis_map is not None:
        check_volumes(image=image, mahalanobis_map=mahalanobis_map)
        distance = _at_least_float32(mahalanobis_map)
        distance = distance.masked_fill(distance.isnan(), 0)
        check_finite(mahalanobis_map=distance)
        combined = combined * smooth(min_max_scale(distance) if min_max else distance, smoothing_sigma)
    return postprocess(combined * (brain_mask != 0), brain_mask, median_size=median_size, erosion=erosion)


def _at_least_float32(volume: Tensor) -> Tensor:
    """Widen half precision and whole numbers to float32."""
    return volume.to(torch.promote_types(volume.dtype, torch.float32))
