"""Draw what a masked autoencoder reconstructs, in every validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from scripts.engines import MaskedPatchLoss
from scripts.report.masking_picture import draw_reconstructed

__all__ = ["ReconstructionPicture"]


class ReconstructionPicture:
    """Write one picture of slices from the first batch of a validation: input, visible patches, reconstructed.

    The slices are spread evenly over the batch. Of several processes the first one draws. Every validation replaces
    the picture.

    Args:
        path: the PNG file.
        loss: turns what the network returns into slices.
        num_slices: how many slices; fewer if the batch has fewer.

    Raises:
        ValueError: if `num_slices` is below 1.
    """

    def __init__(self, path: str | Path, loss: MaskedPatchLoss, *, num_slices: int = 6) -> None:
        if num_slices < 1:
            raise ValueError(f"`num_slices` must be at least 1, got {num_slices}.")
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
