"""Exact per-pixel Mahalanobis distance of an image to a cloud of reconstructions, without any P×P matrix."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from scripts.errors import InputError, check_choice, check_finite, check_non_negative, check_positive, check_volumes
from scripts.ops.covariance import CloudCovariance, Extent, factorise_covariance, pool_slices
from scripts.ops.population import PopulationStatistics
from scripts.options.choices import Score
from torch import Tensor

__all__ = ["Score", "mahalanobis_map"]

_LEVERAGE = 0.5  # q below it leaves 1 − q with the digits that it has


@torch.no_grad()
def mahalanobis_map(
    image: Tensor,
    reconstructions: Tensor,
    brain_mask: Tensor,
    *,
    score: str = Score.REFERENCE,
    extent: str = Extent.SLICE,
    regularization: float = 1e-2,
    population: PopulationStatistics | None = None,
    cloud_covariance: float = 1.0,
) -> Tensor:
    """Score every brain pixel by its Mahalanobis distance to the cloud of reconstructions.

    With X the centred reconstructions (K×P), d the image less their mean and Σ = α XᵀX + λ I, the scores are

    - `reference`: √(d ⊙ Σ⁻¹d), and **NaN where that product is negative** (no error: 2–20 % of brain pixels);
    - `whitened`: |Σ^(−1/2) d|, whose squares sum to dᵀΣ⁻¹d over a slice (extent slice) or the volume;
    - `conditional`: |Σ⁻¹d| / √diag(Σ⁻¹), the standardised error of each pixel given all the others;
    - `diagonal`: |d| / √diag(Σ), without covariances.

    With the statistics of a population (mean m, spread σ and r components B of the residual in healthy subjects), d is
    the image less the mean of the reconstructions and m, and Σ = w XᵀX/(K − 1) + BBᵀ + D with D = diag(σ²) + λ I. X and
    B are then rows of one factor and all is divided by √D before: the scores are the same but for `whitened`, which
    becomes |Σ'^(−1/2) D^(−1/2) d| with Σ' = D^(−1/2) Σ D^(−1/2); its squares sum to dᵀΣ⁻¹d as before.

    All are exact (Woodbury identity and an eigenproblem of K + r rows), in O(P (K + r)²) time and O(P (K + r)) memory.

    Args:
        image: `[S, H, W]`, any real dtype and intensity unit.
        reconstructions: `[K, S, H, W]`, K >= 2, in the image's unit.
        brain_mask: `[S, H, W]`, boolean or number; non-zero is brain. A slice without brain gets a zero map.
        score: reference, whitened, conditional or diagonal.
        extent: pixels that share one Σ: the brain of one slice, or of the volume.
        regularization: λ > 0 in squared intensity units.
        population: statistics of healthy subjects at the places of this brain (`fit_to_brain`); None for the paper's Σ.
        cloud_covariance: w >= 0, weight of the cloud's covariance; 1 is the paper's, 0 leaves it out.

    Returns:
        `[S, H, W]`, >= 0 (or NaN, `reference` only), dimensionless, zero outside the mask; in the wider dtype of image
        and reconstructions. Half precision is computed **and returned** in float32, as are integers: such input has
        three digits to begin with, and loses no more. Float32 is within 1e-6 of float64, relative to the map's maximum,
        down to λ = 1e-7 times the cloud's largest variance (its covariance's first eigenvalue), and 2e-5 at 1e-9; use
        float64 below. Not differentiable. Autocast is switched off inside.

    Raises:
        InputError: for an unknown name, a shape mismatch, K < 2, a NaN or infinity anywhere in the input, values whose
            squares overflow, a mask without any brain, λ <= 0, w < 0, and statistics of another shape.

    References:
        Behrendt et al. 2024, doi:10.1007/978-3-031-72120-5_37.
    """
    score, extent = check_choice(Score, score, "score"), check_choice(Extent, extent, "extent")
    _check_cloud(image, reconstructions, brain_mask)
    _check_extended(population, cloud_covariance, image)
    dtype = torch.promote_types(torch.promote_types(image.dtype, reconstructions.dtype), torch.float32)
    with _without_autocast(image.device.type):
        mask = (brain_mask if brain_mask.dtype == torch.bool else brain_mask != 0).flatten(1).to(dtype)
        if not bool(mask.sum()):  # of numbers, as any() of them, or of a bool tensor, takes five times as long
            raise InputError("`brain_mask` must hold at least one brain voxel, got none")
        cloud = reconstructions.to(dtype).flatten(2)
        mean = cloud.mean(dim=0)
        if not bool(torch.isfinite(mean.sum())):  # finds in one pass over P values what would take one over K·P
            check_finite(reconstructions=reconstructions)
        difference = (image.to(dtype).flatten(1) - mean).mul_(mask)
        if population is None:
            deviations = torch.addcmul(-mean * mask, cloud, mask).transpose(0, 1)  # (r − mean) · mask in one pass
            if cloud_covariance != 1:
                deviations = deviations * cloud_covariance**0.5
        else:
            check_positive(regularization, "regularization")
            difference, deviations = _standardized(
                population, difference, cloud, mean, mask, regularization=regularization, weight=cloud_covariance
            )
            regularization = 1.0  # all is divided by √D
        covariance = factorise_covariance(
            deviations, num_samples=len(cloud), extent=extent, regularization=regularization
        )
        # A row times Xᵀ: five times as fast as X times a column, for the same numbers.
        projections = pool_slices(difference.unsqueeze(1) @ deviations.mT, extent)
        return _SCORES[score](covariance, difference, projections).view(image.shape)


def _check_cloud(image: Tensor, reconstructions: Tensor, brain_mask: Tensor) -> None:
    """Raise `InputError` for shapes that do not fit, K < 2, and a non-finite image or mask."""
    if reconstructions.ndim != 4:
        shape = tuple(reconstructions.shape)
        raise InputError(f"`reconstructions` must be a [K, S, H, W] tensor, got shape {shape}")
    if reconstructions.shape[0] < 2:
        raise InputError(f"`reconstructions` must hold at least 2 samples (K >= 2), got K = {reconstructions.shape[0]}")
    check_volumes(image=image, brain_mask=brain_mask, **{"reconstructions[0]": reconstructions[0]})
    check_finite(image=image, brain_mask=brain_mask)


def _check_extended(population: PopulationStatistics | None, cloud_covariance: float, image: Tensor) -> None:
    """Raise `InputError` for statistics of another grid, and a negative weight."""
    check_non_negative(cloud_covariance, "cloud_covariance")
    if population is not None:
        check_volumes(**{"image": image, "population.mean": population.mean})


def _standardized(
    population: PopulationStatistics,
    difference: Tensor,
    cloud: Tensor,
    mean: Tensor,
    mask: Tensor,
    *,
    regularization: float,
    weight: float,
) -> tuple[Tensor, Tensor]:
    """Return d/√D `[S, P]`, and the rows √w X/√D and √(K − 1) Bᵀ/√D `[S, K + r, P]`, all zero outside the mask."""
    variance = population.std.to(difference).flatten(1).square()
    scale = mask / (variance + regularization).sqrt()
    parts = []
    if weight:
        cloud_scale = scale * weight**0.5
        parts.append(torch.addcmul(-mean * cloud_scale, cloud, cloud_scale))
    if len(population.components):
        parts.append(population.components.to(difference).flatten(2) * (scale * (len(cloud) - 1) ** 0.5))
    rows = torch.cat(parts) if parts else cloud.new_zeros(1, *difference.shape)
    return (difference - population.mean.to(difference).flatten(1)) * scale, rows.transpose(0, 1)


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Keep an outer autocast from computing the Gram matrix in half precision."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _back_project(covariance: CloudCovariance, gain: Tensor, projections: Tensor) -> Tensor:
    """Return XᵀU diag(gain) UᵀXd by slice, `[S, P]`, from gain `[E, K]` and (Xd)ᵀ `[E, 1, K]`."""
    basis, deviations = covariance.eigenvectors, covariance.deviations
    coefficients = (projections @ basis * gain.unsqueeze(1)) @ basis.mT
    return (coefficients.expand(len(deviations), -1, -1) @ deviations).squeeze(1)


def _precision_gain(covariance: CloudCovariance) -> Tensor:
    """Return α / (λ + α g) of the Woodbury identity, `[E, K]`."""
    return covariance.weight / (covariance.ridge + covariance.weight * covariance.eigenvalues)


def _precision_times(covariance: CloudCovariance, difference: Tensor, projections: Tensor) -> Tensor:
    """Return Σ⁻¹d = (d − Xᵀ U diag(α/(λ + α g)) Uᵀ X d) / λ, `[S, P]`."""
    smooth_part = _back_project(covariance, _precision_gain(covariance), projections)
    return torch.sub(difference, smooth_part, out=smooth_part).div_(covariance.ridge)


def _variance(covariance: CloudCovariance) -> Tensor:
    """Return diag(Σ) by slice, `[S, P]`, one sample at a time: no second tensor of the cloud's size."""
    first, *others = covariance.deviations.unbind(dim=1)
    total = first.square()
    for sample in others:
        total.addcmul_(sample, sample)
    return total.mul_(covariance.weight).add_(covariance.ridge)


def _reference(covariance: CloudCovariance, difference: Tensor, projections: Tensor) -> Tensor:
    contribution = difference * _precision_times(covariance, difference, projections)
    # x · x^(−1/2), as MKL's square root takes six times as long where it meets negative numbers; the clamp is for ±0.
    largest = torch.finfo(contribution.dtype).max
    return contribution.rsqrt().clamp_(-largest, largest).mul_(contribution)


def _whitened(covariance: CloudCovariance, difference: Tensor, projections: Tensor) -> Tensor:
    # ((λ + αg)^(−1/2) − λ^(−1/2)) / g, rewritten so that g = 0 needs no care.
    root = covariance.ridge.sqrt()
    full_root = (covariance.ridge + covariance.weight * covariance.eigenvalues).sqrt()
    gain = -covariance.weight / (root * full_root * (root + full_root))
    return (difference / root + _back_project(covariance, gain, projections)).abs()


def _conditional(covariance: CloudCovariance, difference: Tensor, projections: Tensor) -> Tensor:
    # diag(Σ⁻¹) = (1 − q)/λ, q the squared norm of the columns of diag(√gain) UᵀX.
    basis = covariance.eigenvectors * _precision_gain(covariance).sqrt().unsqueeze(1)
    deviations = covariance.deviations
    rows = basis.mT.expand(len(deviations), -1, -1)
    # Slice by slice in the same memory, so that UᵀX stays in the cache instead of becoming a second tensor of the
    # cloud's size. What follows is computed in place: a pass over memory that is new costs twice as much.
    leverage, whitened = torch.empty_like(difference), torch.empty_like(deviations[0])
    for u, x, total in zip(rows, deviations, leverage, strict=True):
        torch.sum(torch.mm(u, x, out=whitened).square_(), dim=0, out=total)
    safe = bool(leverage.max() < _LEVERAGE)
    precision = torch.sub(1, leverage, out=leverage).div_(covariance.ridge)
    if not safe:  # (Σ⁻¹)ᵢᵢ >= 1/Σᵢᵢ always; rounding of 1 − q must not take it below
        torch.maximum(precision, _variance(covariance).reciprocal_(), out=precision)
    return _precision_times(covariance, difference, projections).abs_().div_(precision.sqrt_())


def _diagonal(covariance: CloudCovariance, difference: Tensor, projections: Tensor) -> Tensor:
    return difference.abs() / _variance(covariance).sqrt()


_SCORES: dict[str, Callable[[CloudCovariance, Tensor, Tensor], Tensor]] = {
    Score.REFERENCE: _reference,
    Score.WHITENED: _whitened,
    Score.CONDITIONAL: _conditional,
    Score.DIAGONAL: _diagonal,
}
