"""Curvature flow is SimpleITK's, on the right axes, and can be switched off."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
import torch

from scripts.transforms import CurvatureFlowDenoised


@pytest.mark.parametrize("spacing", [2.0, (1.0, 1.0, 4.0)])
def test_equals_simpleitk_called_directly(phantom_case, spacing):
    data = phantom_case((12, 16, 10), spacing)
    volume = SimpleITK.GetImageFromArray(data["image"][0].numpy())
    expected = SimpleITK.GetArrayFromImage(SimpleITK.CurvatureFlow(volume, 0.125, 3))
    output = CurvatureFlowDenoised("image", time_step=0.125, iterations=3)(data)["image"]
    assert output.dtype == torch.float32
    assert torch.equal(output.affine, data["image"].affine)
    np.testing.assert_array_equal(output[0].numpy(), expected.astype(np.float32))
    assert not torch.equal(output.as_tensor(), data["image"].as_tensor())


def test_mirrored_input_gives_mirrored_output(phantom_case):
    data, denoise = phantom_case((12, 16, 10)), CurvatureFlowDenoised("image")
    mirrored = denoise({"image": data["image"].flip(1)})["image"]
    # The flow sums neighbours in a fixed order: float32 rounding.
    torch.testing.assert_close(mirrored.flip(1).as_tensor(), denoise(data)["image"].as_tensor(), atol=1e-6, rtol=0)


def test_noise_in_even_tissue_falls_and_masks_stay(phantom_case):
    data = phantom_case()
    noise = 0.05 * torch.randn(data["image"].shape, generator=torch.Generator().manual_seed(0))
    data["image"] = data["image"] * 0 + 0.5 + noise
    output = CurvatureFlowDenoised("image")(data)
    assert output["image"].std() < 0.7 * noise.std()
    assert abs(float(output["image"].mean()) - 0.5) < 0.01
    assert output["brain_mask"] is data["brain_mask"]


def test_no_iterations_return_the_very_image(phantom_case):
    data = phantom_case()
    assert CurvatureFlowDenoised("image", iterations=0)(data)["image"] is data["image"]


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`time_step` must be positive, got 0"):
        CurvatureFlowDenoised("image", time_step=0)
    with pytest.raises(ValueError, match="`iterations` must be at least 0, got -1"):
        CurvatureFlowDenoised("image", iterations=-1)
