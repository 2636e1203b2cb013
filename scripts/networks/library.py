"""The diffusion U-Net of a library: monai-generative's, which the weights come from, or MONAI core's in its place."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

__all__ = ["converted", "library_unet"]

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
