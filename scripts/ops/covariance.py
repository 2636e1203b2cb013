"""The covariance of a cloud of reconstructions in low-rank form: Σ = α XᵀX + λ I, factorised through a K×K Gram matrix.

X (K×P) are the K reconstructions less their mean over the P pixels of one extent. P×P matrices are never built.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scripts.errors import InputError, check_positive
from scripts.options.choices import Extent
from torch import Tensor

__all__ = ["CloudCovariance", "Extent", "factorise_covariance", "pool_slices"]


@dataclass(frozen=True)
class CloudCovariance:
    """Hold Σ = α XᵀX + λ I of every extent, with XXᵀ = U diag(g) Uᵀ.

    E is the number of slices S for the extent slice, and 1 for the volume.

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


def pool_slices(values: Tensor, extent: Extent) -> Tensor:
    """Sum per-slice values over the slices that share a covariance matrix.

    Pixels of several slices taken jointly are columns set side by side in X, so XXᵀ, Xd and the pixel count of the
    extent are the sums of the slices' own: a volume costs no more than its slices.

    Args:
        values: `[S, ...]`.
        extent: slice (unchanged) or volume.

    Returns:
        `[S, ...]`, or `[1, ...]` for the volume.
    """
    return values if extent is Extent.SLICE else values.sum(dim=0, keepdim=True)


def factorise_covariance(
    deviations: Tensor, *, num_samples: int, extent: Extent, regularization: float
) -> CloudCovariance:
    """Factorise the covariance of every extent, α = 1/(K − 1), in O(P K²) time and O(P K) memory.

    Args:
        deviations: X by slice, `[S, K, P]` float32 or float64, zero outside the brain mask; any rows of which Σ is to
            hold XᵀX/(K − 1), such as the components of a population besides.
        num_samples: K of the weight, at least 2.
        extent: slice or volume.
        regularization: λ > 0.

    Raises:
        InputError: for a λ that is not above zero, and a cloud whose squares overflow.
    """
    check_positive(regularization, "regularization")
    gram = pool_slices(deviations @ deviations.mT, extent)
    if not bool(torch.isfinite(gram).all()):
        raise InputError(
            f"`reconstructions` must have squares that fit {gram.dtype}, got an overflow", fix="rescale them"
        )
    weight = torch.full_like(gram[..., 0, :1], 1 / (num_samples - 1))
    ridge = torch.full_like(weight, regularization)
    eigenvalues, eigenvectors = torch.linalg.eigh(gram)
    return CloudCovariance(deviations, eigenvectors, eigenvalues.clamp(min=0), weight, ridge)
