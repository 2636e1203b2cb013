"""A scan's image as an array, with its grid and the file that it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage

from scripts.scans.intensity import fill_background
from scripts.scans.reader import ScanReader

__all__ = ["as_volume", "grid_of", "original_scan", "source_path"]


def source_path(image: torch.Tensor) -> Path | None:
    """Return the file that `image` was loaded from, if its metadata tell."""
    name = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    return Path(name) if isinstance(name, (str, Path)) else None


def as_float32(image: torch.Tensor) -> np.ndarray:
    """Return `image` as a float32 array on the CPU."""
    return np.asarray(torch.as_tensor(image).cpu(), dtype=np.float32)


def as_volume(image: torch.Tensor) -> np.ndarray:
    """Return [1, H, W, D] as an array [H, W, D], float32."""
    return np.asarray(torch.as_tensor(image).detach().cpu(), dtype=np.float32)[0]


def grid_of(image: torch.Tensor) -> np.ndarray:
    """Return voxel to world [4, 4], mm, of an image; the identity where it knows none."""
    return np.asarray(image.affine if isinstance(image, MetaTensor) else np.eye(4), dtype=np.float64)


def original_scan(image: torch.Tensor) -> np.ndarray:
    """Return the scan [H, W, D] as its file holds it, float32, or `image` itself where it has no file.

    A background of NaN is filled.
    """
    path = source_path(image)
    if path is None:
        return as_volume(image)
    return fill_background(as_volume(LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(path)))
