"""A picture of masked autoencoding: slices as they are, what the network saw of them, and what it reconstructed."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from scripts.files import replacing
from scripts.report.display import radiological_slice

__all__ = ["draw_reconstructed"]

_ROWS = ("input", "visible", "reconstructed")
_CELL_INCHES = 1.6
_DPI = 100
_LABEL_INCHES = 0.3
_MASKED_GREY = 0.45


def draw_reconstructed(
    path: str | os.PathLike[str], *, image: ArrayLike, masked: ArrayLike, reconstructed: ArrayLike
) -> None:
    """Draw slices as PNG, one a column: the input, its visible patches, and the slice with these reconstructed.

    Args:
        path: the PNG file; replaced as a whole.
        image: axial slices [N, H, W] of a RAS volume, H from left to right and W from back to front.
        masked: above 0 where masked, [N, H, W].
        reconstructed: the slices with their masked pixels reconstructed, [N, H, W]; shown on the grey scale of `image`.

    Raises:
        ValueError: if the three differ in shape or hold no slice.
    """
    slices, hidden, filled = (np.asarray(array, dtype=np.float64) for array in (image, masked, reconstructed))
    if slices.ndim != 3 or not len(slices) or not slices.shape == hidden.shape == filled.shape:
        shapes = ", ".join(str(array.shape) for array in (slices, hidden, filled))
        raise ValueError(f"`image`, `masked` and `reconstructed` must be slices [N, H, W] of one shape, got {shapes}.")
    low, high = float(slices.min()), float(slices.max())
    seen = np.where(hidden > 0, low + _MASKED_GREY * (high - low), slices)
    size = (_LABEL_INCHES + _CELL_INCHES * len(slices), 3 * _CELL_INCHES * slices.shape[2] / slices.shape[1])
    figure = Figure(figsize=size, facecolor="black")
    grid = {"left": _LABEL_INCHES / size[0], "right": 1, "bottom": 0, "top": 1, "wspace": 0.02, "hspace": 0.02}
    cells = figure.subplots(3, len(slices), squeeze=False, gridspec_kw=grid)
    for row, (name, volume) in enumerate(zip(_ROWS, (slices, seen, filled), strict=True)):
        for column in range(len(slices)):
            picture = radiological_slice(np.moveaxis(volume, 0, -1), column)
            cells[row, column].imshow(picture, cmap="gray", vmin=low, vmax=high)
            cells[row, column].axis("off")
        middle = 1 - (row + 0.5) / 3
        figure.text(0.1 / size[0], middle, name, color="white", rotation=90, va="center", fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, facecolor="black", metadata={"Software": None})
