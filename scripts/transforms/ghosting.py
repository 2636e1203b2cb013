"""Ghosting artefacts as augmentation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

__all__ = ["RandGhostingd", "add_ghosts"]


def add_ghosts(image: torch.Tensor, *, num_ghosts: int, intensity: float, axis: int) -> torch.Tensor:
    """Add the ghosts that periodic motion leaves along the phase-encoding axis.

    Every `num_ghosts`-th line of k-space is scaled by ``1 − intensity``, which adds shifted copies of the image; the
    central tenth of the lines is left alone, so that the mean contrast stays.

    Args:
        image: [C, H, W], real.
        num_ghosts: number of copies, at least 2.
        intensity: 0 (none) to 1.
        axis: spatial axis of the copies, 0 or 1.

    Returns:
        Image [C, H, W] in the range of the input.

    Raises:
        ValueError: if `num_ghosts`, `intensity` or `axis` is out of range.
    """
    if num_ghosts < 2:
        raise ValueError(f"`num_ghosts` must be at least 2, got {num_ghosts}.")
    if not 0 <= intensity <= 1:
        raise ValueError(f"`intensity` must be from 0 to 1, got {intensity}.")
    if axis not in (0, 1):
        raise ValueError(f"`axis` must be 0 or 1, got {axis}.")
    dim = axis + 1
    length = image.shape[dim]
    lines = torch.arange(length, device=image.device)
    weight = torch.ones(length, device=image.device)
    weight[(lines - length // 2) % num_ghosts == 0] = 1 - intensity
    weight[(lines - length // 2).abs() <= max(1, length // 20)] = 1
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))
    spectrum = spectrum * weight.reshape([-1 if d == dim else 1 for d in range(image.ndim)])
    ghosted = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real
    return ghosted.clamp(float(image.min()), float(image.max())).to(image.dtype)


class RandGhostingd(RandomizableTransform, MapTransform):
    """Add random ghosts to slices [C, H, W].

    Args:
        keys: slices.
        prob: probability of doing anything.
        num_ghosts: range of the number of copies, inclusive.
        intensity: range of their strength.

    Raises:
        ValueError: if a range is not within what `add_ghosts` takes, or runs backwards.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        prob: float = 0.5,
        num_ghosts: tuple[int, int] = (2, 6),
        intensity: tuple[float, float] = (0.1, 0.4),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        if not 2 <= num_ghosts[0] <= num_ghosts[1]:
            raise ValueError(f"`num_ghosts` must be a range from 2 on, got {num_ghosts}.")
        if not 0 <= intensity[0] <= intensity[1] <= 1:
            raise ValueError(f"`intensity` must be a range within 0 to 1, got {intensity}.")
        self.num_ghosts = num_ghosts
        self.intensity = intensity

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data`, ghosted with probability `prob`."""
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        copies = int(self.R.randint(self.num_ghosts[0], self.num_ghosts[1] + 1))
        strength = float(self.R.uniform(*self.intensity))
        axis = int(self.R.randint(2))
        for key in self.key_iterator(result):
            result[key] = add_ghosts(result[key], num_ghosts=copies, intensity=strength, axis=axis)
        return result
