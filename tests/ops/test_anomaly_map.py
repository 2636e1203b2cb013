"""The anomaly map: each step by its definition, and the order of the steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from scripts.errors import InputError
from scripts.ops.anomaly_map import (
    Residual,
    anomaly_map,
    median_scale,
    min_max_scale,
    postprocess,
    residual_map,
    smooth,
    ssim_map,
)

SHAPE = (9, 12, 13)


@pytest.fixture
def scene():
    """An image, its reconstruction, a distance map with NaN in it, and a ball-shaped mask that the first slice cuts."""
    generator = torch.Generator().manual_seed(1)
    image, noise, distance = (torch.rand(SHAPE, generator=generator, dtype=torch.float64) for _ in range(3))
    z, y, x = torch.meshgrid(*(torch.arange(size) for size in SHAPE), indexing="ij")
    mask = (z**2 + (y - 6) ** 2 + (x - 6) ** 2) <= 25
    distance = 3 * distance * mask
    distance[0, 6, 4:9] = torch.nan
    return image, (image + noise) / 2, distance, mask


def test_min_max_scale():
    volume = torch.tensor([[-3.0, 1.0], [5.0, 0.0]])
    assert min_max_scale(volume).tolist() == [[0, 0.5], [1, 0.375]]
    assert torch.equal(min_max_scale(torch.full(SHAPE, 7.0)), torch.zeros(SHAPE))
    with pytest.raises(InputError, match=r"`volume` must be finite, got 2 NaN or infinite of 3 values"):
        min_max_scale(torch.tensor([torch.nan, 1.0, torch.inf]))


def test_median_scale_leaves_the_background_at_one_and_forgets_the_scale():
    volume = torch.tensor([[0.0, 0.5], [2.0, 1.0]])
    assert median_scale(volume).tolist() == [[0, 0.5], [2, 1.0]], "the median of what is above 0 is 1"
    torch.testing.assert_close(median_scale(7 * volume), median_scale(volume))
    assert torch.equal(median_scale(torch.zeros(SHAPE)), torch.zeros(SHAPE))


def test_median_scaling_is_the_last_step(scene):
    image, reconstruction, distance, mask = scene
    options = {"min_max": False, "median_size": 3, "erosion": 1}
    plain = anomaly_map(image, reconstruction, distance, mask, **options)
    scaled = anomaly_map(image, reconstruction, distance, mask, median_scaling=True, **options)
    torch.testing.assert_close(scaled, plain / plain[plain > 0].median())


def test_smooth_is_a_unit_mass_gaussian():
    spot = torch.zeros(21, 21, 21, dtype=torch.float64)
    spot[10, 10, 10] = 1
    taps = np.exp(-(np.arange(-4, 5) ** 2) / 2)
    taps /= taps.sum()
    expected = np.zeros((21, 21, 21))
    expected[6:15, 6:15, 6:15] = taps[:, None, None] * taps[:, None] * taps
    np.testing.assert_allclose(smooth(spot, 1.0).numpy(), expected, atol=1e-15)
    assert smooth(torch.rand(SHAPE), 1.5).dtype is torch.float32
    torch.testing.assert_close(smooth(torch.ones(SHAPE), 1.5), torch.ones(SHAPE))  # mirrored border: no darker rim
    assert torch.equal(smooth(spot, 0), spot)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_filtered_in_float32(dtype):
    volume = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(smooth(volume, 1.0), smooth(volume.float(), 1.0).to(dtype))
    mask = torch.ones(SHAPE)
    assert torch.equal(
        postprocess(volume, mask, median_size=3), postprocess(volume.float(), mask, median_size=3).to(dtype)
    )


def test_residuals(scene):
    image, reconstruction, _, _ = scene
    difference = image - reconstruction
    expected = {"l1": difference.abs(), "l2": difference**2, "none": torch.ones(SHAPE, dtype=torch.float64)}
    for name, values in expected.items():
        assert torch.equal(residual_map(image, reconstruction, residual=name), values)
    ssim = residual_map(image, reconstruction, ssim_sigma=0.8)
    assert torch.equal(ssim, 1 - ssim_map(image, reconstruction, sigma=0.8))
    single = [residual_map(image, reconstruction, ssim_sigma=sigma) for sigma in (0.8, 2.0)]
    several = residual_map(image, reconstruction, ssim_sigma=[0.8, 2.0])
    assert torch.allclose(several, (single[0] + single[1]) / 2, atol=1e-12)  # rounding of float64
    assert residual_map(image.half(), reconstruction.half(), residual="l1").dtype is torch.float32


@pytest.mark.parametrize("median_size", [1, 3, 5])
def test_median_filter_is_the_median_of_each_cube(median_size):
    volume = torch.rand(6, 7, 8, generator=torch.Generator().manual_seed(2))
    result = postprocess(volume, torch.ones(6, 7, 8), median_size=median_size)
    padded = np.pad(volume.numpy(), median_size // 2, mode="symmetric")
    cubes = np.lib.stride_tricks.sliding_window_view(padded, (median_size,) * 3)
    assert np.array_equal(result.numpy(), np.median(cubes, axis=(3, 4, 5)))


def test_median_filter_removes_specks_and_stays_inside_the_mask(scene):
    mask = scene[3]
    speck = torch.zeros(SHAPE)
    speck[2, 6, 6] = 1
    assert postprocess(speck, mask, median_size=3).sum() == 0
    assert (postprocess(torch.ones(SHAPE), mask, median_size=3)[~mask] == 0).all()


@pytest.mark.parametrize("erosion", [0, 1, 2, 3])
def test_erosion_keeps_voxels_that_far_from_the_outside(scene, erosion):
    mask = scene[3].numpy()
    padded = np.pad(mask, ((5, 5),) * 3, mode="edge")  # the brain goes on beyond the field of view
    depth = ndimage.distance_transform_cdt(padded, metric="taxicab")[5:-5, 5:-5, 5:-5]
    result = postprocess(torch.ones(SHAPE), torch.from_numpy(mask), erosion=erosion)
    assert np.array_equal(result.numpy() != 0, depth > erosion)
    assert result[0].any()  # the slice where the volume ends is not eaten from outside


def test_erosion_of_the_whole_mask_leaves_zero(scene):
    assert not postprocess(torch.ones(SHAPE), scene[3], erosion=20).any()


@pytest.mark.parametrize("residual", Residual)
@pytest.mark.parametrize("min_max", [True, False])
def test_steps_come_in_the_documented_order(scene, residual, min_max):
    image, reconstruction, distance, mask = scene
    result = anomaly_map(
        image,
        reconstruction,
        distance,
        mask,
        residual=residual,
        min_max=min_max,
        smoothing_sigma=0.7,
        median_size=3,
        erosion=1,
    )
    weight = np.nan_to_num(distance.numpy())
    weight = weight / weight.max() if min_max else weight  # its minimum is zero
    weight = ndimage.gaussian_filter(weight, 0.7)
    combined = weight * residual_map(image, reconstruction, residual=residual).numpy() * mask.numpy()
    combined = ndimage.median_filter(combined, 3)
    expected = combined * ndimage.binary_erosion(mask.numpy(), border_value=1)
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-14)


def test_defaults_are_the_papers(scene):
    image, reconstruction, distance, mask = scene
    explicit = anomaly_map(
        image,
        reconstruction,
        distance,
        mask,
        residual="ssim",
        min_max=True,
        smoothing_sigma=1.0,
        median_size=0,
        erosion=0,
        ssim_sigma=1.0,
    )
    assert torch.equal(anomaly_map(image, reconstruction, distance, mask), explicit)
    assert torch.isfinite(explicit).all()
    assert (explicit >= 0).all()
    assert (explicit[~mask] == 0).all()


def test_residual_alone_is_neither_scaled_nor_smoothed(scene):
    image, reconstruction, _, mask = scene
    result = anomaly_map(image, reconstruction, None, mask, residual="l1", smoothing_sigma=3.0)
    assert torch.equal(result, (image - reconstruction).abs() * mask)


def test_constant_distance_map_scales_to_zero(scene):
    image, reconstruction, distance, mask = scene
    flat = torch.ones_like(distance)
    assert not anomaly_map(image, reconstruction, flat, mask).any()
    assert anomaly_map(image, reconstruction, flat, mask, min_max=False).any()


def test_widest_dtype_is_returned(scene):
    image, reconstruction, distance, mask = scene
    half = anomaly_map(image.half(), reconstruction.half(), distance.half(), mask)
    assert half.dtype is torch.float32
    assert anomaly_map(image.float(), reconstruction.float(), distance, mask).dtype is torch.float64
    # float16 holds 11 bits of an intensity; the map stays below 2
    torch.testing.assert_close(half.double(), anomaly_map(image, reconstruction, distance, mask), rtol=0, atol=2e-2)


def test_input_is_left_as_it_was(scene):
    copies = [tensor.clone() for tensor in scene]
    anomaly_map(*scene, median_size=3, erosion=1)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(scene, copies, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"residual": "mse"}, r"`residual` must be one of ssim, l1, l2, none, got 'mse'"),
        ({"smoothing_sigma": -1.0}, r"`smoothing_sigma` must be zero or a finite number above it, got -1.0"),
        ({"ssim_sigma": 0.0}, r"`ssim_sigma` must be a finite number above zero, got 0.0"),
        ({"ssim_sigma": [1.0, -1.0]}, r"`ssim_sigma` must be a finite number above zero, got -1.0"),
        ({"ssim_sigma": []}, r"`ssim_sigma` must be a number above zero or several, got \[\]"),
        ({"median_size": 4}, r"`median_size` must be an odd whole number of at least 1, got 4"),
        ({"median_size": -3}, r"`median_size` must be an odd whole number of at least 1, got -3"),
        ({"erosion": -1}, r"`erosion` must be a whole number from 0 on, got -1"),
        ({"erosion": 1.5}, r"`erosion` must be a whole number from 0 on, got 1.5"),
        (
            {"mahalanobis_map": None, "residual": "none"},
            r"`residual` must be ssim, l1 or l2 where `mahalanobis_map` is None",
        ),
        (
            {"mahalanobis_map": torch.full(SHAPE, torch.inf)},
            r"`mahalanobis_map` must be finite, got 1404 NaN or infinite of 1404",
        ),
        (
            {"mahalanobis_map": torch.zeros(1, 12, 13)},
            r"`mahalanobis_map` must have the shape of `image`, \(9, 12, 13\), got \(1, 12, 13\)",
        ),
        ({"brain_mask": torch.zeros(SHAPE)}, r"`brain_mask` must hold at least one brain voxel, got none"),
        ({"image": torch.full(SHAPE, torch.nan)}, r"`image` must be finite, got 1404 NaN or infinite of 1404"),
    ],
)
def test_bad_input(scene, options, message):
    names = ("image", "reconstruction_mean", "mahalanobis_map", "brain_mask")
    with pytest.raises(InputError, match=message):
        anomaly_map(**(dict(zip(names, scene, strict=True)) | options))
