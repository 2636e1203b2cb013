"""Curvature-flow denoising through SimpleITK."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import SimpleITK
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from scripts.scans.intensity import scale_exponent
from scripts.scans.volume import as_float32

__all__ = ["CurvatureFlowDenoised"]


class CurvatureFlowDenoised(MapTransform):
    """Denoise images [1, H, W, D] by curvature flow on the voxel grid, whatever its spacing; never meant for masks.

    The result scales with the image: the filter works on a copy whose brightest voxels lie between 512 and 1024.

    Args:
        keys: images.
        time_step: the flow's time step (dimensionless), above 0.
        iterations: number of steps; 0 leaves the image as it is.
        allow_missing_keys: whether a key may be absent.

    Raises:
        ValueError: if `time_step` is not positive or `iterations` negative.

    References:
        SimpleITK `CurvatureFlow`; the defaults are those of the reference experiment, Behrendt et al., MICCAI 2024,
        doi:10.1007/978-3-031-72120-5_37.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        time_step: float = 0.125,
        iterations: int = 3,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if time_step <= 0:
            raise ValueError(f"`time_step` must be positive, got {time_step}.")
        if iterations < 0:
            raise ValueError(f"`iterations` must be at least 0, got {iterations}.")
        self.time_step = time_step
        self.iterations = iterations

    def _denoise(self, image: torch.Tensor) -> torch.Tensor:
        volume = as_float32(image[0])
        # Gradients below 3e-5 count as none for the filter: scale by a power of 2, which rounds nothing.
        exponent = scale_exponent(volume)
        scaled = SimpleITK.GetImageFromArray(np.ldexp(volume, exponent))
        flow = SimpleITK.CurvatureFlow(scaled, timeStep=self.time_step, numberOfIterations=self.iterations)
        result = np.ldexp(SimpleITK.GetArrayFromImage(flow), -exponent)
        return convert_to_dst_type(result[None], image, dtype=torch.float32)[0]

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with denoised float32 images."""
        result = dict(data)
        if self.iterations > 0:
            for key in self.key_iterator(result):
                result[key] = self._denoise(result[key])
        return result
