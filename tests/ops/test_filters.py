"""Filters of tensors against those of scipy and scikit-image, and that a volume on a device stays there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from scripts.ops import anomaly_map, filters, ssim_map
from scripts.ops.population import _EXTENT, _extent

SHAPES = [(12, 17, 9), (2, 11, 30), (1, 8, 8)]  # the last two are thinner than a window


def _volume(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
def test_gaussian(shape: tuple[int, ...], sigma: float) -> None:
    volume = _volume(shape)
    expected = ndimage.gaussian_filter(volume.double().numpy(), sigma)
    np.testing.assert_allclose(filters.gaussian(volume.double(), sigma).numpy(), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(filters.gaussian(volume, sigma).numpy(), expected, rtol=0, atol=1e-6)  # float32


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 5])
def test_median(shape: tuple[int, ...], size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = _volume(shape)
    expected = ndimage.median_filter(volume.numpy(), size=size)
    assert np.array_equal(filters.median(volume, size).numpy(), expected)
    monkeypatch.setattr(filters, "_SLAB_VALUES", 1)  # slice after slice
    assert np.array_equal(filters.median(volume, size).numpy(), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_erosion(shape: tuple[int, ...], steps: int) -> None:
    mask = _volume(shape) > 0.05
    before = mask.clone()
    expected = ndimage.binary_erosion(mask.numpy(), iterations=steps, border_value=1)
    assert np.array_equal(filters.erode(mask, steps).numpy(), expected)
    assert torch.equal(mask, before), "the mask that was given stays as it was"
    assert torch.equal(filters.erode(mask, 0), mask)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_structural_similarity(sigma: float) -> None:
    first, second = _volume((24, 25, 26)).double(), _volume((24, 25, 26), 1).double()
    options = {"gaussian_weights": True, "use_sample_covariance": False, "full": True, "sigma": sigma, "data_range": 1.3}
    _, expected = structural_similarity(first.numpy(), second.numpy(), **options)
    found = filters.structural_similarity(first, second, data_range=1.3, sigma=sigma, truncate=3.5)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_volume_on_a_device_gets_the_same_map_and_never_leaves_it(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    image, mean, distance = _volume(shape), _volume(shape, 1), _volume(shape, 2)
    options = {"ssim_sigma": [1.0, 2.0], "median_size": 3, "erosion": 1, "median_scaling": True, "min_max": False}
    arguments = image, mean, distance, _volume(shape, 3) > 0.02
    on_host, similarity = anomaly_map(*arguments, **options), ssim_map(image, mean)
    monkeypatch.setattr(filters, "is_on_host", lambda _: False)
    for name in ("cpu", "numpy", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"a copy by {name}"))
    found, found_similarity = anomaly_map(*arguments, **options), ssim_map(image, mean)
    monkeypatch.undo()
    torch.testing.assert_close(found_similarity, similarity, rtol=0, atol=1e-6)
    torch.testing.assert_close(found, on_host, rtol=1e-5, atol=1e-5)


def test_the_extent_of_a_brain_is_that_of_its_voxels_percentiles() -> None:
    mask = _volume((20, 30, 25)) > 0.7
    expected = np.percentile(mask.nonzero().numpy(), _EXTENT, axis=0)
    np.testing.assert_allclose(_extent(mask, "mask"), expected, rtol=0, atol=1e-12)
