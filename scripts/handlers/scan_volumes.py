"""The images of a finished scan as arrays, and as files on its grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage

from scripts.transforms import AtomicNibabelWriter
from scripts.transforms.check_image import source_path
from scripts.transforms.scan_reader import ScanReader

__all__ = ["SAVED_IMAGES", "as_volume", "grid_of", "inferer_outputs", "original_scan", "save_volume"]

SAVED_IMAGES = ("anomaly_map", "lesion_mask", "mahalanobis_map", "reconstruction", "uncertainty", "brain_mask")
_FROM_INFERER = ("anomaly_map", "reconstruction", "mahalanobis_map", "uncertainty")
_MASKS = ("lesion_mask", "brain_mask")


def inferer_outputs(save: list[str] | tuple[str, ...] | str) -> list[str]:
    """Return the channels that the inferer must give for the images that a user wants.

    Args:
        save: some of `SAVED_IMAGES`.

    Raises:
        ValueError: if one is unknown.
    """
    wanted = [save] if isinstance(save, str) else list(save)
    unknown = [name for name in wanted if name not in SAVED_IMAGES]
    if unknown:
        raise ValueError(f"`save` must be some of {list(SAVED_IMAGES)}, got {unknown}.")
    return [name for name in _FROM_INFERER if name in wanted or name in ("anomaly_map", "reconstruction")]


def as_volume(image: torch.Tensor) -> np.ndarray:
    """Return [1, H, W, D] as an array [H, W, D], float32."""
    return np.asarray(torch.as_tensor(image).detach().cpu(), dtype=np.float32)[0]


def grid_of(image: torch.Tensor) -> np.ndarray:
    """Return voxel to world [4, 4], mm, of an image; the identity where it knows none."""
    return np.asarray(image.affine if isinstance(image, MetaTensor) else np.eye(4), dtype=np.float64)


def original_scan(image: torch.Tensor) -> np.ndarray:
    """Return the scan [H, W, D] as its file holds it, float32, or `image` itself where it has no file."""
    path = source_path(image)
    if path is None:
        return as_volume(image)
    return as_volume(LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(path))


def save_volume(path: Path, image: torch.Tensor, *, name: str) -> None:
    """Write an image [1, H, W, D] as NIfTI, masks as uint8 and all else as float32, never half."""
    writer = AtomicNibabelWriter(output_dtype=np.uint8 if name in _MASKS else np.float32)
    writer.set_data_array(torch.as_tensor(image).detach().cpu(), channel_dim=0)
    writer.set_metadata({"affine": grid_of(image)}, resample=False)
    writer.write(path)
