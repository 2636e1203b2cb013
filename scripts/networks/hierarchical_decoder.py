"""The light decoder of masked autoencoding: from feature maps with holes back to the slice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution, UpSample
from torch import Tensor, nn

from scripts.ops import gather_visible, resize_patch_mask, scatter_visible

__all__ = ["Densify", "HierarchicalDecoder"]

_LEAST_WIDTH = 8


class Densify(nn.Module):
    """Fill the masked positions of a feature map with a learnt token, and bring it to the decoder's width.

    Visible positions pass a batch norm over themselves first, so that token and features have one scale; a 3×3
    convolution then projects both.

    Args:
        in_channels: channels of the feature map, and length of the token.
        out_channels: the decoder's width at this level.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels)
        self.mask_token = nn.Parameter(torch.zeros(in_channels))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.projection = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, features: Tensor, visible: Tensor) -> Tensor:
        """Return maps [B, out_channels, H, W] from maps [B, in_channels, H, W] and a patch mask [B, gh, gw]."""
        mask = resize_patch_mask(visible, features.shape[-2:])
        values = self.norm(gather_visible(features, mask))
        return self.projection(scatter_visible(values, mask, fill=self.mask_token))


class HierarchicalDecoder(nn.Module):
    """Reconstruct slices from the densified feature maps of all levels, as a U-Net's decoder does.

    From the deepest level on: up-sample by 2 (transposed convolution), two 3×3 convolutions with batch norm and ReLU,
    add the densified map of the next level; after the shallowest level, further such blocks up to the resolution of the
    slice and a 1×1 convolution. The width halves with every block, down to 8 channels.

    Args:
        channels: channels of the feature maps, from the shallowest to the deepest.
        strides: pixels a position of each stands for: powers of two, each twice the one before.
        out_channels: channels of the slices.
        width: channels at the deepest level; None takes those of the deepest map, at most 512.

    Raises:
        ValueError: if `width` is below 1 or the levels do not agree.

    References:
        Tian et al., ICLR 2023, arXiv:2301.03580, section 3.2.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], *, out_channels: int = 1, width: int | None = None
    ) -> None:
        super().__init__()
        width = min(channels[-1], 512) if width is None else width
        if width < 1:
            raise ValueError(f"`width` must be at least 1, got {width}.")
        if list(strides) != [strides[0] << level for level in range(len(channels))]:
            raise ValueError(f"`strides` must double from each of {len(channels)} levels to the next, got {strides}.")
        num_blocks = strides[-1].bit_length() - 1
        widths = [max(width >> block, min(width, _LEAST_WIDTH)) for block in range(num_blocks + 1)]
        self.densify = nn.ModuleList(Densify(*pair) for pair in zip(reversed(channels), widths, strict=False))
        self.blocks = nn.ModuleList(_up_block(*pair) for pair in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], out_channels, kernel_size=1)

    def forward(self, features: Sequence[Tensor], visible: Tensor) -> Tensor:
        """Reconstruct slices.

        Args:
            features: maps [B, C, H/stride, W/stride], from the shallowest to the deepest; masked positions are not
                looked at.
            visible: boolean patch mask [B, gh, gw].

        Returns:
            Slices [B, out_channels, H, W].
        """
        levels = [fill(maps, visible) for fill, maps in zip(self.densify, reversed(features), strict=True)]
        x = levels[0]
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number < len(levels):
                x = x + levels[number]
        return self.head(x)


def _up_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Up-sample by 2, then two 3×3 convolutions with batch norm and ReLU."""
    layers: list[nn.Module] = [UpSample(2, in_channels, out_channels, scale_factor=2, mode="deconv")]
    for _ in range(2):
        layers.append(
            Convolution(2, out_channels, out_channels, act="RELU", norm="BATCH", adn_ordering="NA", bias=False)
        )
    return nn.Sequential(*layers)
