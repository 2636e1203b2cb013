"""Reconstructions and finished rows on disk, so that an ablation can be stopped, gone on with and extended."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.files import replacing
from scripts.report.tables import write_json
from tools.ablation.cases import AblationCase

__all__ = ["AblationCache", "digest_of"]

logger = logging.getLogger(__name__)


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a mapping of plain values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class AblationCache:
    """A folder of reconstructions (a subfolder for each network, noise and timestep) and of finished rows.

    Reconstructions are kept exactly, float32, inside the brain mask only: 4 bytes a voxel and draw, about 11 MB for a
    brain on the 2 mm grid and K = 10. Files are written under another name and then renamed, and one that is cut short
    all the same counts as missing.

    Args:
        folder: made when something is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def _path(self, source: str, case: AblationCase) -> Path:
        return self.folder / "reconstructions" / source[:16] / f"{case.dataset}_{case.case}_{case.digest[:16]}.npy"

    def _row_path(self, key: str) -> Path:
        return self.folder / "rows" / f"{key[:32]}.json"

    def num_draws(self, source: str, case: AblationCase) -> int:
        """Return how many draws of a case there are; 0 where the file is missing or damaged."""
        stored = self._open(source, case)
        return 0 if stored is None else len(stored)

    def load(self, source: str, case: AblationCase, draws: slice) -> torch.Tensor:
        """Return draws [n, S, H, W], float32, zero outside the brain mask.

        Raises:
            FileNotFoundError: if they are not there.
        """
        stored = self._open(source, case)
        if stored is None:
            raise FileNotFoundError(self._path(source, case))
        values = torch.from_numpy(np.array(stored[draws]))
        volumes = torch.zeros(len(values), *case.image.shape)
        volumes[:, case.brain_mask] = values
        return volumes

    def save(self, source: str, case: AblationCase, reconstructions: torch.Tensor, about: Mapping[str, Any]) -> None:
        """Write reconstructions [K, S, H, W] of a case, in place of fewer, and what they were made with."""
        path = self._path(source, case)
        with replacing(path) as temporary:
            np.save(temporary, reconstructions[:, case.brain_mask].numpy())
        write_json(path.parent / "about.json", about)

    def _open(self, source: str, case: AblationCase) -> np.ndarray | None:
        path = self._path(source, case)
        if not path.is_file():
            return None
        try:
            stored = np.load(path, mmap_mode="r")
        except (ValueError, EOFError, OSError) as error:
            logger.warning("%s is damaged (%s); its reconstructions are made again", path, error)
            return None
        fits = stored.ndim == 2 and stored.shape[1] == int(case.brain_mask.sum()) and stored.dtype == np.float32
        return stored if fits else None

    def load_row(self, key: str) -> dict[str, Any] | None:
        """Return the figures of a finished row, None where there are none."""
        try:
            content = json.loads(self._row_path(key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def save_row(self, key: str, figures: Mapping[str, Any]) -> None:
        """Write the figures of a finished row; numbers that do not exist (NaN) become null."""
        write_json(self._row_path(key), figures)
