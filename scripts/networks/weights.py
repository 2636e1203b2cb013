"""Strict loading of network weights, with every mismatch named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from scripts.errors import InputError
from scripts.networks.conditioned_unet import converted
from torch import nn

__all__ = ["ModalityWeights", "load_encoder", "load_weights", "read_checkpoint"]

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


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    content = read_checkpoint(path)
    state = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise InputError("it holds no state dict", path=path, fix="Give a state dict, or a dict with the key 'model'.")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _list(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{title} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"]


def load_weights(network: Network, path: str | Path) -> Network:
    """Load weights into a network; all names and shapes must agree.

    Weights of another precision are converted to the network's own, and those of monai-generative's U-Net to the names
    of MONAI core's where the network has that. A prefix `module.` (distributed training) is
    dropped.

    Args:
        network: receives the weights, in place.
        path: a torch file with a state dict, or with a dict that holds one under `model`.

    Returns:
        `network`.

    Raises:
        InputError: if the file is missing or unreadable, or any parameter is missing, left over or of another shape;
            the message names them. The network is then unchanged.
    """
    fix = "Use the network size the weights were trained with (`network_def` in the config)."
    _load(_unwrap(network), Path(path), fix)
    return network


def load_encoder(network: Network, path: str | Path) -> Network:
    """Load a pretrained encoder, as `pretrain.yaml` saves it, into the `encoder` of a conditioned network.

    Names and shapes must agree, with one exception: pretraining does not reach the encoder's last layer `fc`, so a file
    without it leaves the network's own as it is. A file that has it must fit there too, and is loaded whole.

    Args:
        network: a `ConditionedUNet`; its `encoder` receives the weights, in place.
        path: a torch file with a state dict, or with a dict that holds one under `model`.

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
            fix="Leave `encoder_path` out, or set `network_def#conditioning` to film.",
        )
    fix = "Use the encoder size it was pretrained with (`network_def#encoder` in the config)."
    _load(encoder, Path(path), fix, head="fc.")
    return network


def _unwrap(network: nn.Module) -> nn.Module:
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def _load(target: nn.Module, path: Path, fix: str, *, head: str | None = None) -> None:
    """Load the state dict in a file, which may lack the layer `head` as a whole."""
    state = dict(converted(target, _read_state(path)))
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


class ModalityWeights:
    """Load a network with the weights for T1- or T2-weighted scans, and only when they change.

    Args:
        network: receives the weights, in place.
        folder: holds `model.pt` (T1) and `model_t2.pt` (T2).
        checkpoint: one file for every scan, in place of these.

    Examples:
        >>> ModalityWeights(nn.Identity(), "models").path("t2").as_posix()
        'models/model_t2.pt'
    """

    def __init__(self, network: nn.Module, folder: str | Path, *, checkpoint: str | Path | None = None) -> None:
        self.network = network
        self.folder = Path(folder)
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self._loaded: Path | None = None
        self._sha256: dict[Path, str] = {}

    def path(self, modality: str) -> Path:
        """Return the file for a modality, `t1` or `t2`."""
        return self.checkpoint or self.folder / ("model.pt" if modality == "t1" else f"model_{modality}.pt")

    def use(self, modality: str) -> dict[str, str]:
        """Make the network one for `modality`.

        Returns:
            `file` (its name) and `sha256` of the weights in use, and their `licence` where it is known.

        Raises:
            InputError: if there are no weights for the modality, or they do not fit the network.
        """
        path = self._existing(modality)
        if path != self._loaded:
            load_weights(self.network, path)
            self._loaded = path
        licence = self.licence(modality)
        return {"file": path.name, "sha256": self.sha256(modality)} | ({"licence": licence} if licence else {})

    def licence(self, modality: str) -> str:
        """Return the first line of the file `LICENSE` beside the weights for `modality`, empty where there is none."""
        path = self._existing(modality).parent / "LICENSE"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return lines[0].strip() if lines else ""

    def sha256(self, modality: str) -> str:
        """Return the checksum of the weights for `modality`; they need not be in the network.

        Raises:
            InputError: if there are none.
        """
        path = self._existing(modality)
        if path not in self._sha256:
            self._sha256[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._sha256[path]

    def put_into(self, network: nn.Module, modality: str) -> None:
        """Load a network with the weights for `modality`: this one, or another that a host made of the same definition.

        Nobody knows which weights another network holds, so that they are read each time. (MONAI Label keeps one
        network and tells weights files apart by their dates alone, which are the same for all files of our package.)

        Raises:
            InputError: as `use`.
        """
        if network is self.network:
            self.use(modality)
        else:
            load_weights(network, self._existing(modality))

    def _existing(self, modality: str) -> Path:
        path = self.path(modality)
        if self.checkpoint is None and not path.is_file():
            there = sorted(p.name for p in self.folder.glob("model*.pt"))
            raise InputError(
                f"there are no weights for {modality} scans (the folder holds {', '.join(there) or 'none'})",
                path=path,
                fix="Give --checkpoint, or train them with bundle/configs/train.yaml.",
            )
        return path
