"""A library diffusion U-Net whose residual blocks know, by a feature vector, which slice they reconstruct (FiLM).

The library is monai-generative, which the weights come from, or MONAI core in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from scripts.errors import InputError, check_choice
from scripts.options.fields import NetworkDtype, checked_kind
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = [
    "ConditionedUNet",
    "Conditioning",
    "FilmResnetBlock",
    "apply_film",
    "converted",
    "library_unet",
    "recompute_activations",
]


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
        InputError: if `unet` holds no residual block of a known kind.
    """
    places = [
        (parent, name, child)
        for parent in unet.modules()
        for name, child in parent.named_children()
        if hasattr(child, "time_emb_proj") and not isinstance(child, FilmResnetBlock)
    ]
    if not places:
        raise InputError("`unet` must hold residual blocks with a `time_emb_proj` layer, got none.")
    for parent, name, child in places:
        setattr(parent, name, FilmResnetBlock(child))
    return len(places)


def recompute_activations(unet: nn.Module) -> int:
    """Let every residual block of `unet` keep its input alone for the backward pass, and return how many there were.

    What is inside the blocks is computed again in the backward pass: less memory, about a third more arithmetic. The
    names of the weights, the values and the gradients stay the same; without gradients nothing changes.
    """
    blocks = [module for module in unet.modules() if hasattr(module, "time_emb_proj")]
    for block in blocks:
        block.forward = partial(_recomputed, block.forward)
    return len(blocks)


def _recomputed(forward: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
    return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)


class Conditioning(StrEnum):
    """How the feature vector reaches the U-Net."""

    FILM = "film"
    NONE = "none"


class ConditionedUNet(nn.Module):
    """Predict a clean slice from its noised copy and the feature vector of the clean slice.

    The U-Net is a library's, unchanged in size and layer names: `generative.networks.nets.DiffusionModelUNet` or
    `monai.networks.nets.DiffusionModelUNet`. With `film`, the feature vector joins the time embedding through the
    library's class-embedding branch (a linear layer in the place of its table), and each residual block turns the sum
    into a scale and a shift.

    Args:
        unet: 2D U-Net with one input and one output channel. For weights of monai-generative's, build MONAI core's with
            `include_fc=False`, and use its `load_old_state_dict`.
        encoder: maps slices [B, 1, H, W] to feature vectors [B, feature_dim]; None only for `conditioning="none"`.
        feature_dim: length of the feature vector.
        conditioning: `film` or `none`.
        autocast_dtype: a torch dtype's name (`bfloat16`) in which convolutions and products run under autocast, on the
            CPU too; None computes in the weights' own type.
        activation_checkpointing: train with less memory, `recompute_activations`.

    Raises:
        InputError: if `conditioning` is unknown, or does not fit `unet` or `encoder`.

    References:
        Behrendt et al., MICCAI 2024, doi:10.1007/978-3-031-72120-5_37, section 2.
    """

    def __init__(
        self,
        unet: Any,
        encoder: nn.Module | None = None,
        *,
        feature_dim: int = 512,
        conditioning: Conditioning | str = Conditioning.FILM,
        autocast_dtype: str | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.conditioning = check_choice(Conditioning, conditioning, "conditioning")
        if self.conditioning != Conditioning.NONE and encoder is None:
            raise InputError(f"`encoder` must be a network for conditioning {self.conditioning!s}, got None.")
        if unet.with_conditioning:
            raise InputError("`unet` must be built with with_conditioning=False, got with_conditioning=True")
        autocast_dtype = checked_kind("autocast_dtype", NetworkDtype, autocast_dtype)
        self.feature_dim = feature_dim
        self.autocast_dtype = autocast_dtype
        self.encoder = encoder if self.conditioning != Conditioning.NONE else None
        if self.conditioning == Conditioning.FILM:
            unet.num_class_embeds = feature_dim
            unet.class_embedding = nn.Linear(feature_dim, unet.time_embed[-1].out_features)
            apply_film(unet)
        if activation_checkpointing:
            recompute_activations(unet)
        self.unet: nn.Module = unet

    def _autocast(self, device: torch.device) -> torch.autocast:
        dtype = getattr(torch, self.autocast_dtype) if self.autocast_dtype else torch.bfloat16
        return torch.autocast(device.type, dtype=dtype, enabled=self.autocast_dtype is not None)

    def encode(self, image: torch.Tensor) -> torch.Tensor | None:
        """Return the feature vectors of clean slices.

        Args:
            image: slices [B, 1, H, W] in [−1, 1].

        Returns:
            Features [B, feature_dim], or None for conditioning `none`.
        """
        if self.encoder is None:
            return None
        with self._autocast(image.device):
            return self.encoder(image)

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Reconstruct clean slices.

        Args:
            x: noised slices [B, 1, H, W].
            timesteps: diffusion steps [B], integers.
            context: the clean slices [B, 1, H, W], or their feature vectors [B, feature_dim] from `encode`, so that
                K reconstructions of a slice encode it once.

        Returns:
            The predicted clean slices [B, 1, H, W] in the type of `x`.

        Raises:
            InputError: if the network is conditioned and `context` is None.
        """
        with self._autocast(x.device):
            return self.unet(x, timesteps, **self._condition(context)).to(x.dtype)

    def _condition(self, context: torch.Tensor | None) -> dict[str, torch.Tensor]:
        if self.conditioning == Conditioning.NONE:
            return {}
        features = self.encode(context) if context is not None and context.ndim == 4 else context
        if features is None:
            raise InputError(f"`context` must be slices or features for conditioning {self.conditioning!s}, got None.")
        return {"class_labels": features}


_UNET = "unet."
_RENAMED = (".attn.", ".out_proj.", "postconv")  # in the names of MONAI core alone; it fails where these are missing
_UNUSED = "proj_attn"  # a layer that monai-generative never calls


def library_unet(*, num_channels: list[int], **options: Any) -> nn.Module:
    """Build monai-generative's `DiffusionModelUNet`, or where that is not installed MONAI core's of the same numbers.

    Args:
        num_channels: of each level.
        **options: the others of monai-generative's U-Net.
    """
    if find_spec("generative") is not None:
        from generative.networks.nets import DiffusionModelUNet

        return DiffusionModelUNet(num_channels=num_channels, **options)
    from monai.networks.nets import DiffusionModelUNet as CoreUNet

    return CoreUNet(channels=num_channels, include_fc=options.pop("include_fc", False), **options)


def converted(network: nn.Module, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Return weights in the names of a network whose `unet` is MONAI core's, where they have monai-generative's names.

    Weights that fit already, or neither way, and those for another network stay as they are.

    Args:
        network: receives the weights.
        state: parameters by name.
    """
    unet = getattr(network, "unet", None)
    old = {name.removeprefix(_UNET): value for name, value in state.items() if name.startswith(_UNET)}
    if unet is None or not hasattr(unet, "load_old_state_dict") or old.keys() == unet.state_dict().keys():
        return state
    # MONAI keeps its own random values for what a file lacks: only whole files are converted
    if any(name not in old for name in unet.state_dict() if not any(part in name for part in _RENAMED)):
        return state
    copy, left = deepcopy(unet), dict(old)
    try:
        copy.load_old_state_dict(left)
    except (KeyError, RuntimeError):
        return state  # whoever loads it says what does not fit
    if any(_UNUSED not in name for name in left):
        return state
    others = {name: value for name, value in state.items() if not name.startswith(_UNET)}
    return {**others, **{f"{_UNET}{name}": value for name, value in copy.state_dict().items()}}
