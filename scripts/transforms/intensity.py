"""What is done to the intensities of a scan: one offset and scale, denoising, bias field, window."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import SimpleITK
import SimpleITK as sitk  # noqa: N813
import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import convert_to_dst_type
from scripts.errors import InputError
from scripts.scans.volume import add_note, as_float32, fill_background, normalized, scale_exponent, source_path

__all__ = ["CorrectBiasd", "CurvatureFlowDenoised", "NormalizeScansd", "ScaleByMaskPercentilesd"]


class NormalizeScansd(MapTransform):
    """Give images [1, H, W, D] a background of 0 and a brightest tissue between 512 and 1024, as float32.

    Without it, steps with an absolute threshold (curvature flow) and those that blank voxels by 0 would give other
    results for a scan in other units, or with an offset. A background of NaN becomes 0 too. Images that `CheckImaged`
    refuses pass unchanged.

    Args:
        keys: images, never masks.
        allow_missing_keys: whether a key may be absent.
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with float32 images."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            if image.ndim != 4 or image.shape[0] != 1:
                continue
            volume = fill_background(as_float32(image)[0])
            if np.isfinite(volume).all() and volume.min() < volume.max():
                volume = normalized(volume)
            result[key] = convert_to_dst_type(volume[None], image, dtype=torch.float32)[0]
        return result


class CurvatureFlowDenoised(MapTransform):
    """Denoise images [1, H, W, D] by curvature flow on the voxel grid, whatever its spacing; never meant for masks.

    The result scales with the image: the filter works on a copy whose brightest voxels lie between 512 and 1024.

    Args:
        keys: images.
        time_step: the flow's time step (dimensionless), above 0.
        iterations: number of steps; 0 leaves the image as it is.

    Raises:
        InputError: if `time_step` is not positive or `iterations` negative.

    References:
        SimpleITK `CurvatureFlow`; the defaults are those of the reference experiment, Behrendt et al., MICCAI 2024,
        doi:10.1007/978-3-031-72120-5_37.
    """

    def __init__(self, keys: KeysCollection, *, time_step: float = 0.125, iterations: int = 3) -> None:
        super().__init__(keys)
        if time_step <= 0:
            raise InputError(f"`time_step` must be positive, got {time_step}.")
        if iterations < 0:
            raise InputError(f"`iterations` must be at least 0, got {iterations}.")
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


class CorrectBiasd(MapTransform, InvertibleTransform):
    """Divide images [1, H, W, D] by their smooth bias field, found in `brain_mask`; 0 stays 0 and nothing moves.

    The field is found on a shrunk copy and applied at full resolution. Values are shifted to be positive for it where
    they are not, and shifted back.

    Args:
        keys: images, 0 outside the brain.
        enabled: whether to do it; without, the images stay as they are.
        shrink_factor: by how much the copy is smaller along each axis, at least 1; thin axes are shrunk less.
        iterations: at each of four resolutions of the field.

    Raises:
        InputError: if `shrink_factor` or `iterations` is below 1.
        InputError: on calling, if N4 cannot fit a field.

    References:
        Tustison et al., N4ITK: Improved N3 Bias Correction, IEEE TMI 2010, doi:10.1109/TMI.2010.2046908.
    """

    def __init__(
        self, keys: KeysCollection, *, enabled: bool = False, shrink_factor: int = 4, iterations: int = 50
    ) -> None:
        super().__init__(keys)
        if shrink_factor < 1 or iterations < 1:
            raise InputError(
                f"`shrink_factor` and `iterations` must be at least 1, got {shrink_factor} and {iterations}."
            )
        self.enabled = enabled
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
        mask = as_float32(result["brain_mask"])[0] > 0
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


class ScaleByMaskPercentilesd(MapTransform):
    """Map percentiles inside `brain_mask` to [0, 1], clip, and set everything outside the mask to 0.

    Args:
        keys: images [1, H, W, D].
        lower: lower percentile, in percent.
        upper: upper percentile, in percent.

    Raises:
        InputError: if not 0 <= lower < upper <= 100.
        InputError: on calling, if the mask is empty or the window has no width.

    Examples:
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> scale = ScaleByMaskPercentilesd("image", lower=0, upper=100)
        >>> scale({"image": image, "brain_mask": image > 0})["image"].flatten().tolist()
        [0.0, 0.0, 0.5, 1.0]
    """

    def __init__(self, keys: KeysCollection, *, lower: float = 1.0, upper: float = 99.0) -> None:
        super().__init__(keys)
        if not 0 <= lower < upper <= 100:
            raise InputError(f"`lower` and `upper` must be 0 <= lower < upper <= 100, got {lower} and {upper}.")
        self.lower = lower
        self.upper = upper

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with scaled float32 images."""
        result = dict(data)
        mask = torch.as_tensor(result["brain_mask"]) > 0
        for key in self.key_iterator(result):
            inside = as_float32(result[key])[mask.cpu().numpy()]
            if inside.size == 0:
                raise InputError("the brain mask is empty", path=source_path(result[key]), fix="Check the brain mask.")
            low, high = np.percentile(inside, [self.lower, self.upper])
            if high <= low:
                raise InputError(
                    f"the brain is constant between percentiles {self.lower:g} and {self.upper:g} ({low:g})",
                    path=source_path(result[key]),
                    fix="Give a scan with tissue contrast, or a brain mask that fits it.",
                )
            scaled = ((result[key].float() - float(low)) / float(high - low)).clamp(0, 1)
            result[key] = scaled * mask
        return result
