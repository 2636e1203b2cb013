"""SparK: pretrain a convolutional encoder by reconstructing the masked patches of slices."""

from __future__ import annotations

from typing import Any

from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

from scripts.networks.hierarchical_decoder import HierarchicalDecoder
from scripts.networks.sparse_encoder import SparseEncoder
from scripts.ops import patch_grid

__all__ = ["MaskedAutoencoder"]


class MaskedAutoencoder(nn.Module):
    """Reconstruct slices from their visible patches: a sparse encoder, and a light decoder that training throws away.

    Args:
        encoder: a 2D `ResNet` of MONAI with batch norm. It is trained in place and without its head `fc`, which is
            taken off; its state dict is what `load_encoder` reads.
        decoder_width: channels of the decoder at its deepest level; None takes the encoder's, at most 512.

    Attributes:
        patch_size: side of a patch in pixels, the encoder's total stride.

    Raises:
        ValueError: as `SparseEncoder` and `HierarchicalDecoder`.

    References:
        Tian et al., Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked Modeling, ICLR 2023,
        arXiv:2301.03580.
    """

    def __init__(self, encoder: ResNet, *, decoder_width: int | None = None) -> None:
        super().__init__()
        self.sparse_encoder = SparseEncoder(encoder)
        self.patch_size = self.sparse_encoder.patch_size
        weight: Any = encoder.conv1.weight
        self.decoder = HierarchicalDecoder(
            self.sparse_encoder.channels, self.sparse_encoder.strides, out_channels=weight.shape[1], width=decoder_width
        )

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Reconstruct slices.

        Args:
            x: slices [B, 1, H, W] in [−1, 1]; masked pixels are not looked at, whatever they hold.
            visible: boolean patch mask [B, H/patch_size, W/patch_size], True where visible.

        Returns:
            Slices [B, 1, H, W]; what a patch's values mean is the loss's choice.

        Raises:
            InputError: if H or W is not a multiple of `patch_size`.
            ValueError: if the mask has another shape.
        """
        expected = (x.shape[0], *patch_grid(x.shape[-2:], self.patch_size))
        if tuple(visible.shape) != expected:
            raise ValueError(f"`visible` must have the shape {expected}, got {tuple(visible.shape)}.")
        return self.decoder(self.sparse_encoder(x, visible), visible)
