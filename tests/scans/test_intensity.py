"""Offset and scale of a scan: nothing that follows may see them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from scripts.data.phantom import phantom_volume
from scripts.scans.volume import background_value, fill_background, normalized, scale_exponent
from scripts.transforms import CurvatureFlowDenoised, NormalizeScansd

PHANTOM = (np.asarray(phantom_volume((32, 32, 32), 3, "t1")[0]) * 300).astype(np.float32).round()
NOISE = np.abs(np.random.default_rng(0).normal(0, 4, PHANTOM.shape)).astype(np.float32).round()
HEAD = PHANTOM + NOISE  # no constant background
CHANGES = {
    "x 1e-6": lambda x: x * np.float32(1e-6),
    "x 1e6": lambda x: x * np.float32(1e6),
    "z-score": lambda x: (x - x.mean()) / x.std(),
    "[-1, 1]": lambda x: 2 * (x - x.min()) / np.ptp(x) - 1,
    "-1024": lambda x: x - 1024,
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("scan", [PHANTOM, HEAD], ids=["stripped", "head"])
def test_scale_and_offset_leave_no_trace_but_a_factor(scan: np.ndarray, name: str) -> None:
    plain, changed = normalized(scan), normalized(CHANGES[name](scan).astype(np.float32))
    factor = float((plain * changed).sum() / (plain * plain).sum())
    assert 0.5 < factor < 2, "both lie between 512 and 1024"
    # float32 has 24 bits, of which the offset -1024 and a mean take some
    np.testing.assert_allclose(changed, factor * plain, atol=1e-3 * plain.max())
    assert background_value(scan) == (0.0 if scan is PHANTOM else background_value(HEAD))


def test_a_scan_with_a_background_of_zero_keeps_every_digit() -> None:
    exponent = scale_exponent(PHANTOM)
    np.testing.assert_array_equal(normalized(PHANTOM), PHANTOM * 2.0**exponent)
    assert 512 <= np.percentile(normalized(PHANTOM)[PHANTOM > 0], 99.9) <= 1024


def test_a_brain_that_was_standardised_inside_its_mask_comes_above_its_background() -> None:
    brain = PHANTOM > 0
    standardised = np.where(brain, (PHANTOM - PHANTOM[brain].mean()) / PHANTOM[brain].std(), 0).astype(np.float32)
    found = normalized(standardised)
    assert (found[brain] > 0).all()
    assert (found[~brain] == 0).all()
    assert np.corrcoef(found[brain], PHANTOM[brain])[0, 1] > 0.999


@pytest.mark.parametrize("traces", [False, True], ids=["exact", "interpolated"])
def test_tissue_as_bright_as_the_background_leaves_no_hole_in_a_standardised_brain(traces: bool) -> None:
    rng = np.random.default_rng(0)
    brain = PHANTOM > 0
    voxels = ndimage.gaussian_filter(PHANTOM, 1.5) + rng.uniform(-1, 1, PHANTOM.shape)
    standardised = np.where(brain, (voxels - voxels[brain].mean()) / voxels[brain].std(), 0).astype(np.float32)
    like_background = ndimage.binary_erosion(brain) & (np.abs(standardised) < 0.02)
    assert np.count_nonzero(like_background) > 50
    ringing = rng.normal(0, 1e-3, PHANTOM.shape) * ndimage.binary_dilation(brain, iterations=3)
    found = normalized(np.where(brain, standardised, ringing * traces).astype(np.float32))
    assert np.ptp(found[like_background]) < 0.05 * found.max()
    assert (found[~brain] == 0).all()
    assert np.corrcoef(found[ndimage.binary_erosion(brain)], voxels[ndimage.binary_erosion(brain)])[0, 1] > 0.999


def test_nan_around_the_head_is_background_and_nan_inside_of_it_stays() -> None:
    missing = np.where(PHANTOM > 0, PHANTOM, np.nan).astype(np.float32)
    np.testing.assert_array_equal(fill_background(missing), PHANTOM)
    missing[16, 16, 16] = np.nan
    assert np.isnan(fill_background(missing)).sum() == 1
    nothing = np.full((4, 4, 4), np.nan, np.float32)
    assert np.isnan(fill_background(nothing)).all()


def test_images_that_the_check_refuses_pass_unchanged() -> None:
    for image in (torch.full((1, 4, 4, 4), 3.0), torch.rand(2, 4, 4, 4), torch.full((1, 4, 4, 4), float("inf"))):
        assert torch.equal(NormalizeScansd("image")({"image": MetaTensor(image)})["image"].as_tensor(), image)


@pytest.mark.parametrize("exponent", [-20, 20])
def test_denoising_scales_with_the_image(exponent: int) -> None:
    denoise = CurvatureFlowDenoised("image")
    image = torch.as_tensor(HEAD[None])
    plain = denoise({"image": image})["image"]
    scaled = denoise({"image": image * 2.0**exponent})["image"]
    assert torch.equal(scaled, plain * 2.0**exponent)
    assert (plain - image).abs().max() > 1
