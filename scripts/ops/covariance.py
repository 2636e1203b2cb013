"""The covariance of a cloud of reconstructions in low-rank form: Σ = α XᵀX + λ I, factorised through a K×K Gram matrix.

X (K×P) are the K reconstructions less their mean over the P pixels of one extent. P×P matrices are never built.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.ops.checks import check_positive
from scripts.options.choices import Extent, Shrinkage

__all__ = ["CloudCovariance", "Extent", "Shrinkage", "factorise_covariance", "pool_slices", "shrinkage_intensity"]


@dataclass(frozen=True)
class CloudCovariance:
    """Hold Σ = α XᵀX + λ I of every extent, with XXᵀ = U diag(g) Uᵀ.

    E is the number of slices S for the extents slice and window, and 1 for the volume.

    Attributes:
        deviations: X by slice, `[S, K, P]`, zero outside the brain mask.
        eigenvectors: U, `[E, K, K]`.
        eigenvalues: g >= 0, `[E, K]`; at least one is zero but for rounding, since the rows of X sum to zero.
        weight: α, `[E, 1]`.
        ridge: λ > 0, `[E, 1]`.
    """

    deviations: Tensor
    eigenvectors: Tensor
    eigenvalues: Tensor
    weight: Tensor
    ridge: Tensor


def pool_slices(values: Tensor, extent: Extent, window: int) -> Tensor:
    """Sum per-slice values over the slices that share a covariance matrix.

    Pixels of several slices taken jointly are columns set side by side in X, so XXᵀ, Xd and the pixel count of the
    extent are the sums of the slices' own: a window or a volume costs no more than a slice.

    Args:
        values: `[S, ...]`.
        extent: slice (unchanged), window or volume.
        window: odd number of slices centred on each slice, cut off at the first and the last slice.

    Returns:
        `[S, ...]`, or `[1, ...]` for the volume.
    """
    if extent is Extent.SLICE:
        return values
    if extent is Extent.VOLUME:
        return values.sum(dim=0, keepdim=True)
    index = torch.arange(values.shape[0], device=values.device)
    band = ((index[:, None] - index[None, :]).abs() <= window // 2).to(values.dtype)
    return torch.tensordot(band, values, dims=1)


def shrinkage_intensity(gram: Tensor, num_pixels: Tensor, shrinkage: Shrinkage) -> Tensor:
    """Estimate the intensity ρ of Σ = (1 − ρ) S + ρ tr(S)/P I from the Gram matrix of the cloud.

    S = XᵀX / K is the empirical covariance with 1/K, as in scikit-learn, whose `ledoit_wolf` and `oas` these are:
    ‖S‖² = ‖G‖²/K², tr S = tr G / K and ‖xₖ‖² = Gₖₖ are all that either formula needs.

    Args:
        gram: G = XXᵀ, `[E, K, K]`.
        num_pixels: P, `[E]`.
        shrinkage: ledoit_wolf or oas.

    Returns:
        ρ in [0, 1], `[E]`; 1 where S is already a multiple of the identity (P = 1, or no variance at all), since
        every ρ gives the same Σ there.

    References:
        Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4, lemma 3.3; Chen et al. 2010,
        doi:10.1109/TSP.2010.2053029, eq. 23 without its factor 2/P, as in scikit-learn.
    """
    num_draws = gram.shape[-1]
    pixels = num_pixels.clamp(min=1)
    squared_norms = gram.diagonal(dim1=-2, dim2=-1)
    trace = squared_norms.sum(-1) / num_draws
    squares = gram.square().sum((-2, -1)) / num_draws**2
    spread = squares - trace.square() / pixels  # ‖S − tr(S)/P I‖²: zero for a multiple of the identity
    if shrinkage is Shrinkage.OAS:
        numerator, denominator = squares + trace.square(), (num_draws + 1) * spread
    else:
        numerator, denominator = (squared_norms.square().sum(-1) / num_draws - squares) / num_draws, spread
    round_off = num_draws * torch.finfo(gram.dtype).eps * squares
    identity = spread <= round_off
    ratio = numerator / torch.where(identity, torch.ones_like(denominator), denominator)
    return torch.where(identity, torch.ones_like(ratio), ratio.clamp(0, 1))


def factorise_covariance(
    deviations: Tensor,
    num_pixels: Tensor,
    *,
    num_draws: int,
    mean_square_sum: Tensor,
    extent: Extent,
    window: int,
    regularization: float,
    shrinkage: Shrinkage,
) -> CloudCovariance:
    """Factorise the covariance of every extent in O(P K²) time and O(P K) memory.

    Fixed shrinkage has α = 1/(K − 1) and λ = `regularization`; the estimated ones α = (1 − ρ)/K and λ = ρ tr(S)/P.

    Args:
        deviations: X by slice, `[S, K, P]` float32 or float64, zero outside the brain mask; for the fixed shrinkage any
            rows of which Σ is to hold XᵀX/(K − 1), such as the components of a population besides.
        num_draws: K of the weight, at least 2.
        num_pixels: pixels inside the brain mask by slice, `[S]`, of the same dtype.
        mean_square_sum: sum of the squared mean reconstruction inside the mask by slice, `[S]`; a variance that is
            no more than the rounding of that mean counts as none. Used by the estimated shrinkages alone.
        extent: slice, window or volume.
        window: odd number of slices of the window.
        regularization: λ > 0 of the fixed form; not looked at by the others.
        shrinkage: fixed, ledoit_wolf or oas.

    Raises:
        InputError: for a λ that is not above zero, a cloud whose squares overflow, and one whose shrunk covariance is
            singular.
    """
    gram = pool_slices(deviations @ deviations.mT, extent, window)
    if not bool(torch.isfinite(gram).all()):
        raise InputError(
            f"`reconstructions` must have squares that fit {gram.dtype}, got an overflow", fix="rescale them"
        )
    pooled_pixels = pool_slices(num_pixels, extent, window)
    if shrinkage is Shrinkage.FIXED:
        check_positive(regularization, "regularization")
        weight = torch.full_like(pooled_pixels, 1 / (num_draws - 1))
        ridge = torch.full_like(pooled_pixels, regularization)
    else:
        intensity = shrinkage_intensity(gram, pooled_pixels, shrinkage)
        total_variance = gram.diagonal(dim1=-2, dim2=-1).sum(-1) / num_draws
        empty = pooled_pixels == 0
        rounding = (num_draws * torch.finfo(gram.dtype).eps) ** 2 * pool_slices(mean_square_sum, extent, window)
        _check_invertible(intensity, total_variance <= rounding, empty, shrinkage)
        weight = (1 - intensity) / num_draws
        ridge = torch.where(empty, torch.ones_like(intensity), intensity * total_variance / pooled_pixels.clamp(min=1))
    eigenvalues, eigenvectors = torch.linalg.eigh(gram)
    return CloudCovariance(deviations, eigenvectors, eigenvalues.clamp(min=0), weight[:, None], ridge[:, None])


def _check_invertible(intensity: Tensor, constant: Tensor, empty: Tensor, shrinkage: Shrinkage) -> None:
    """Raise `InputError` where an extent that holds brain is constant, or has an intensity of zero but for rounding."""
    fix = "use `shrinkage=fixed`, or more reconstructions"
    constant = constant & ~empty
    if bool(constant.any()):
        where = constant.nonzero().flatten().tolist()
        raise InputError(
            f"`reconstructions` must differ from draw to draw for `shrinkage={shrinkage}`, "
            f"got no variance inside the brain mask of extent {where}",
            fix=fix,
        )
    singular = (intensity <= 100 * torch.finfo(intensity.dtype).eps) & ~empty
    if bool(singular.any()):
        where = singular.nonzero().flatten().tolist()
        raise InputError(
            f"`reconstructions` must give a shrinkage intensity above zero for `shrinkage={shrinkage}`, "
            f"got zero in extent {where}: the centred draws are copies or negatives of one, as any two draws are",
            fix=fix,
        )
