"""The SSIM map against its formula written out, and its answers in the corners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from scripts.errors import InputError
from scripts.ops.anomaly_map import ssim_map


def _pair(shape=(10, 11, 12), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(shape, generator=generator, dtype=torch.float64)
    return image, 0.7 * image + 0.4 * torch.rand(shape, generator=generator, dtype=torch.float64)


def _naive_ssim(x, y, data_range, sigma, k1=0.01, k2=0.03):
    """Equation 13 of Wang et al. 2004, one voxel after the other, on volumes mirrored at their faces."""
    radius = int(3.5 * sigma + 0.5)
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights = taps[:, None, None] * taps[:, None] * taps
    weights /= weights.sum()
    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
    big_x, big_y = (np.pad(volume, radius, mode="symmetric") for volume in (x, y))
    result = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        window = tuple(slice(i, i + 2 * radius + 1) for i in index)
        a, b = big_x[window], big_y[window]
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        cov = (weights * (a - mean_a) * (b - mean_b)).sum()
        result[index] = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
        result[index] /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return result


@pytest.mark.parametrize("shape", [(10, 11, 12), (3, 11, 12), (1, 10, 4)])
@pytest.mark.parametrize("sigma", [1.0, 0.6])
def test_equals_formula_for_any_thickness(shape, sigma):
    image, reference = _pair(shape)
    result = ssim_map(image, reference, data_range=1.3, sigma=sigma)
    expected = _naive_ssim(image.numpy(), reference.numpy(), 1.3, sigma)
    # float64; scikit-image takes variances as a difference of means of squares, which costs a few digits
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-11)


def test_default_range_is_the_larger_of_the_two():
    image, reference = _pair()
    for pair in ((image, 3 * reference), (3 * reference, image)):
        span = float(3 * (reference.max() - reference.min()))
        assert torch.equal(ssim_map(*pair), ssim_map(*pair, data_range=span))


def test_single_slice_has_its_2d_map():
    image, reference = _pair((1, 20, 24))
    options = {"gaussian_weights": True, "sigma": 1.0, "use_sample_covariance": False, "full": True, "data_range": 1.0}
    _, flat = structural_similarity(image[0].numpy(), reference[0].numpy(), **options)
    np.testing.assert_allclose(ssim_map(image, reference, data_range=1.0)[0].numpy(), flat, rtol=0, atol=1e-12)


def test_symmetric_bounded_and_one_for_equal_volumes():
    image, reference = _pair()
    result = ssim_map(image, reference)
    torch.testing.assert_close(result, ssim_map(reference, image), rtol=0, atol=1e-14)
    assert result.abs().max() < 1
    torch.testing.assert_close(ssim_map(image, image), torch.ones_like(image), rtol=0, atol=1e-12)
    assert ssim_map(image - 0.5, 0.5 - image).min() < -0.5


def test_default_range_makes_the_map_free_of_the_unit():
    image, reference = _pair()
    torch.testing.assert_close(ssim_map(200 * image, 200 * reference), ssim_map(image, reference), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("a", "b", "expected"), [(0.0, 0.0, 1.0), (2.0, 2.0, 1.0), (1.0, 2.0, 0.8), (0.0, 3.0, 0.0), (1.0, -1.0, -1.0)]
)
def test_two_constants_compare_by_luminance(a, b, expected):
    result = ssim_map(torch.full((4, 5, 6), a), torch.full((4, 5, 6), b))
    torch.testing.assert_close(result, torch.full((4, 5, 6), expected))
    if a and b:  # the limit of the formula for a vanishing range
        nearly = ssim_map(torch.full((4, 5, 6), a), torch.full((4, 5, 6), b), data_range=1e-4)
        torch.testing.assert_close(nearly, result, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "returned"),
    [(torch.float16, torch.float16), (torch.float32, torch.float32), (torch.int16, torch.float32)],
)
def test_dtype_of_the_image_is_kept(given, returned):
    image, reference = ((100 * volume).to(given) for volume in _pair())
    result = ssim_map(image, reference)
    assert result.dtype is returned
    assert torch.equal(result, ssim_map(image.double(), reference.double()).to(returned))


def test_input_is_left_as_it_was():
    image, reference = _pair()
    copies = image.clone(), reference.clone()
    ssim_map(image, reference.requires_grad_())
    assert torch.equal(image, copies[0])
    assert torch.equal(reference, copies[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_range": 0.0}, r"`data_range` must be a finite number above zero, got 0.0"),
        ({"sigma": 0.0}, r"`sigma` must be a finite number above zero, got 0.0"),
    ],
)
def test_bad_option(options, message):
    with pytest.raises(InputError, match=message):
        ssim_map(*_pair(), **options)


def test_bad_volumes():
    image, reference = _pair()
    with pytest.raises(
        InputError, match=r"`reference` must have the shape of `image`, \(10, 11, 12\), got \(9, 11, 12\)"
    ):
        ssim_map(image, reference[1:])
    with pytest.raises(InputError, match=r"`image` must be a non-empty \[S, H, W\] tensor, got shape \(11, 12\)"):
        ssim_map(image[0], reference[0])
    reference[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"`reference` must be finite, got 1 NaN or infinite of 1320 values"):
        ssim_map(image, reference)
