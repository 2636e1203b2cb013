"""A picture of what a masked autoencoder reconstructs, in every validation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scripts.engines import MaskedPatchLoss
from scripts.errors import InputError
from scripts.files import replacing
from scripts.report.display import radiological_slice

__all__ = ["ReconstructionPicture", "draw_reconstructed"]

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
        InputError: if the three differ in shape or hold no slice.
    """
    slices, hidden, filled = (np.asarray(array, dtype=np.float64) for array in (image, masked, reconstructed))
    if slices.ndim != 3 or not len(slices) or not slices.shape == hidden.shape == filled.shape:
        shapes = ", ".join(str(array.shape) for array in (slices, hidden, filled))
        raise InputError(f"`image`, `masked` and `reconstructed` must be slices [N, H, W] of one shape, got {shapes}.")
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


class ReconstructionPicture:
    """Write one picture of slices from the first batch of a validation: input, visible patches, reconstructed.

    The slices are spread evenly over the batch. Of several processes the first one draws. Every validation replaces
    the picture.

    Args:
        path: the PNG file.
        loss: turns what the network returns into slices.
        num_slices: how many slices; fewer if the batch has fewer.

    Raises:
        InputError: if `num_slices` is below 1.
    """

    def __init__(self, path: str | Path, loss: MaskedPatchLoss, *, num_slices: int = 6) -> None:
        if num_slices < 1:
            raise InputError(f"`num_slices` must be at least 1, got {num_slices}.")
        self.path = path
        self.loss = loss
        self.num_slices = num_slices

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator that decollates its output."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), self)

    def __call__(self, engine: Engine) -> None:
        """Draw the picture."""
        if idist.get_rank() > 0:
            return
        output: Any = engine.state.output
        picks = torch.linspace(0, len(output) - 1, min(self.num_slices, len(output))).round().long().tolist()
        pred, label = (torch.stack([output[pick][key].detach() for pick in picks]).float() for key in ("pred", "label"))
        slices = torch.cat([label, self.loss.reconstruct(pred, label)], dim=1).cpu().numpy()
        draw_reconstructed(self.path, image=slices[:, 0], masked=slices[:, 1], reconstructed=slices[:, 2])
