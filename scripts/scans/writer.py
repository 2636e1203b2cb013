"""The images that a finished scan can have, and how they are written as files on its grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor, NibabelWriter

from scripts.files import replacing
from scripts.scans.affine import unit_mm
from scripts.scans.volume import grid_of

__all__ = ["SAVED_IMAGES", "AtomicNibabelWriter", "inferer_outputs", "save_volume"]


class AtomicNibabelWriter(NibabelWriter):
    """Write NIfTI to a temporary name in the same folder, made if missing, then rename it."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **obj_kwargs: Any) -> None:
        """Write the image; a file of that name is replaced only when the new one is complete."""
        with replacing(filename) as temporary:
            super().write(temporary, verbose=verbose, **obj_kwargs)


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


def save_volume(path: Path, image: torch.Tensor, *, name: str) -> None:
    """Write an image [1, H, W, D] as NIfTI, masks as uint8 and all else as float32, never half.

    The file has the unit of length of the scan that the image was made from.
    """
    voxels = np.asarray(torch.as_tensor(image).detach().cpu())[0].astype(np.uint8 if name in _MASKS else np.float32)
    code = image.meta.get("xyzt_units") if isinstance(image, MetaTensor) else None
    scale = 1 / unit_mm(code)
    file = nib.Nifti1Image(voxels, np.diag([scale, scale, scale, 1.0]) @ grid_of(image))
    file.header.set_xyzt_units("mm" if scale == 1 else int(str(code)) & 7)
    with replacing(path) as temporary:
        nib.save(file, temporary)
