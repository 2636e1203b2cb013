"""Healthy scans turned into what the bundle has no weights for: other contrasts, noise, wrong places."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["CONTRASTS", "misplaced", "noises", "recoloured"]

# Brightness of fluid, grey and white matter, and the noise's deviation.
CONTRASTS = {
    "FLAIR": ((12, 100, 80), 2),
    "FLAIR, little contrast": ((25, 100, 90), 3),
    "CT, window 0 to 80 HU": ((8, 37, 29), 4),
    "CT, little contrast": ((10, 36, 32), 4),
    "CT without grey and white matter": ((8, 35, 35), 4),
    "CT with its offset of 1024": ((1032, 1061, 1053), 4),
    "proton density": ((92, 100, 78), 2),
}


def recoloured(
    image: NDArray, brain: NDArray[np.bool_], *, modality: str, levels: tuple[float, ...], noise: float, seed: int = 0
) -> NDArray[np.float32]:
    """Give fluid, grey and white matter of a T1 or T2 other brightnesses, whatever lies between them accordingly.

    Args:
        image: [H, W, D].
        brain: its mask; 0 outside.
        modality: t1 or t2, which says in what order the tissues' brightnesses come.
        levels: brightness of fluid, grey and white matter.
        noise: deviation of what is added, smoothed a little.
        seed: of the noise.
    """
    values = image[brain]
    centres = np.percentile(values, [10, 50, 85])
    for _ in range(30):  # Lloyd's algorithm in one dimension
        number = np.searchsorted((centres[:-1] + centres[1:]) / 2, values)
        centres = np.array([values[number == k].mean() for k in range(3)])
    order = levels if modality == "t1" else levels[::-1]
    grain = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(image.shape), 0.6)
    return np.where(brain, np.interp(image, centres, order) + noise * grain / grain.std(), 0).astype(np.float32)


def noises(brain: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield noise in a brain's mask, from white to lobes."""
    for sigma in (0.0, 1.0, 2.0, 4.0):
        grain = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(brain.shape), sigma)
        name = f"noise smoothed by {2 * sigma:g} mm" if sigma else "white noise"
        yield name, np.where(brain, 100 + 20 * grain / grain.std(), 0).astype(np.float32)


def misplaced(image: NDArray, brain: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Yield a scan on the template grid, and its mask, where they do not belong."""
    for name, axes in (("upside down", (2,)), ("front and back swapped", (1,)), ("turned by 180°", (1, 2))):
        yield name, np.flip(image, axes), np.flip(brain, axes)
    yield "20 mm off", np.roll(image, 10, 1), np.roll(brain, 10, 1)
    turned = [ndimage.rotate(a, 30, axes=(1, 2), reshape=False, order=1) for a in (image, brain.astype(np.float32))]
    yield "nodding by 30°", turned[0], turned[1] > 0.5
