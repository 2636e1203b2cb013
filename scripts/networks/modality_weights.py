"""The weights that belong to a scan's modality, in one network."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import nn

from scripts.errors import InputError
from scripts.networks.weights import load_weights

__all__ = ["ModalityWeights"]


class ModalityWeights:
    """Load a network with the weights for T1- or T2-weighted scans, and only when they change.

    Args:
        network: receives the weights, in place.
        folder: holds `model.pt` (T1) and `model_t2.pt` (T2).
        checkpoint: one file for every scan, in place of these.
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
            `file` (its name) and `sha256` of the weights in use.

        Raises:
            InputError: if there are no weights for the modality, or they do not fit the network.
        """
        path = self._existing(modality)
        if path != self._loaded:
            load_weights(self.network, path)
            self._loaded = path
        return {"file": path.name, "sha256": self.sha256(modality)}

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
