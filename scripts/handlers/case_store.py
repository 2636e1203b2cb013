"""A folder that holds the cases of an evaluation while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.handlers.evaluated_case import EvaluatedCase

__all__ = ["CaseStore"]


class CaseStore:
    """Keep cases in a folder, brain voxels only, so that memory does not grow with their number.

    Args:
        folder: an empty folder that the store may fill.
    """

    def __init__(self, folder: Path) -> None:
        """Start with no case."""
        self._folder = folder
        self._heads: list[dict[str, Any]] = []

    def append(self, case: EvaluatedCase) -> None:
        """Write one case: 4 bytes per brain voxel and channel, 1 bit per voxel and mask."""
        mask = case.brain_mask
        arrays: dict[str, Any] = {f"channel_{name}": volume[mask] for name, volume in case.channels.items()}
        arrays |= {"image": case.image[mask], "brain_mask": np.packbits(mask)}
        if case.label is not None:
            arrays["label"] = np.packbits(case.label)
        np.savez(self._path(len(self._heads)), **arrays)
        self._heads.append(
            {
                "dataset": case.dataset,
                "case": case.case,
                "shape": mask.shape,
                "spacing_mm": case.spacing_mm,
                "affine": case.affine,
                "details": case.details,
                "channels": list(case.channels),
            }
        )

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._heads)

    def __iter__(self) -> Iterator[EvaluatedCase]:
        """Read the cases back one by one, in the order in which they came."""
        for index, head in enumerate(self._heads):
            fields = dict(head)
            shape, names = fields.pop("shape"), fields.pop("channels")
            with np.load(self._path(index)) as arrays:
                mask = _unpacked(arrays["brain_mask"], shape)
                yield EvaluatedCase(
                    image=_scattered(arrays["image"], mask),
                    brain_mask=mask,
                    label=_unpacked(arrays["label"], shape) if "label" in arrays else None,
                    channels={name: _scattered(arrays[f"channel_{name}"], mask) for name in names},
                    **fields,
                )

    def _path(self, index: int) -> Path:
        """Return the file of a case."""
        return self._folder / f"{index:06d}.npz"


def _unpacked(bits: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask that `np.packbits` packed."""
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)


def _scattered(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a volume with `values` inside the mask and zero outside."""
    volume = np.zeros(mask.shape, np.float32)
    volume[mask] = values
    return volume
