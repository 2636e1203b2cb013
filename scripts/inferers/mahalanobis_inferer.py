"""The inferer that turns a scan into anomaly maps, and every map that one set of reconstructions gives, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.networks.schedulers import Scheduler
from monai.utils import convert_to_dst_type
from scripts.errors import InputError
from scripts.inferers.population_files import PopulationFiles
from scripts.inferers.reconstruction import ReconstructionSampler
from scripts.networks import ModalityWeights
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
from scripts.options import MapOptions, SamplingOptions
from scripts.options.choices import Polarity
from scripts.options.fields import unknown_option
from scripts.transforms.outputs import carried

__all__ = ["OUTPUT_NAMES", "MahalanobisInferer", "MapOptions", "Polarity", "ScoreMaps"]


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
            regularization=o.regularization,
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
            median_scaling=o.median_scaling,
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
_SAMPLER_FIELDS = {f.name for f in dataclasses.fields(ReconstructionSampler)}
_MAP_FIELDS = set(MapOptions.model_fields)


class MahalanobisInferer(Inferer):
    """Reconstruct a volume K times and score each voxel by its Mahalanobis distance to that cloud.

    Args:
        scheduler: diffusion scheduler, `DDPMScheduler(schedule="cosine", prediction_type="sample")` in the reference.
        outputs: names of the maps to return, in this order, as channels. `anomaly_map`, `mahalanobis_map`,
            `reconstruction` (mean of K), `uncertainty` (standard deviation over K), `brain_mask`; for comparison
            `anomaly_map_<score>` with one score each, and the baselines `intensity`, `single` and `mean` (the anomaly
            map with the L1 error of one reconstruction, or of the mean of K, in the place of the Mahalanobis map),
            `mean_standardized` (with the error of the mean over that in healthy subjects),
            `single_l1` and `mean_l1` (the L1 error alone).
        weights: what the network is loaded with where the input carries its modality (`CarryInMetad`), so that hosts
            which know one weights file use the right one; None leaves the network as it is.
        populations: statistics of healthy subjects, for the modality that the input carries and these weights; needed
            for the option `population`.
        sampling: how the reconstructions are made.
        map_options: choices of the maps.
        **options: instead of these two, or over them, their fields, or those of `ReconstructionSampler`.

    Raises:
        InputError: if an option or output is unknown or out of range.

    References:
        Behrendt et al., MICCAI 2024, doi:10.1007/978-3-031-72120-5_37, section 2.

    Examples:
        >>> from monai.networks.schedulers import DDPMScheduler
        >>> class Unchanged(torch.nn.Module):
        ...     def forward(self, x, timesteps, context):
        ...         return context
        >>> inferer = MahalanobisInferer(DDPMScheduler(), outputs=["reconstruction"], num_samples=2, progress=False)
        >>> scan = torch.rand(1, 1, 16, 16, 4)
        >>> bool(torch.allclose(inferer(scan, Unchanged()), scan, atol=1e-6))
        True
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        outputs: Sequence[str] = ("anomaly_map",),
        weights: ModalityWeights | None = None,
        populations: PopulationFiles | None = None,
        sampling: SamplingOptions | None = None,
        map_options: MapOptions | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        unknown = [name for name in outputs if name not in OUTPUT_NAMES]
        if unknown or not outputs:
            raise InputError(f"`outputs` must be some of {list(OUTPUT_NAMES)}, got {unknown or list(outputs)}.")
        for name in sorted(set(options) - _SAMPLER_FIELDS - _MAP_FIELDS):
            raise unknown_option(name, _SAMPLER_FIELDS | _MAP_FIELDS, mark="")
        self.outputs = list(outputs)
        self.weights, self.populations = weights, populations
        own = {name: options[name] for name in options if name in _SAMPLER_FIELDS}
        self.sampler = ReconstructionSampler(scheduler=scheduler, **({**dict(sampling or {}), **own}))
        chosen = {name: options[name] for name in options if name in _MAP_FIELDS}
        self.map_options = MapOptions(**{**dict(map_options or {}), **chosen})
        if self.map_options.population and (populations is None or weights is None):
            raise InputError("`population` must be false without `populations` and `weights`, got true.")

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: torch.nn.Module, brain_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the maps of a batch of volumes.

        The network is put into evaluation mode for the call, and each of its modules is left as it was found.

        Args:
            inputs: volumes [B, 1, H, W, D] in [0, 1], axial slices along D.
            network: a `ConditionedUNet`, or any network that is called as `network(x, timesteps, context)`.
            brain_mask: [B, 1, H, W, D]; if None, the one that the input carries (`CarryInMetad`), else the voxels that
                are not zero in it.

        Returns:
            [B, C, H, W, D], float32, one channel for each name in `outputs`; a MetaTensor if `inputs` is one, so that
            `Invertd` can take the maps back to the scan's grid.

        Raises:
            InputError: if shapes do not agree, or a batch carries several modalities.
            InputError: if the input is not finite or the mask of a volume is empty; before any volume is reconstructed.
        """
        if inputs.ndim != 5 or inputs.shape[1] != 1:
            raise InputError(f"`inputs` must be [B, 1, H, W, D], got shape {tuple(inputs.shape)}.")
        mask = _mask_of(inputs, brain_mask)
        if mask.shape != inputs.shape:
            raise InputError(f"`brain_mask` must have the shape {tuple(inputs.shape)}, got {tuple(mask.shape)}.")
        cases = list(zip(_plain(inputs), _plain(mask).to(inputs.device), strict=True))
        for volume, brain in cases:
            _check(volume, brain)
        modality = self._load_weights(inputs, network)
        population = self._population(inputs, modality)
        with _evaluating(network):
            maps = torch.stack([self._one(volume[0], network, brain[0], population) for volume, brain in cases])
        return convert_to_dst_type(maps, inputs, dtype=maps.dtype)[0]

    def _load_weights(self, inputs: torch.Tensor, network: torch.nn.Module) -> str | None:
        """Load the weights for the modality that the batch carries, and return that modality."""
        reported = carried(inputs, "modality")
        modalities = sorted({reported} if isinstance(reported, str) else set(reported or ()))
        if self.weights is None or not modalities:
            return None
        if len(modalities) > 1:
            raise InputError(f"a batch must hold scans of one modality, got {modalities}.")
        self.weights.put_into(network, modalities[0])
        return modalities[0]

    def _population(self, inputs: torch.Tensor, modality: str | None) -> PopulationStatistics | None:
        if not self.map_options.population or self.populations is None or self.weights is None:
            return None
        if modality is None:
            fix = "Carry it with CarryInMetad, or set population to false."
            raise InputError("the volume does not say its modality, which population statistics need", fix=fix)
        affine = inputs.affine if isinstance(inputs, MetaTensor) else None
        if affine is not None and affine.ndim == 3:  # of a batch, whose volumes lie on one grid
            affine = affine[0]
        return self.populations.of(
            modality,
            weights_sha256=self.weights.sha256(modality),
            shape=tuple(inputs.shape[2:]),
            affine=affine,
            num_components=self.map_options.population_components,
        )

    def _one(
        self,
        volume: torch.Tensor,
        network: torch.nn.Module,
        mask: torch.Tensor,
        population: PopulationStatistics | None,
    ) -> torch.Tensor:
        image, brain = volume.float().permute(2, 0, 1).contiguous(), mask.permute(2, 0, 1).contiguous()
        reconstructions = self.sampler(image, network, brain)
        maps = ScoreMaps(image, reconstructions, brain, self.map_options, population)
        return torch.stack([maps.get(name).permute(1, 2, 0).float() for name in self.outputs])


def _mask_of(inputs: torch.Tensor, brain_mask: torch.Tensor | None) -> torch.Tensor:
    given = carried(inputs, "brain_mask") if brain_mask is None else brain_mask
    if given is None:
        return inputs != 0
    # a host that makes a batch of one by image[None] leaves what the image carries without that axis
    return given[None] > 0 if brain_mask is None and given.ndim == inputs.ndim - 1 else given > 0


def _check(volume: torch.Tensor, mask: torch.Tensor) -> None:
    if not bool(torch.isfinite(volume).all()):
        raise InputError("the volume holds NaN or infinite values", fix="Replace them before inference.")
    if not bool(mask.any()):
        raise InputError("the brain mask is empty", fix="Give a mask with the brain in it, or an image that is not 0.")


@contextmanager
def _evaluating(network: torch.nn.Module) -> Iterator[None]:
    """Put the network into evaluation mode, then each of its modules back: a frozen encoder stays frozen."""
    found = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in found:
            module.training = training


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
