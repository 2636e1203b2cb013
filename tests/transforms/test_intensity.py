"""The intensity window is numpy's percentiles inside the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.errors import InputError
from scripts.transforms import ScaleByMaskPercentilesd


@pytest.mark.parametrize(("lower", "upper"), [(1, 99), (0, 100), (5, 90)])
@pytest.mark.parametrize("scale", [1.0, -300.0])
def test_percentiles_inside_the_mask_become_0_and_1(phantom_case, lower, upper, scale):
    data = phantom_case()
    data["image"] = data["image"] * scale + 7  # the background is no longer 0, nor the darkest
    image, mask = data["image"][0].numpy().astype(np.float64), data["brain_mask"][0].numpy() > 0
    low, high = np.percentile(image[mask], [lower, upper])
    expected = np.where(mask, np.clip((image - low) / (high - low), 0, 1), 0)
    output = ScaleByMaskPercentilesd("image", lower=lower, upper=upper)(data)["image"]
    assert output.dtype == torch.float32
    # float32 values of up to 300 over a range of about that size.
    np.testing.assert_allclose(output[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float64])
def test_any_number_type_gives_float32(phantom_case, dtype):
    data = phantom_case()
    data["image"] = (data["image"] * 254).round().to(dtype)
    output = ScaleByMaskPercentilesd("image")(data)["image"]
    assert output.dtype == torch.float32
    assert output.min() == 0
    assert output.max() == 1


def test_voxels_outside_the_mask_do_not_count(phantom_case):
    data, scale = phantom_case(), ScaleByMaskPercentilesd("image")
    expected = scale(data)["image"]
    outside = data["brain_mask"] == 0
    data["image"] = torch.where(outside.as_tensor(), 1e6, data["image"].as_tensor())
    assert torch.equal(scale(data)["image"], expected.as_tensor())


def test_an_empty_mask_and_a_flat_brain_are_refused(write_nifti, load, phantom_case):
    data = {key: volume[0].numpy() for key, volume in phantom_case().items()}
    scale = ScaleByMaskPercentilesd("image")
    empty = load(image=write_nifti(data["image"], "scan"), brain_mask=write_nifti(data["brain_mask"] * 0, "mask"))
    with pytest.raises(InputError, match=r"scan\.nii\.gz: the brain mask is empty\. Check"):
        scale(empty)
    flat = load(image=write_nifti(data["brain_mask"] * 5.0, "flat"), brain_mask=write_nifti(data["brain_mask"], "mask"))
    with pytest.raises(InputError, match=r"flat\.nii\.gz: the brain is constant between percentiles 1 and 99 \(5\)"):
        scale(flat)


@pytest.mark.parametrize(("lower", "upper"), [(99, 1), (50, 50), (-1, 99), (1, 101)])
def test_percentiles_out_of_range_are_refused(lower, upper):
    with pytest.raises(ValueError, match=f"must be 0 <= lower < upper <= 100, got {lower} and {upper}"):
        ScaleByMaskPercentilesd("image", lower=lower, upper=upper)
