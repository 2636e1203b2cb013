"""How reconstructions differ from healthy scans, over a population: mean, spread and principal components.

The residual e = x − μ of a healthy subject is taken as e ~ N(m, BBᵀ + diag(σ²)), whose low rank lets the Mahalanobis
map hold the population's covariance without any P×P matrix. σ² is all of the spread, that of the components among it:
the directions B are those of the subjects at hand, and a covariance that is too wide along them does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scripts.errors import InputError, check_non_negative, check_volumes
from torch import Tensor

__all__ = ["PopulationFit", "PopulationStatistics", "check_components", "fill_from_nearest", "fit_to_brain"]

_HALF = 0.5  # share of the brains that makes a voxel the template's brain
_KNOWN = 0.01  # share of the subjects that a voxel's statistics need; below, the Gaussian's tail is all there is
_EXTENT = (1.0, 99.0)  # percentiles of a mask's coordinates; a few stray voxels do not move them
_SCALES = (0.7, 1.3)  # of a whole brain beside the template's; beyond it is a part of one
_CHUNK = 1 << 16  # voxels whose values over all subjects are multiplied at once


@dataclass(frozen=True)
class PopulationStatistics:
    """Statistics of scan − mean reconstruction over healthy subjects, on one grid.

    Attributes:
        mean: m, `[S, H, W]`, the image's unit.
        std: σ, `[S, H, W]`, >= 0, about that mean; all of the spread, that of the components among it.
        brain: `[S, H, W]`, share of the subjects whose brain covers the voxel, in [0, 1].
        components: B, `[r, S, H, W]`, the image's unit, by falling variance: standard deviation × direction.
    """

    mean: Tensor
    std: Tensor
    brain: Tensor
    components: Tensor

    def __post_init__(self) -> None:
        """Raise `InputError` for volumes that do not fit each other."""
        check_volumes(mean=self.mean, std=self.std, brain=self.brain)
        if self.components.ndim != 4 or self.components.shape[1:] != self.mean.shape:
            expected, got = ("r", *self.mean.shape), tuple(self.components.shape)
            raise InputError(f"`components` must have the shape {expected}, got {got}")

    def leading(self, count: int | None) -> PopulationStatistics:
        """Return the statistics with the first `count` components alone; None for all.

        Raises:
            InputError: if there are fewer.
        """
        if count is None:
            return self
        if not 0 <= count <= len(self.components):
            there = len(self.components)
            raise InputError(f"`population_components` must be from 0 to {there}, which were measured, got {count}")
        return PopulationStatistics(self.mean, self.std, self.brain, self.components[:count])

    def to(self, reference: Tensor) -> PopulationStatistics:
        """Return the statistics in the device and the precision of a tensor."""
        parts = (self.mean, self.std, self.brain, self.components)
        return PopulationStatistics(*(part.to(reference) for part in parts))


class PopulationFit:
    """Collect residuals of healthy subjects, and measure their statistics.

    They are kept in half precision, 1.5 MB a subject on the 2 mm grid.
    """

    def __init__(self) -> None:
        self._residuals: list[Tensor] = []  # NaN outside the brain

    @property
    def count(self) -> int:
        """Number of subjects so far."""
        return len(self._residuals)

    def add(self, residual: Tensor, brain_mask: Tensor) -> None:
        """Add one subject.

        Args:
            residual: scan − mean reconstruction, `[S, H, W]`, finite inside the brain.
            brain_mask: `[S, H, W]`, non-zero is brain.

        Raises:
            InputError: when a shape is not that of the subjects before, and for a mask without brain.
        """
        check_volumes(residual=residual, brain_mask=brain_mask)
        if self._residuals and self._residuals[0].shape != residual.shape:
            first = tuple(self._residuals[0].shape)
            raise InputError(f"subjects must lie on one grid, {first}, got {tuple(residual.shape)}")
        if not bool((brain_mask != 0).any()):
            raise InputError("`brain_mask` must hold at least one brain voxel, got none")
        inside = brain_mask.cpu() != 0
        self._residuals.append(torch.where(inside, residual.cpu().float(), torch.nan).half())

    def finish(
        self, *, smoothing_sigma: float, num_components: int = 0, component_sigma: float = 1.0
    ) -> PopulationStatistics:
        """Return the statistics; each subject is first stretched to the extent of the population's brain.

        Mean and spread are pooled over a Gaussian neighbourhood of each voxel, as few subjects know little about a
        single one. Voxels without a brain near them take the values of the nearest that has. The components are those
        of the smoothed residuals; the variance of noise, which the smaller half of the eigenvalues shows, is taken off
        each, since the directions are chosen to fit these subjects (probabilistic principal components).

        Args:
            smoothing_sigma: of mean and spread, voxels; 0 for none.
            num_components: r, fewer than the subjects less one; the first of more are the same.
            component_sigma: of the residuals before the components are found, voxels; 0 for none.

        Raises:
            InputError: for fewer than two subjects, a negative σ, and too many components.

        References:
            Tipping and Bishop 1999, doi:10.1111/1467-9868.00196, eq. 7–8.
        """
        check_non_negative(smoothing_sigma, "smoothing_sigma")
        check_non_negative(component_sigma, "component_sigma")
        check_components(num_components, self.count)
        stack = _aligned(self._residuals)
        number = (~stack.isnan()).sum(dim=0).double()
        mean, std, known = _moments(stack, number, smoothing_sigma)
        components = torch.zeros(num_components, *mean.shape)
        if num_components:
            components = _components(stack, mean, known, num_components, component_sigma)
        return PopulationStatistics(mean, std, (number / self.count).float(), components)


def check_components(num_components: int, count: int) -> None:
    """Raise `InputError` where `count` subjects are too few for statistics, or for so many components."""
    if count < 2:
        raise InputError(f"population statistics need at least 2 subjects, got {count}")
    most = count - 2  # the rest is what the noise is measured on
    if not 0 <= num_components <= most:
        where = f"from 0 to {most} for {count} subjects"
        raise InputError(f"`num_components` must be {where}, got {num_components}")


def _aligned(residuals: list[Tensor]) -> Tensor:
    """Return the residuals `[N, S, H, W]` with every brain stretched to the extent of most of them."""
    share = torch.stack([(~residual.isnan()).float() for residual in residuals]).mean(dim=0)
    target = _extent(share >= _HALF, "the brains of half of the subjects")
    found = []
    for residual in residuals:
        inside = ~residual.isnan()
        scale, offset = _stretch(source=_extent(inside, "brain_mask"), target=target)
        values = torch.stack([residual.float().nan_to_num(0.0), inside.float()])
        value, weight = resample_axes(values, scale, offset)
        found.append(torch.where(weight >= _HALF, value / weight.clamp(min=_HALF), torch.nan).half())
    return torch.stack(found)


def _moments(stack: Tensor, number: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return pooled mean and spread, filled beyond the brain, and where they are known."""
    first, second = torch.zeros_like(number), torch.zeros_like(number)
    for residual in stack:
        value = residual.double().nan_to_num(0.0)
        first += value
        second += value.square()
    weight, total, squares = (_blur(part.numpy(), sigma) for part in (number, first, second))
    enough = (weight > _KNOWN * len(stack)) & (number.numpy() > 0)
    weight = np.where(enough, weight, 1.0)
    centre = total / weight
    deviation = np.sqrt(np.maximum(squares / weight - centre**2, 0.0))
    known = torch.from_numpy(enough)
    mean, std = fill_from_nearest(torch.from_numpy(np.stack([centre, deviation])).float(), known)
    return mean, std, known


def _components(stack: Tensor, mean: Tensor, known: Tensor, count: int, sigma: float) -> Tensor:
    """Return the leading principal components of the smoothed residuals, filled beyond the brain."""
    rows = torch.empty(len(stack), int(known.sum()), dtype=torch.float16)
    for row, residual in zip(rows, stack, strict=True):
        there = (~residual.isnan()).double().numpy()
        centred = np.where(there > 0, residual.double().numpy() - mean.double().numpy(), 0.0)
        weight = np.maximum(_blur(there, sigma), _HALF)
        row.copy_(torch.from_numpy(_blur(centred, sigma) / weight)[known])
    rows -= rows.mean(dim=0, dtype=torch.float32).half()
    degrees = len(rows) - 1
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(_CHUNK, dim=1):
        wide = part.double()
        gram += wide @ wide.mT
    values, vectors = torch.linalg.eigh(gram / degrees)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    floor = values[degrees // 2 : degrees].mean()  # the smaller half, whatever the number that is kept
    # a direction of unit length is Rᵀu / √((N − 1) g); times the standard deviation that is left of it, √(g − floor)
    gain = ((values[:count] - floor).clamp(min=0) / (values[:count] * degrees).clamp(min=1e-300)).sqrt()
    basis = (vectors[:, :count] * gain).mT.float()
    found = torch.zeros(count, *mean.shape)
    found[:, known] = torch.cat([basis @ part.float() for part in rows.split(_CHUNK, dim=1)], dim=1)
    return fill_from_nearest(found, known)


def fit_to_brain(statistics: PopulationStatistics, brain_mask: Tensor) -> PopulationStatistics:
    """Stretch the statistics along each axis so that their brain gets the extent of this one.

    Scans that were aligned rigidly keep their own size, and statistics of the cortex must not fall outside of it. Along
    an axis on which the brain is less than 0.7 or more than 1.3 times the template's nothing is stretched: it is a part
    of a brain.

    Args:
        statistics: on the grid and the device of the mask.
        brain_mask: `[S, H, W]`, non-zero is brain.

    Returns:
        The statistics at the places of this brain; linear interpolation, edge values beyond the volume.

    Raises:
        InputError: for another shape and an empty mask.
    """
    check_volumes(**{"statistics.mean": statistics.mean, "brain_mask": brain_mask})
    own, template = _extent(brain_mask != 0, "brain_mask"), _extent(statistics.brain >= _HALF, "statistics.brain")
    scale, offset = _stretch(source=template, target=own)
    parts = torch.cat([torch.stack([statistics.mean, statistics.std, statistics.brain]), statistics.components])
    mean, std, brain, *components = resample_axes(parts, scale, offset)
    empty = statistics.components
    return PopulationStatistics(mean, std, brain, torch.stack(components) if components else empty)


def _stretch(*, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset that take places of the target's brain to those of the source's, by axis."""
    length = [np.maximum(high - low, 1e-9) for low, high in (target, source)]
    scale = length[1] / length[0]
    whole = (1 / scale > _SCALES[0]) & (1 / scale < _SCALES[1])
    scale = np.where(whole, scale, 1.0)
    return scale, np.where(whole, source[0] - scale * target[0], 0.0)


def resample_axes(volumes: Tensor, scale: np.ndarray, offset: np.ndarray) -> Tensor:
    """Read volumes `[C, S, H, W]` at scale × place + offset along each axis, linearly; edge values beyond.

    Each axis is a product with a matrix of two values a row, five times as fast as reading neighbours by index.
    """
    matrices = [_interpolation(volumes.shape[axis + 1], scale[axis], offset[axis]).to(volumes) for axis in range(3)]
    count, slices, height, width = volumes.shape
    found = torch.matmul(volumes.reshape(-1, width), matrices[2].mT).view(count, slices, height, width)
    found = torch.matmul(matrices[1], found)
    return torch.matmul(matrices[0], found.view(count, slices, -1)).view(count, slices, height, width)


def _interpolation(size: int, scale: float, offset: float) -> Tensor:
    """Return the matrix `[size, size]` of linear interpolation at scale × place + offset."""
    place = (torch.arange(size, dtype=torch.float64) * float(scale) + float(offset)).clamp(0, size - 1)
    low = place.floor().clamp(max=max(size - 2, 0))
    matrix = torch.zeros(size, size, dtype=torch.float64)
    rows = torch.arange(size)
    matrix[rows, low.long()] = 1 - (place - low)
    matrix[rows, (low.long() + 1).clamp(max=size - 1)] += place - low
    return matrix


def _blur(volume: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(volume, sigma, mode="constant") if sigma else volume


def fill_from_nearest(volumes: Tensor, known: Tensor) -> Tensor:
    """Return volumes `[..., S, H, W]` with the value of the nearest known voxel where there is none.

    Args:
        volumes: on the CPU.
        known: `[S, H, W]`, bool.
    """
    _, nearest = ndimage.distance_transform_edt(~known.numpy(), return_indices=True)
    slices, rows, columns = torch.from_numpy(nearest).long()
    return volumes[..., slices, rows, columns]


def _extent(mask: Tensor, name: str) -> np.ndarray:
    """Return the lowest and the highest place of a mask along each axis, voxels, [2, 3]."""
    if not bool(mask.any()):
        raise InputError(f"`{name}` must hold at least one brain voxel, got none")
    return np.stack([_place_percentiles(mask.sum(dim=[a for a in range(3) if a != axis])) for axis in range(3)], axis=1)


def _place_percentiles(counts: Tensor) -> np.ndarray:
    """Return percentiles of the places of voxels along an axis, from how many there are at each: `np.percentile`."""
    below = np.cumsum(counts.cpu().numpy())  # a handful of numbers, whatever the device
    ranks = np.asarray(_EXTENT) / 100 * (below[-1] - 1)
    first, second = (np.searchsorted(below, whole, side="right") for whole in (np.floor(ranks), np.ceil(ranks)))
    return np.asarray(first + (ranks - np.floor(ranks)) * (second - first), dtype=np.float64)
