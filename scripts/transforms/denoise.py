"""Curvature-flow denoising through SimpleITK."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import SimpleITK as sitk
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from scripts.transforms.check_image import as_float32

__all__ = ["CurvatureFlowDenoised"]


class CurvatureFlowDenoised(MapTransform):
    """Denoise images [1, H, W, D] by curvature flow; never meant for masks.

    Args:
        keys: images.
        time_step: the flow's time step (dimensionless).
        iterations: number of steps; 0 leaves the image as it is.
        allow_missing_keys: whether a key may be absent.

    References:
        SimpleITK `CurvatureFlow`; DESIGN section 2 gives the numbers of the reference experiment (0.125, 3).
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
        self.time_step = time_step
        self.iterations = iterations

    def _denoise(self, image: torch.Tensor) -> torch.Tensor:
        volume = sitk.GetImageFromArray(as_float32(image[0]))
        flow = sitk.CurvatureFlow(volume, timeStep=self.time_step, numberOfIterations=self.iterations)
        return convert_to_dst_type(sitk.GetArrayFromImage(flow)[None], image, dtype=torch.float32)[0]

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with denoised float32 images."""
        result = dict(data)
        if self.iterations > 0:
            for key in self.key_iterator(result):
                result[key] = self._denoise(result[key])
        return result
