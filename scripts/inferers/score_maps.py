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
    PopulationStatistics,
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
        population: add the statistics of healthy subjects to the covariance, and their mean to the reconstruction.
        population_components: r, principal components of the population in the covariance; 0 for mean and spread alone,
            None for all that were measured.
        cloud_covariance: weight of the reconstructions' own covariance; 0 leaves it out.
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
    population: bool = False
    population_components: int | None = None
    cloud_covariance: float = 1.0
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
        check_non_negative(self.cloud_covariance, "cloud_covariance")
        count = self.population_components
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            raise InputError(f"`population_components` must be None or a whole number of at least 0, got {count!r}")
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
        population: statistics of healthy subjects on the same grid, for options that use them; None else.

    Raises:
        InputError: if the options use statistics and there are none.
    """

    image: torch.Tensor
    reconstructions: torch.Tensor
    brain_mask: torch.Tensor
    options: MapOptions = field(default_factory=MapOptions)
    population: PopulationStatistics | None = None

    def __post_init__(self) -> None:
        if self.options.population and self.population is None:
            raise InputError("`population` must be statistics of healthy subjects for maps with them, got None")

    @cached_property
    def mean(self) -> torch.Tensor:
        """Mean of the K reconstructions."""
        return self.reconstructions.mean(dim=0)

    def mahalanobis(self, score: Score | str) -> torch.Tensor:
        """Return the Mahalanobis map; undefined values of the `reference` score (NaN) become 0."""
        o = self.options
        raw = mahalanobis_map(
            self.image,
            self.reconstructions,
            self.brain_mask,
            score=score,
            extent=o.extent,
            window=o.window,
            regularization=o.regularization,
            shrinkage=o.shrinkage,
            population=self.healthy,
            cloud_covariance=o.cloud_covariance,
        )
        return torch.nan_to_num(raw, nan=0.0)

    @cached_property
    def healthy(self) -> PopulationStatistics | None:
        """The population's statistics at the places of this brain, None where they are not used."""
        if self.population is None or not self.options.population:
            return None
        statistics = self.population.leading(self.options.population_components)
        return fit_to_brain(statistics.to(self.image), self.brain_mask)

    def standardized(self) -> torch.Tensor:
        """Return |x − μ − m| / √(σ² + λ): the error by that of healthy subjects, without any covariance."""
        if self.healthy is None:
            return self._l1(self.mean) / self.options.regularization**0.5
        scale = (self.healthy.std.square() + self.options.regularization).sqrt()
        return (self.image - self.mean - self.healthy.mean).abs() / scale * self.brain_mask

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
