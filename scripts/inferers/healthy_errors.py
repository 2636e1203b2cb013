"""Files of healthy errors, one a modality, that belong to certain weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample

from scripts.errors import InputError
from scripts.files import replacing
from scripts.ops import HealthyError

__all__ = ["HealthyErrors", "healthy_error_path", "read_healthy_error", "save_healthy_error"]

_CHANNELS = 3
_FIX = "Measure them on healthy scans with healthy_error.yaml, or set healthy_error to false."
_SAME_MM = 1e-3


def healthy_error_path(folder: str | Path, modality: str) -> Path:
    """Return where a modality's healthy errors lie."""
    return Path(folder) / f"healthy_error_{modality}.nii.gz"


def save_healthy_error(path: str | Path, error: HealthyError, *, affine: np.ndarray, weights_sha256: str) -> None:
    """Write healthy errors as NIfTI [H, W, D, 3] (mean, std, brain; 16 bits), under a temporary name first.

    Args:
        path: the file.
        error: `[S, H, W]` volumes.
        affine: [4, 4], voxels [H, W, D] to RAS mm.
        weights_sha256: of the network that made the reconstructions; it stands in the header's `descrip`.
    """
    path = Path(path)
    stacked = torch.stack([error.mean, error.std, error.brain], dim=-1).permute(1, 2, 0, 3).numpy()
    image = nib.Nifti1Image(stacked.astype(np.float32), affine)
    image.set_data_dtype(np.int16)  # steps of 3e-5 of the intensity range
    image.header["descrip"] = weights_sha256.encode()
    with replacing(path) as temporary:
        nib.save(image, temporary)


def read_healthy_error(path: str | Path) -> tuple[MetaTensor, str]:
    """Read healthy errors as [3, H, W, D] with their affine, and the SHA-256 of the weights that they belong to.

    Raises:
        InputError: if the file cannot be read or holds something else.
    """
    try:
        image: Any = nib.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
        weights = image.header["descrip"].tobytes().rstrip(b"\0").decode()
    except (OSError, ValueError, KeyError, nib.filebasedimages.ImageFileError) as error:
        what = f"the healthy errors cannot be read ({type(error).__name__}: {error})"
        raise InputError(what, path=path, fix="Make them again with healthy_error.yaml.") from error
    if values.ndim != 4 or values.shape[-1] != _CHANNELS:
        what = f"healthy errors must have the shape [H, W, D, {_CHANNELS}], got {list(values.shape)}"
        raise InputError(what, path=path, fix="Make them again with healthy_error.yaml.")
    volumes = torch.from_numpy(np.moveaxis(values, -1, 0).copy())
    return MetaTensor(volumes, affine=torch.as_tensor(image.affine)), weights


class HealthyErrors:
    """Know the healthy errors of each modality, for the weights that they were measured with.

    Args:
        folder: holds `healthy_error_t1.nii.gz`, `healthy_error_t2.nii.gz` or one of them, or none.
        enabled: whether to use them.
    """

    def __init__(self, folder: str | Path, *, enabled: bool = True) -> None:
        self.folder, self.enabled = Path(folder), enabled
        self._read: dict[str, tuple[MetaTensor, str]] = {}

    def of(
        self, modality: str, *, weights_sha256: str, shape: tuple[int, ...], affine: torch.Tensor | None = None
    ) -> HealthyError | None:
        """Return the healthy errors on a grid, None where they are not to be used.

        Args:
            modality: t1 or t2.
            weights_sha256: of the network in use.
            shape: of the grid, [H, W, D].
            affine: [4, 4] of the grid, RAS mm; without it only a grid of the file's own shape is served.

        Raises:
            InputError: if there is no such file, it is damaged, belongs to other weights, or is on another grid where
                no affine is given.
        """
        if not self.enabled:
            return None
        path = healthy_error_path(self.folder, modality)
        if modality not in self._read:
            if not path.is_file():
                raise InputError("there are no healthy errors here", path=path, fix=_FIX)
            self._read[modality] = read_healthy_error(path)
        volumes, weights = self._read[modality]
        if weights != weights_sha256:
            raise InputError("these healthy errors were measured with other weights", path=path, fix=_FIX)
        if affine is None and tuple(volumes.shape[1:]) != tuple(shape):
            what = f"the healthy errors have {list(volumes.shape[1:])} voxels, the scan {list(shape)}"
            raise InputError(what, path=path, fix="Give the scan's affine.")
        mean, std, brain = (volume.permute(2, 0, 1).contiguous() for volume in _on_grid(volumes, shape, affine))
        return HealthyError(mean, std.clamp(min=0), brain)


def _on_grid(volumes: MetaTensor, shape: tuple[int, ...], affine: torch.Tensor | None) -> torch.Tensor:
    plain = volumes.as_tensor()
    if affine is None:
        return plain
    same_shape = tuple(plain.shape[1:]) == tuple(shape)
    target = torch.as_tensor(affine, dtype=torch.float64).cpu()
    if same_shape and torch.allclose(target, volumes.affine.double(), atol=_SAME_MM):
        return plain
    resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False)  # 1.5.2 misplaces with True
    return cast(MetaTensor, resample(volumes, dst_affine=target, spatial_size=tuple(shape))).as_tensor()
