"""Files of population statistics, one a modality, that belong to certain weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scripts.errors import InputError
from scripts.files import file_sha256, replacing
from scripts.networks import read_checkpoint
from scripts.ops import PopulationStatistics, fill_from_nearest

__all__ = ["PopulationFile", "PopulationFiles", "population_path", "read_population", "save_population"]

FORMAT = 1
_KEYS = frozenset({"format", "about", "affine", "brain", "mean", "std", "components"})
_FIX = "Measure them on healthy scans with population.yaml, or set population to false."
_AGAIN = "Measure them again with population.yaml."
_SAME_MM = 1e-3


@dataclass(frozen=True)
class PopulationFile:
    """What a file holds.

    Attributes:
        statistics: on the grid that they were measured on.
        affine: float64 [4, 4], voxels [H, W, D] to RAS mm.
        about: `weights_sha256`, `modality`, `num_subjects`, `datasets` (name, split, subjects, licence, citation) and
            `settings` of the reconstructions and of the fit.
    """

    statistics: PopulationStatistics
    affine: torch.Tensor
    about: Mapping[str, Any]


def population_path(folder: str | Path, modality: str) -> Path:
    """Return where a modality's population statistics lie.

    Examples:
        >>> population_path("models", "t1").as_posix()
        'models/population_t1.pt'
    """
    return Path(folder) / f"population_{modality}.pt"


def save_population(path: str | Path, content: PopulationFile) -> None:
    """Write population statistics as a torch file that `weights_only` loading reads, under a temporary name first.

    Half precision, and only voxels that are brain in some subject: 0.5 MB for each volume of the 2 mm grid.
    """
    statistics = content.statistics
    inside = statistics.brain > 0
    parts = {
        "format": FORMAT,
        "about": dict(content.about),
        "affine": torch.as_tensor(content.affine, dtype=torch.float64),
        "brain": statistics.brain.half(),
        "mean": statistics.mean[inside].half(),
        "std": statistics.std[inside].half(),
        "components": statistics.components[:, inside].half(),
    }
    with replacing(Path(path)) as temporary:
        torch.save(parts, temporary)


def read_population(path: str | Path) -> PopulationFile:
    """Read population statistics, float32.

    Raises:
        InputError: if the file is missing, cannot be read or holds something else; nothing in it is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("there are no population statistics here", path=path, fix=_FIX)
    parts = read_checkpoint(path)
    if not isinstance(parts, Mapping) or set(parts) != _KEYS or parts["format"] != FORMAT:
        raise InputError("it holds no population statistics of this version", path=path, fix=_AGAIN)
    try:
        brain = parts["brain"].float()
        inside = brain > 0
        values = torch.cat([torch.stack([parts["mean"], parts["std"]]), parts["components"]]).float()
        volumes = torch.zeros(len(values), *brain.shape)
        volumes[:, inside] = values
        mean, std, *_ = volumes = fill_from_nearest(volumes, inside)
        statistics = PopulationStatistics(mean, std, brain, volumes[2:])
    except (RuntimeError, AttributeError, TypeError, IndexError) as error:
        what = f"its parts do not fit each other ({type(error).__name__})"
        raise InputError(what, path=path, fix=_AGAIN) from error
    if not bool(torch.isfinite(volumes).all()):
        raise InputError("it holds values that are not finite", path=path, fix=_AGAIN)
    return PopulationFile(statistics, parts["affine"], parts["about"])


class PopulationFiles:
    """Know the population statistics of each modality, for the weights that they were measured with.

    Args:
        folder: holds `population_t1.pt`, `population_t2.pt` or one of them, or none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._read: dict[str, PopulationFile] = {}
        self._placed: tuple[tuple[Any, ...], PopulationStatistics] | None = None

    def checksums(self, *modalities: str) -> dict[str, str]:
        """Return the SHA-256 of the files, `{"population_t1": …}`, for the settings that thresholds hold for.

        Args:
            modalities: t1, t2 or both; those without a file are left out.
        """
        paths = {f"population_{modality}": population_path(self.folder, modality) for modality in modalities}
        return {name: file_sha256(path) for name, path in paths.items() if path.is_file()}

    def of(
        self,
        modality: str,
        *,
        weights_sha256: str,
        shape: tuple[int, ...],
        affine: torch.Tensor | None = None,
        num_components: int | None,
    ) -> PopulationStatistics:
        """Return the population statistics on a grid.

        Args:
            modality: t1 or t2.
            weights_sha256: of the network in use.
            shape: of the grid, [H, W, D].
            affine: [4, 4] of the grid, RAS mm; without it only a grid of the file's own shape is served.
            num_components: the leading components to return; None for all.

        Raises:
            InputError: if there is no such file, it is damaged, belongs to other weights, has fewer components, or is
                on another grid where no affine is given.
        """
        path = population_path(self.folder, modality)
        if modality not in self._read:
            self._read[modality] = read_population(path)
        content = self._read[modality]
        if content.about.get("weights_sha256") != weights_sha256:
            raise InputError("these population statistics were measured with other weights", path=path, fix=_FIX)
        own = content.statistics.mean.permute(1, 2, 0).shape
        if affine is None and tuple(own) != tuple(shape):
            what = f"the population statistics have {list(own)} voxels, the scan {list(shape)}"
            raise InputError(what, path=path, fix="Give the scan's affine.")
        place = None if affine is None else tuple(torch.as_tensor(affine, dtype=torch.float64).flatten().tolist())
        key = (modality, tuple(shape), place, num_components)
        if self._placed is None or self._placed[0] != key:
            self._placed = (key, _on_grid(content, num_components, shape, affine))
        return self._placed[1]


def _on_grid(
    content: PopulationFile, num_components: int | None, shape: tuple[int, ...], affine: torch.Tensor | None
) -> PopulationStatistics:
    statistics = content.statistics.leading(num_components)
    if affine is None:
        return statistics
    target = torch.as_tensor(affine, dtype=torch.float64).cpu()
    same_shape = tuple(statistics.mean.permute(1, 2, 0).shape) == tuple(shape)
    if same_shape and torch.allclose(target, content.affine, atol=_SAME_MM):
        return statistics
    parts = torch.cat([torch.stack([statistics.mean, statistics.std, statistics.brain]), statistics.components])
    volumes = MetaTensor(parts.permute(0, 2, 3, 1).contiguous(), affine=content.affine)
    resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False)  # 1.5.2 misplaces with True
    placed = cast(MetaTensor, resample(volumes, dst_affine=target, spatial_size=tuple(shape))).as_tensor()
    placed = placed.permute(0, 3, 1, 2).contiguous().float()
    return PopulationStatistics(placed[0], placed[1].clamp(min=0), placed[2], placed[3:])
