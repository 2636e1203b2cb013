"""Strict loading of network weights, with every mismatch named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from scripts.errors import InputError

__all__ = ["load_encoder", "load_weights", "read_checkpoint"]

Network = TypeVar("Network", bound=nn.Module)
_SHOWN = 8


def read_checkpoint(path: Path) -> Any:
    """Read a torch file onto the CPU with `weights_only=True`: tensors, numbers, texts and containers of them.

    Args:
        path: a file written by `torch.save`.

    Returns:
        What was saved.

    Raises:
        InputError: if the file is missing, damaged, or holds any other object; nothing in it is executed.
    """
    if not path.is_file():
        raise InputError("the checkpoint does not exist", path=path, fix="Train one, or give the path of a .pt file.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise ten different kinds, from AssertionError to UnicodeDecodeError
        raise InputError(
            f"it cannot be read as a weights-only torch checkpoint ({type(error).__name__})",
            path=path,
            fix="Give a .pt file that holds a state dict and nothing else.",
        ) from error


def _read_state(path: Path, key: str) -> dict[str, torch.Tensor]:
    content = read_checkpoint(path)
    state = content.get(key, content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise InputError("it holds no state dict", path=path, fix=f"Give a state dict, or a dict with the key {key!r}.")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _list(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{title} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"]


def load_weights(network: Network, path: str | Path, *, key: str = "model") -> Network:
    """Load weights into a network; all names and shapes must agree.

    Weights of another precision are converted to the network's own. A prefix `module.` (distributed training) is
    dropped.

    Args:
        network: receives the weights, in place.
        path: a torch file with a state dict, or with a dict that holds one under `key`.
        key: where the state dict lies in a training checkpoint.

    Returns:
        `network`.

    Raises:
        InputError: if the file is missing or unreadable, or any parameter is missing, left over or of another shape;
            the message names them. The network is then unchanged.
    """
    fix = "Use the network size the weights were trained with (`network_def` in the config)."
    _load(_unwrap(network), Path(path), key, fix)
    return network


def load_encoder(network: Network, path: str | Path, *, key: str = "model") -> Network:
    """Load a pretrained encoder, as `pretrain.yaml` saves it, into the `encoder` of a conditioned network.

    Names and shapes must agree, with one exception: pretraining does not reach the encoder's last layer `fc`, so a file
    without it leaves the network's own as it is. A file that has it must fit there too, and is loaded whole.

    Args:
        network: a `ConditionedUNet`; its `encoder` receives the weights, in place.
        path: a torch file with a state dict, or with a dict that holds one under `key`.
        key: where the state dict lies in a training checkpoint.

    Returns:
        `network`.

    Raises:
        InputError: if the network has no encoder, or as `load_weights`. The network is then unchanged.
    """
    encoder = getattr(_unwrap(network), "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise InputError(
            "an encoder was given for a network that has none",
            path=path,
            fix="Leave `encoder_path` out, or set `network_def#conditioning` to film or cross_attention.",
        )
    fix = "Use the encoder size it was pretrained with (`network_def#encoder` in the config)."
    _load(encoder, Path(path), key, fix, head="fc.")
    return network


def _unwrap(network: nn.Module) -> nn.Module:
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def _load(target: nn.Module, path: Path, key: str, fix: str, *, head: str | None = None) -> None:
    """Load the state dict in a file, which may lack the layer `head` as a whole."""
    state = _read_state(path, key)
    own = target.state_dict()
    if head is not None and not any(name.startswith(head) for name in state):
        own = {name: value for name, value in own.items() if not name.startswith(head)}
    shapes = [
        f"{name} {list(state[name].shape)} for {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = (
        _list("of another shape", shapes)
        + _list("missing in the file", [name for name in own if name not in state])
        + _list("unknown to the network", [name for name in state if name not in own])
    )
    if problems:
        raise InputError("the weights do not fit the network; " + "; ".join(problems), path=path, fix=fix)
    target.load_state_dict(state, strict=head is None)
