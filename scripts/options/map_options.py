"""The options of the reconstructions and of the maps made of them: the one place that declares them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from scripts.options.choices import Extent, NoiseKind, Polarity, Residual, Score
from scripts.options.fields import Flag, Number, OddOrNone, Options, Seed, Whole, none_or, one_or_several, option

__all__ = ["MapOptions", "SamplingOptions"]

_GROUP = "the map"
_NOT_SETTINGS = {"polarity"}
_SAMPLING_SETTINGS = {"num_samples", "timestep", "noise", "shared_noise"}
_Components = Annotated[Whole, Field(ge=0, le=1000)]
_Step = Annotated[Whole, Field(ge=0, le=999_999)]
_Scale = Annotated[Number, Field(gt=0, le=20)]


class SamplingOptions(Options):
    """How a scan is reconstructed K times."""

    num_samples: Whole = option("K, reconstructions of each slice", group=_GROUP, default=10, ge=2, le=10_000)
    timestep: one_or_several(_Step) = option(  # type: ignore[valid-type]
        "diffusion step that the noise goes to; with several, sample k uses the (k modulo n)-th",
        group=_GROUP,
        default=500,
    )
    noise: NoiseKind = option("its distribution", group=_GROUP, default=NoiseKind.SIMPLEX)
    shared_noise: Flag = option("one noise field for all slices of a reconstruction", group=_GROUP, default=True)
    seed: Seed = option("of the noise; the same seed gives the same map", group=_GROUP, default=3141)
    memory_budget_mb: Number = option(
        "what the activations of one forward pass may take",
        unit="MiB",
        group="running",
        default=512.0,
        gt=0,
        le=1_000_000,
    )
    progress: Flag = option("show progress bars", group="running", default=True)

    def settings(self) -> dict[str, Any]:
        """Return what thresholds and results are kept with, as JSON holds it."""
        return self.model_dump(mode="json", include=_SAMPLING_SETTINGS)


class MapOptions(Options):
    """Choices of the maps; the defaults are the paper's, `map` in inference.yaml holds what is shipped.

    A new option is a field here and, where what is shipped differs from its default, a line of `map` there. The
    inferer, the settings that thresholds and results are kept with, the command line and the ablation take it from
    here.

    Raises:
        InputError: if one is unknown or out of range, before any work is done.

    Examples:
        >>> MapOptions(erosion=2).erosion
        2
        >>> MapOptions(residual="l3")
        Traceback (most recent call last):
        scripts.errors.InputError: `residual` must be one of ssim, l1, l2, none, got 'l3'. For example --residual ssim
    """

    score: Score = option("of the Mahalanobis map", group=_GROUP, default=Score.REFERENCE)
    extent: Extent = option("pixels that share a covariance matrix", group=_GROUP, default=Extent.SLICE)
    regularization: Number = option("λ", unit="squared intensity", group=_GROUP, default=1e-2, gt=0, le=1_000_000)
    residual: Residual = option("what the Mahalanobis map is multiplied by", group=_GROUP, default=Residual.SSIM)
    ssim_sigma: one_or_several(_Scale) = option(  # type: ignore[valid-type]
        "window of the SSIM; several for the mean over these scales", unit="voxels", group=_GROUP, default=1.0
    )
    min_max: Flag = option("scale the Mahalanobis map of a volume to [0, 1]", group=_GROUP, default=True)
    median_scaling: Flag = option(
        "divide the anomaly map by its own median in the brain, so that one threshold serves many scanners",
        group=_GROUP,
        default=False,
    )
    smoothing_sigma: Number = option(
        "of the Mahalanobis map; 0 for none", unit="voxels", group=_GROUP, default=1.0, ge=0, le=20
    )
    median_size: OddOrNone = option("edge of the 3D median filter; 0 for none", unit="voxels", group=_GROUP, default=0)
    erosion: Whole = option("taken off the brain mask; 0 for none", unit="voxels", group=_GROUP, default=0, ge=0, le=20)
    population: Flag = option(
        "add the statistics of healthy subjects to the covariance, and their mean to the reconstruction",
        group=_GROUP,
        default=False,
    )
    population_components: none_or(_Components) = option(  # type: ignore[valid-type]
        "r, principal components of the population in the covariance; none for all, 0 for its mean and spread alone",
        group=_GROUP,
        default=None,
    )
    cloud_covariance: Number = option(
        "weight of the reconstructions' own covariance; 0 leaves it out", group=_GROUP, default=1.0, ge=0, le=1_000_000
    )
    polarity: Polarity = option(
        "whether the baseline `intensity` looks for dark or for bright lesions", group=_GROUP, default=Polarity.DARK
    )

    def settings(self) -> dict[str, Any]:
        """Return what thresholds and results are kept with, as JSON holds it."""
        return self.model_dump(mode="json", exclude=_NOT_SETTINGS)
