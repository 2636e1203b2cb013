"""SparK: pretrain a convolutional encoder by reconstructing the masked patches of slices."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.networks.blocks import Convolution, UpSample
from monai.networks.nets.resnet import ResNet, ResNetFeatures
from scripts.errors import InputError
from scripts.ops import gather_visible, hide_masked, patch_grid, resize_patch_mask, scatter_visible
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Densify", "HierarchicalDecoder", "MaskedAutoencoder", "SparseEncoder"]

_PROBE = 256  # pixels; on the meta device, so that nothing is computed


class SparseEncoder(nn.Module):
    """Give a 2D `ResNet` of MONAI the semantics of sparse convolution, and return its four feature maps.

    The network keeps its own layers, and so its state dict; hooks on them do three things while a mask is set: batch
    norms see the visible positions alone (statistics and running statistics included), pooling takes its maximum over
    the visible positions, and the masked positions of every layer's output are set to 0. Without a mask the layers do
    what they always do.

    A patch is as large as the total stride of the network, so that every position of every map lies in one patch. The
    head `fc` is taken off, for pretraining does not reach it. In several processes each takes the statistics of its
    own slices, as the library's batch norm does.

    Args:
        encoder: the network to pretrain; `encoder` keeps it.

    Attributes:
        channels: channels of the feature maps, from the shallowest to the deepest.
        strides: pixels a position of each stands for.
        patch_size: side of a patch in pixels, the last of `strides`.

    Raises:
        InputError: if `encoder` is no 2D ResNet with batch norm, or its maps do not fit patches.

    References:
        Tian et al., Designing BERT for Convolutional Networks, ICLR 2023, arXiv:2301.03580, section 3.1.
    """

    def __init__(self, encoder: ResNet) -> None:
        super().__init__()
        if not isinstance(encoder, ResNet) or not isinstance(encoder.conv1, nn.Conv2d):
            raise InputError(f"`encoder` must be a monai.networks.nets.ResNet in 2D, got {type(encoder).__name__}.")
        encoder.fc = None
        self.encoder: Any = encoder
        shapes = _feature_shapes(encoder)
        self.channels = tuple(shape[1] for shape in shapes)
        self.strides = tuple(_PROBE // shape[-1] for shape in shapes)
        self.patch_size = self.strides[-1]
        exact = all(stride * shape[-1] == _PROBE for stride, shape in zip(self.strides, shapes, strict=True))
        doubling = all(after == 2 * before for before, after in pairwise(self.strides))
        if not exact or not doubling or self.strides[0] & (self.strides[0] - 1):
            sizes = [shape[-1] for shape in shapes]
            raise InputError(
                "`encoder` must divide slices by powers of two, each map half of the one before, "
                f"got maps of {sizes} for slices of {_PROBE} pixels."
            )
        self._visible: Tensor | None = None  # the patch mask, while one is set
        self._at_norm: Tensor | None = None  # the mask at the batch norm under way
        for name, module in encoder.named_modules():
            if not list(module.children()) and module is not encoder.avgpool:
                self._hook(name, module)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """Return the feature maps of slices.

        Args:
            x: slices [B, C, H, W]; masked pixels are not looked at, whatever they hold.
            visible: boolean mask [B, H/patch_size, W/patch_size], True where visible; None computes densely.

        Returns:
            Four maps [B, channels, H/stride, W/stride], from the shallowest to the deepest, 0 where masked.

        Raises:
            InputError: if the mask does not fit the slices.
        """
        try:
            self._visible = visible
            return ResNetFeatures.forward(self.encoder, self._hide(x))[1:]  # the library's own pass; [0] is the stem
        finally:
            self._visible = self._at_norm = None

    def _hook(self, name: str, module: nn.Module) -> None:
        """Attach to one layer what sparse semantics ask of it."""
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(self._before_norm)
            module.register_forward_hook(self._after_norm)
            return
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_pre_hook(self._before_pool)
        elif not isinstance(module, nn.Conv2d) and type(module).__module__ != nn.ReLU.__module__:
            raise InputError(
                "`encoder` must consist of convolutions, batch norms, max pooling and activations, "
                f"got {type(module).__name__} ({name})."
            )
        module.register_forward_hook(self._after_layer)

    def _hide(self, features: Tensor, *, value: float = 0.0) -> Tensor:
        """Set masked positions to `value`; without a mask return the maps as they are."""
        if self._visible is None:
            return features
        return hide_masked(features, resize_patch_mask(self._visible, features.shape[-2:]), value=value)

    def _before_pool(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Keep masked positions from being the maximum, also where all visible values are negative."""
        return (self._hide(inputs[0], value=-torch.inf),)

    def _after_layer(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Empty the masked positions that a convolution, pooling or activation has filled."""
        return self._hide(output)

    def _before_norm(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        """Hand a batch norm the visible positions [N, C, 1, 1] in place of the maps."""
        if self._visible is None:
            return None
        self._at_norm = resize_patch_mask(self._visible, inputs[0].shape[-2:])
        return (gather_visible(inputs[0], self._at_norm)[:, :, None, None],)

    def _after_norm(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Put the normalised positions back between zeros."""
        return output if self._at_norm is None else scatter_visible(output[:, :, 0, 0], self._at_norm)


def _feature_shapes(encoder: ResNet) -> list[torch.Size]:
    """Return the shapes of the four maps for one slice of `_PROBE` pixels a side, computing nothing."""
    weight: Any = encoder.conv1.weight
    slices = torch.empty(1, weight.shape[1], _PROBE, _PROBE, device="meta", dtype=weight.dtype)
    probe: Any = copy.deepcopy(encoder).to("meta").eval()
    with torch.no_grad():
        return [maps.shape for maps in ResNetFeatures.forward(probe, slices)[1:]]


_LEAST_WIDTH = 8


class Densify(nn.Module):
    """Fill the masked positions of a feature map with a learnt token, and bring it to the decoder's width.

    Visible positions pass a batch norm over themselves first, so that token and features have one scale; a 3×3
    convolution then projects both.

    Args:
        in_channels: channels of the feature map, and length of the token.
        out_channels: the decoder's width at this level.

    Examples:
        >>> fill = Densify(4, 8)
        >>> fill(torch.rand(1, 4, 6, 6), torch.ones(1, 3, 3, dtype=torch.bool)).shape
        torch.Size([1, 8, 6, 6])
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
        InputError: if `width` is below 1 or the levels do not agree.

    References:
        Tian et al., ICLR 2023, arXiv:2301.03580, section 3.2.

    Examples:
        >>> decoder = HierarchicalDecoder(channels=[8, 16], strides=[2, 4])
        >>> maps = torch.rand(1, 8, 4, 4), torch.rand(1, 16, 2, 2)
        >>> decoder(maps, torch.ones(1, 2, 2, dtype=torch.bool)).shape
        torch.Size([1, 1, 8, 8])
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], *, out_channels: int = 1, width: int | None = None
    ) -> None:
        super().__init__()
        width = min(channels[-1], 512) if width is None else width
        if width < 1:
            raise InputError(f"`width` must be at least 1, got {width}.")
        if list(strides) != [strides[0] << level for level in range(len(channels))]:
            raise InputError(f"`strides` must double from each of {len(channels)} levels to the next, got {strides}.")
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


class MaskedAutoencoder(nn.Module):
    """Reconstruct slices from their visible patches: a sparse encoder, and a light decoder that training throws away.

    Args:
        encoder: a 2D `ResNet` of MONAI with batch norm. It is trained in place and without its head `fc`, which is
            taken off; its state dict is what `load_encoder` reads.
        decoder_width: channels of the decoder at its deepest level; None takes the encoder's, at most 512.

    Attributes:
        patch_size: side of a patch in pixels, the encoder's total stride.

    Raises:
        InputError: as `SparseEncoder` and `HierarchicalDecoder`.

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
            InputError: if the mask has another shape.
        """
        expected = (x.shape[0], *patch_grid(x.shape[-2:], self.patch_size))
        if tuple(visible.shape) != expected:
            raise InputError(f"`visible` must have the shape {expected}, got {tuple(visible.shape)}.")
        return self.decoder(self.sparse_encoder(x, visible), visible)
