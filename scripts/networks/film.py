"""Scale-and-shift conditioning (FiLM) for the residual blocks of a diffusion U-Net."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["FilmResnetBlock", "apply_film"]


class FilmResnetBlock(nn.Module):
    """Scale and shift the second normalisation of a library residual block by its embedding.

    It takes over the layers of a `ResnetBlock` of monai-generative or a `DiffusionUNetResnetBlock` of MONAI core, names
    and weights included, and only widens the embedding's projection from C to 2C values. The library's block adds the
    projection before the normalisation; here, after it, ``h ← norm(h) · (1 + scale) + shift``.

    Args:
        block: a residual block of either library with 2D or 3D convolutions.

    References:
        Perez et al., FiLM, AAAI 2018, doi:10.1609/aaai.v32i1.11671, eq. 2. Dhariwal and Nichol 2021, arXiv:2105.05233,
        section 3 (adaptive group normalisation), gives this form for diffusion networks.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.spatial_dims: int = block.spatial_dims
        self.out_channels: int = block.out_channels
        self.norm1: nn.Module = block.norm1
        self.nonlinearity: nn.Module = block.nonlinearity
        self.conv1: nn.Module = block.conv1
        self.upsample: nn.Module | None = block.upsample
        self.downsample: nn.Module | None = block.downsample
        self.time_emb_proj = nn.Linear(block.emb_channels, 2 * block.out_channels)
        self.norm2: nn.Module = block.norm2
        self.conv2: nn.Module = block.conv2
        self.skip_connection: nn.Module = block.skip_connection

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """Apply the block to `x` [B, C, *spatial] under the embedding `emb` [B, E]."""
        h = self.nonlinearity(self.norm1(x))
        resample = self.upsample if self.upsample is not None else self.downsample
        if resample is not None:
            x, h = resample(x), resample(h)
        h = self.conv1(h)
        projection = self.time_emb_proj(self.nonlinearity(emb))
        scale, shift = projection.reshape(*projection.shape, *[1] * self.spatial_dims).chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip_connection(x) + self.conv2(self.nonlinearity(h))


def apply_film(unet: nn.Module) -> int:
    """Replace every residual block of `unet` by a `FilmResnetBlock`, in place, and return how many there were.

    Raises:
        ValueError: if `unet` holds no residual block of a known kind.
    """
    places = [
        (parent, name, child)
        for parent in unet.modules()
        for name, child in parent.named_children()
        if hasattr(child, "time_emb_proj") and not isinstance(child, FilmResnetBlock)
    ]
    if not places:
        raise ValueError("`unet` must hold residual blocks with a `time_emb_proj` layer, got none.")
    for parent, name, child in places:
        setattr(parent, name, FilmResnetBlock(child))
    return len(places)
