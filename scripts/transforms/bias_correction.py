"""Correct the bias field of a scan with N4."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform

from scripts.errors import InputError
from scripts.scans.notes import add_note
from scripts.scans.volume import as_float32, source_path

__all__ = ["CorrectBiasd"]


class CorrectBiasd(MapTransform, InvertibleTransform):
    """Divide images [1, H, W, D] by their smooth bias field, found in the brain mask; 0 stays 0 and nothing moves.

    The field is found on a shrunk copy and applied at full resolution. Values are shifted to be positive for it where
    they are not, and shifted back.

    Args:
        keys: images, 0 outside the brain.
        enabled: whether to do it; without, the images stay as they are.
        mask_key: the brain mask [1, H, W, D].
        shrink_factor: by how much the copy is smaller along each axis, at least 1; thin axes are shrunk less.
        iterations: at each of four resolutions of the field.

    Raises:
        ValueError: if `shrink_factor` or `iterations` is below 1.
        InputError: on calling, if N4 cannot fit a field.

    References:
        Tustison et al., N4ITK: Improved N3 Bias Correction, IEEE TMI 2010, doi:10.1109/TMI.2010.2046908.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        enabled: bool = False,
        mask_key: str = "brain_mask",
        shrink_factor: int = 4,
        iterations: int = 50,
    ) -> None:
        super().__init__(keys)
        if shrink_factor < 1 or iterations < 1:
            raise ValueError(
                f"`shrink_factor` and `iterations` must be at least 1, got {shrink_factor} and {iterations}."
            )
        self.enabled = enabled
        self.mask_key = mask_key
        self.shrink_factor = shrink_factor
        self.iterations = iterations

    def _correct(self, volume: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        inside = volume[mask]
        shift = max(0.0, 1e-3 * float(np.ptp(inside)) - float(inside.min()))
        image = sitk.GetImageFromArray(((volume + shift) * mask).astype(np.float32).T.copy())
        region = sitk.GetImageFromArray(mask.astype(np.uint8).T.copy())
        for part in (image, region):
            part.SetSpacing(spacing.tolist())
        # Voxels of a thick-slice scan are shrunk within the slice only, and no axis below 16 voxels.
        factors = [
            int(np.clip(np.round(self.shrink_factor * spacing.min() / edge), 1, max(1, size // 16)))
            for edge, size in zip(spacing, volume.shape, strict=True)
        ]
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations([self.iterations] * 4)
        n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(region, factors))
        field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T)
        return np.where(mask, (volume + shift) / field - shift, volume).astype(np.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with corrected float32 images, or as it is."""
        result = dict(data)
        add_note(result, "bias_correction", done=self.enabled)
        if not self.enabled:
            return result
        mask = as_float32(result[self.mask_key])[0] > 0
        for key in self.key_iterator(result):
            image = result[key]
            spacing = np.linalg.norm(np.asarray(image.affine, dtype=np.float64)[:3, :3], axis=0)
            try:
                corrected = self._correct(as_float32(image)[0], mask, spacing)
            except RuntimeError as error:
                first = str(error).strip().splitlines()[-1]
                raise InputError(
                    f"N4 cannot fit a bias field ({first})", path=source_path(image), fix="Use --bias_correction false."
                ) from error
            result[key] = image.float() * 0 + torch.as_tensor(corrected[None], device=image.device)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it is: nothing was moved."""
        return dict(data)
