"""Every map that one set of reconstructions gives, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import torch

from scripts.errors import InputError
from scripts.ops import (
    Extent,
    HealthyError,
    Residual,
    Score,
    Shrinkage,
    anomaly_map,
    fit_to_brain,
    mahalanobis_map,
    postprocess,
    residual_map,
)
from scripts.ops.checks import check_choice, check_non_negative, check_odd, check_positive, check_scales

__all__ = ["OUTPUT_NAMES", "MapOptions", "Polarity", "ScoreMaps"]


class Polarity(StrEnum):
    """Whether the intensity baseline looks for dark or for bright lesions."""

    DARK = "dark"
    BRIGHT = "bright"

    @classmethod
    def of(cls, modality: str) -> Polarity:
        """Return how most lesions look: dark in `t1`, bright in `t2`.

        Raises:
            InputError: for another modality.
        """
        known = {"t1": cls.DARK, "t2": cls.BRIGHT}
        if modality not in known:
            raise InputError(f"`modality` must be one of {', '.join(known)}, got {modality!r}")
        return known[modality]


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """Choices of the Mahalanobis map and of the anomaly map; see `mahalanobis_map` and `anomaly_map` for each.

    Args:
        score: of the Mahalanobis map.
        extent: pixels that share a covariance matrix.
        window: slices of the extent window.
        regularization: λ, squared intensity.
        shrinkage: how the covariance is made invertible.
        residual: what the Mahalanobis map is multiplied by.
        ssim_sigma: window of the SSIM, voxels; several for the mean over these scales.
        min_max: scale the Mahalanobis map of a volume to [0, 1].
        smoothing_sigma: of the Mahalanobis map, voxels; 0 for none.
        median_size: odd edge of the 3D median filter, voxels; 0 for none.
        erosion: voxels taken off the brain mask; 0 for none.
        polarity: whether the baseline `intensity` looks for dark or for bright lesions.

    Raises:
        InputError: if one is unknown or out of range, before any work is done.
    """

    score: Score | str = Score.REFERENCE
    extent: Extent | str = Extent.SLICE
    window: int = 3
    regularization: float = 1e-2
    shrinkage: Shrinkage | str = Shrinkage.FIXED
    residual: Residual | str = Residual.SSIM
    ssim_sigma: float | Sequence[float] = 1.0
    min_max: bool = True
    smoothing_sigma: float = 1.0
    median_size: int = 0
    erosion: int = 0
    polarity: Polarity | str = Polarity.DARK

    def __post_init__(self) -> None:
        choices = {"score": Score, "extent": Extent, "shrinkage": Shrinkage, "residual": Residual, "polarity": Polarity}
        for name, kind in choices.items():
            check_choice(kind, getattr(self, name), name)
        check_odd(self.window, "window")
        check_positive(self.regularization, "regularization")
        check_scales(self.ssim_sigma, "ssim_sigma")
        check_non_negative(self.smoothing_sigma, "smoothing_sigma")
        if self.median_size != 0:
            check_odd(self.median_size, "median_size")
        if not isinstance(self.erosion, int) or self.erosion < 0:
            raise InputError(f"`erosion` must be a whole number of voxels of at least 0, got {self.erosion!r}")


@dataclass(frozen=True)
class ScoreMaps:
    """Maps [S, H, W] of one case, each computed when it is asked for.

    Args:
        image: [S, H, W] in [0, 1].
        reconstructions: [K, S, H, W] in [0, 1].
        brain_mask: [S, H, W], bool.
        options: choices of the maps.
        healthy_error: mean m and standard deviation σ of the error in healthy people, [S, H, W], on the same grid. The
            covariance becomes Σ = AᵀA + diag(σ²) + λI and the difference d = x − μ − m; None for the paper's Σ.
    """

    image: torch.Tensor
    reconstructions: torch.Tensor
    brain_mask: torch.Tensor
    options: MapOptions = field(default_factory=MapOptions)
    healthy_error: HealthyError | None = None

    @cached_property
    def mean(self) -> torch.Tensor:
        """Mean of the K reconstructions."""
        return self.reconstructions.mean(dim=0)

    def mahalanobis(self, score: Score | str) -> torch.Tensor:
        """Return the Mahalanobis map; undefined values of the `reference` score (NaN) become 0."""
        o = self.options
        image, reconstructions, ridge = self.image, self.reconstructions, o.regularization
        if self.healthy is not None:
            # With all divided by √(σ² + λ), Σ is that of the scaled cloud plus the identity, and d · Σ⁻¹d is the same.
            bias, scale = self.healthy
            image, reconstructions, ridge = (image - bias) / scale, reconstructions / scale, 1.0
        raw = mahalanobis_map(
            image,
            reconstructions,
            self.brain_mask,
            score=score,
            extent=o.extent,
            window=o.window,
            regularization=ridge,
            shrinkage=o.shrinkage,
        )
        return torch.nan_to_num(raw, nan=0.0)

    @cached_property
    def healthy(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Mean m and scale √(σ² + λ) of the healthy error at the places of this brain, [S, H, W]."""
        if self.healthy_error is None:
            return None
        error = fit_to_brain(self.healthy_error, self.brain_mask)
        scale = (error.std.square() + self.options.regularization).sqrt()
        return error.mean.to(self.image), scale.to(self.image)

    def standardized(self) -> torch.Tensor:
        """Return |x − μ − m| / √(σ² + λ): the error by that of healthy people, without the covariance of the draws."""
        if self.healthy is None:
            return self._l1(self.mean) / self.options.regularization**0.5
        bias, scale = self.healthy
        return (self.image - self.mean - bias).abs() / scale * self.brain_mask

    def combine(self, distance: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        """Return the anomaly map of a distance map and the reconstruction that the residual is taken from."""
        o = self.options
        return anomaly_map(
            self.image,
            reconstruction,
            distance,
            self.brain_mask,
            residual=o.residual,
            min_max=o.min_max,
            smoothing_sigma=o.smoothing_sigma,
            median_size=o.median_size,
            erosion=o.erosion,
            ssim_sigma=o.ssim_sigma,
        )

    def _finish(self, raw: torch.Tensor) -> torch.Tensor:
        o = self.options
        return postprocess(raw * self.brain_mask, self.brain_mask, median_size=o.median_size, erosion=o.erosion)

    def _l1(self, reconstruction: torch.Tensor) -> torch.Tensor:
        return residual_map(self.image, reconstruction, residual=Residual.L1) * self.brain_mask

    def intensity(self) -> torch.Tensor:
        """Return the intensity, inverted for dark lesions: the baseline without any network."""
        dark = Polarity(self.options.polarity) == Polarity.DARK
        return self._finish(1 - self.image if dark else self.image)

    def get(self, name: str) -> torch.Tensor:
        """Return the map that `name`, one of `OUTPUT_NAMES`, stands for."""
        return _MAKERS[name](self)


def _score_maker(score: Score) -> Callable[[ScoreMaps], torch.Tensor]:
    return lambda maps: maps.combine(maps.mahalanobis(score), maps.mean)


_MAKERS: dict[str, Callable[[ScoreMaps], torch.Tensor]] = {
    "anomaly_map": lambda maps: maps.combine(maps.mahalanobis(maps.options.score), maps.mean),
    "mahalanobis_map": lambda maps: maps.mahalanobis(maps.options.score),
    "reconstruction": lambda maps: maps.mean,
    "uncertainty": lambda maps: maps.reconstructions.std(dim=0),
    "brain_mask": lambda maps: maps.brain_mask.float(),
    "intensity": ScoreMaps.intensity,
    "single_l1": lambda maps: maps._finish(maps._l1(maps.reconstructions[0])),
    "single": lambda maps: maps.combine(maps._l1(maps.reconstructions[0]), maps.reconstructions[0]),
    "mean_l1": lambda maps: maps._finish(maps._l1(maps.mean)),
    "mean": lambda maps: maps.combine(maps._l1(maps.mean), maps.mean),
    "mean_standardized": lambda maps: maps.combine(maps.standardized(), maps.mean),
    **{f"anomaly_map_{score}": _score_maker(score) for score in Score},
}
OUTPUT_NAMES = tuple(_MAKERS)
