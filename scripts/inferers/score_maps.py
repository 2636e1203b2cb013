"""Every map that one set of reconstructions gives, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch

from scripts.errors import InputError
from scripts.ops import (
    PopulationStatistics,
    Residual,
    Score,
    anomaly_map,
    fit_to_brain,
    mahalanobis_map,
    postprocess,
    residual_map,
)
from scripts.options import MapOptions
from scripts.options.choices import Polarity

__all__ = ["OUTPUT_NAMES", "MapOptions", "Polarity", "ScoreMaps"]


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
