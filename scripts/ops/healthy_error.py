"""How a network's reconstructions differ from healthy scans, voxel by voxel on the template: mean and spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from scripts.errors import InputError
from scripts.ops.checks import check_non_negative, check_volumes

__all__ = ["HealthyError", "HealthyErrorSum", "fit_to_brain"]

_HALF = 0.5  # share of the brains that makes a voxel the template's brain
_EXTENT = (1.0, 99.0)  # percentiles of a mask's coordinates; a few stray voxels do not move them
_SCALES = (0.7, 1.3)  # of a whole brain beside the template's; beyond it is a part of one


@dataclass(frozen=True)
class HealthyError:
    """Statistics of scan − mean reconstruction over healthy people.

    Attributes:
        mean: `[S, H, W]`, the image's unit.
        std: `[S, H, W]`, >= 0, about that mean.
        brain: `[S, H, W]`, share of the people whose brain covers the voxel, in [0, 1].
    """

    mean: Tensor
    std: Tensor
    brain: Tensor

    def __post_init__(self) -> None:
        """Raise `InputError` for volumes that do not fit each other."""
        check_volumes(mean=self.mean, std=self.std, brain=self.brain)


class HealthyErrorSum:
    """Add up errors of healthy scans, one at a time, in the memory of three volumes."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: list[Tensor] = []

    def add(self, difference: Tensor, brain_mask: Tensor) -> None:
        """Add one scan.

        Args:
            difference: scan − mean reconstruction, `[S, H, W]`, finite inside the brain.
            brain_mask: `[S, H, W]`, non-zero is brain.

        Raises:
            InputError: when a shape is not that of the scans before.
        """
        check_volumes(difference=difference, brain_mask=brain_mask)
        mask = brain_mask != 0
        error = torch.where(mask, difference.double(), 0.0)
        parts = [mask.double(), error, error.square()]
        if self._sums and self._sums[0].shape != mask.shape:
            raise InputError(f"scans must lie on one grid, {tuple(self._sums[0].shape)}, got {tuple(mask.shape)}")
        self._sums = [old + new for old, new in zip(self._sums, parts, strict=True)] if self._sums else parts
        self.count += 1

    def finish(self, *, smoothing_sigma: float) -> HealthyError:
        """Return the statistics, pooled over a Gaussian neighbourhood of each voxel.

        Few people know little about a single voxel; its neighbours help. Voxels without a brain near them take the
        values of the nearest one that has.

        Args:
            smoothing_sigma: of the neighbourhood, voxels; 0 for none.

        Raises:
            InputError: for fewer than two scans or a negative `smoothing_sigma`.
        """
        if self.count < 2:
            raise InputError(f"healthy errors need at least 2 scans, got {self.count}")
        check_non_negative(smoothing_sigma, "smoothing_sigma")
        number, first, second = (_blur(part.numpy(), smoothing_sigma) for part in self._sums)
        known = number > 0.01 * self.count  # below, the Gaussian's tail is all there is
        number = np.where(known, number, 1.0)
        mean = first / number
        std = np.sqrt(np.maximum(second / number - mean**2, 0.0))
        _, nearest = ndimage.distance_transform_edt(~known, return_indices=True)
        mean, std = (volume[tuple(nearest)] for volume in (mean, std))
        brain = self._sums[0] / self.count
        return HealthyError(torch.from_numpy(mean).float(), torch.from_numpy(std).float(), brain.float())


def fit_to_brain(error: HealthyError, brain_mask: Tensor) -> HealthyError:
    """Stretch the statistics along each axis so that their brain gets the extent of this one.

    Scans that were aligned rigidly keep their own size, and statistics of the cortex must not fall outside of it. Along
    an axis on which the brain is less than 0.7 or more than 1.3 times the template's nothing is stretched: it is a part
    of a brain.

    Args:
        error: on the grid of the mask.
        brain_mask: `[S, H, W]`, non-zero is brain; on any device.

    Returns:
        The statistics at the places of this brain; linear interpolation, edge values beyond the volume.

    Raises:
        InputError: for another shape and an empty mask.
    """
    check_volumes(**{"error.mean": error.mean, "brain_mask": brain_mask.to(error.mean.device)})
    own, template = _extent(brain_mask != 0, "brain_mask"), _extent(error.brain >= _HALF, "error.brain")
    length = [np.maximum(high - low, 1e-9) for low, high in (own, template)]
    scale = length[1] / length[0]
    whole = (1 / scale > _SCALES[0]) & (1 / scale < _SCALES[1])
    scale = np.where(whole, scale, 1.0)
    offset = np.where(whole, template[0] - scale * own[0], 0.0)

    def moved(volume: Tensor) -> Tensor:
        found = ndimage.affine_transform(volume.cpu().numpy(), scale, offset=offset, order=1, mode="nearest")
        return torch.from_numpy(found).to(volume)

    return HealthyError(moved(error.mean), moved(error.std), moved(error.brain))


def _blur(volume: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(volume, sigma, mode="constant") if sigma else volume


def _extent(mask: Tensor, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest place of a mask along each axis, voxels."""
    places = mask.nonzero().cpu().numpy()
    if not len(places):
        raise InputError(f"`{name}` must hold at least one brain voxel, got none")
    low, high = np.percentile(places, _EXTENT, axis=0)
    return low, high
