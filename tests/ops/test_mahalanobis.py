"""The low-rank Mahalanobis map against its dense definition, and what must hold for any cloud."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from scripts.ops.covariance import Extent
from scripts.ops.mahalanobis import Score, mahalanobis_map

NAN_FREE = [Score.WHITENED, Score.CONDITIONAL, Score.DIAGONAL]
# Both sides work in float64 (1e-16) on covariances of condition number below 1e4; 1e-9 leaves room for the dense inverse.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", NAN_FREE)
@pytest.mark.parametrize("num_draws", [3, 6, 12])
def test_equals_dense_definition(cloud, dense_mahalanobis, score, extent, num_draws):
    image, draws, mask = cloud(num_draws)
    options = {"score": score, "extent": extent}
    expected = dense_mahalanobis(image, draws, mask, **options)
    torch.testing.assert_close(mahalanobis_map(image, draws, mask, **options), expected, **TOLERANCE)


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("num_draws", [3, 6, 12])
def test_reference_is_root_of_contribution_and_nan_where_negative(cloud, dense_mahalanobis, extent, num_draws):
    image, draws, mask = cloud(num_draws)
    options = {"extent": extent}
    contribution = dense_mahalanobis(image, draws, mask, score="contribution", **options)
    result = mahalanobis_map(image, draws, mask, score="reference", **options)
    assert (contribution < 0).any()
    assert contribution[contribution != 0].abs().min() > 1e-9  # so rounding cannot flip a sign here
    assert torch.equal(result.isnan(), contribution < 0)
    torch.testing.assert_close(
        result.square(), contribution.where(contribution >= 0, torch.nan), equal_nan=True, **TOLERANCE
    )


@pytest.mark.parametrize("score", Score)
def test_two_samples_are_enough(cloud, dense_mahalanobis, score):
    image, draws, mask = cloud(2)
    name = "contribution" if score is Score.REFERENCE else score
    expected = dense_mahalanobis(image, draws, mask, score=name)
    expected = expected.sqrt() if score is Score.REFERENCE else expected
    # the root magnifies rounding next to zero, hence 1e-7 rather than 1e-9
    torch.testing.assert_close(
        mahalanobis_map(image, draws, mask, score=score), expected, rtol=1e-7, atol=1e-7, equal_nan=True
    )


@pytest.mark.parametrize("extent", Extent)
def test_whitened_squares_sum_to_the_mahalanobis_distance(cloud, dense_mahalanobis, extent):
    image, draws, mask = cloud()
    whitened = mahalanobis_map(image, draws, mask, score="whitened", extent=extent)
    distance = dense_mahalanobis(image, draws, mask, score="contribution", extent=extent)
    axes = (1, 2) if extent is Extent.SLICE else (0, 1, 2)
    torch.testing.assert_close(whitened.square().sum(axes), distance.sum(axes), **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_constant_cloud_gives_scaled_absolute_error(cloud, score):
    image, draws, mask = cloud()
    same = draws[:1].expand(4, -1, -1, -1)
    result = mahalanobis_map(image, same, mask, score=score, regularization=0.25)
    torch.testing.assert_close(result, (image - draws[0]).abs() / 0.5 * mask, **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_image_equal_to_the_mean_scores_zero(cloud, score):
    _, draws, mask = cloud()
    result = mahalanobis_map(draws.mean(0), draws, mask, score=score)
    assert torch.equal(result, torch.zeros_like(result))


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", Score)
def test_order_of_samples_does_not_matter(cloud, score, extent):
    image, draws, mask = cloud()
    result = mahalanobis_map(image, draws, mask, score=score, extent=extent)
    shuffled = mahalanobis_map(image, draws[[3, 0, 5, 1, 4, 2]], mask, score=score, extent=extent)
    torch.testing.assert_close(shuffled.square(), result.square(), equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("score", NAN_FREE)
def test_map_has_no_unit(cloud, score):
    image, draws, mask = cloud()
    result = mahalanobis_map(image, draws, mask, score=score)
    rescaled = mahalanobis_map(
        50 * image + 7, 50 * draws + 7, mask, score=score, regularization=50**2 * 1e-2
    )
    torch.testing.assert_close(rescaled, result, **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_slices_are_independent_and_batch_equals_loop(cloud, score):
    image, draws, mask = cloud()
    batch = mahalanobis_map(image, draws, mask, score=score)
    for s in mask.flatten(1).any(1).nonzero().flatten().tolist():
        alone = mahalanobis_map(image[s : s + 1], draws[:, s : s + 1], mask[s : s + 1], score=score)
        torch.testing.assert_close(batch[s : s + 1].square(), alone.square(), equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", Score)
def test_values_outside_the_mask_do_not_count(cloud, score, extent):
    image, draws, mask = cloud()
    result = mahalanobis_map(image, draws, mask, score=score, extent=extent)
    elsewhere = torch.where(mask, 0.0, 1e3)
    moved = mahalanobis_map(image + elsewhere, draws - elsewhere, mask.to(torch.uint8) * 3, score=score, extent=extent)
    assert torch.equal(moved.nan_to_num(nan=-1), result.nan_to_num(nan=-1))
    assert (result[~mask] == 0).all()
    assert not mask[3].any()  # the slice without brain has its zero map


@pytest.mark.parametrize("score", Score)
def test_one_pixel_of_brain(cloud, dense_mahalanobis, score):
    image, draws, mask = cloud()
    mask = torch.zeros_like(mask)
    mask[1, 2, 3] = True
    # with one pixel d * inv(S) d is a square, so all scores are the same number
    expected = dense_mahalanobis(image, draws, mask, score="diagonal")
    torch.testing.assert_close(mahalanobis_map(image, draws, mask, score=score), expected, **TOLERANCE)


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", NAN_FREE)
def test_float32_follows_float64(cloud, score, extent):
    image, draws, mask = cloud(10, (5, 32, 32))
    options = {"score": score, "extent": extent}
    exact = mahalanobis_map(image.float().double(), draws.float().double(), mask, **options)
    result = mahalanobis_map(image.float(), draws.float(), mask, **options)
    assert result.dtype is torch.float32
    # float32 rounds at 6e-8; the docstring promises 1e-6 of the maximum for a ridge that is not tiny
    assert (result - exact).abs().max() < 1e-6 * exact.max()


def test_tiny_regularization_keeps_float32_finite(cloud):
    image, draws, mask = cloud(10, (4, 16, 16))
    for score in NAN_FREE:
        result = mahalanobis_map(image.float(), draws.float(), mask, score=score, regularization=1e-12)
        assert torch.isfinite(result).all()


@pytest.mark.parametrize("seed", range(5))
def test_fewer_pixels_than_samples_keep_float32_finite(cloud, seed):
    image, draws, mask = cloud(12, (4, 3, 2), seed)  # X then has full column rank: 1 - q is all rounding
    for score in NAN_FREE:
        result = mahalanobis_map(image.float(), draws.float(), mask, score=score, regularization=1e-10)
        assert torch.isfinite(result).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_and_returned_in_float32(cloud, dtype):
    image, draws, mask = cloud()
    image, draws = image.to(dtype), draws.to(dtype)
    result = mahalanobis_map(image, draws, mask, score="whitened")
    assert result.dtype is torch.float32
    assert torch.equal(result, mahalanobis_map(image.float(), draws.float(), mask, score="whitened"))


def test_wider_dtype_of_the_two_is_returned(cloud):
    image, draws, mask = cloud()
    assert mahalanobis_map(image.float(), draws, mask).dtype is torch.float64
    assert mahalanobis_map((image * 99).long(), (draws * 99).long(), mask).dtype is torch.float32


def test_autocast_does_not_reach_the_gram_matrix(cloud):
    image, draws, mask = cloud()
    image, draws = image.float(), draws.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = mahalanobis_map(image, draws, mask, score="conditional")
    assert torch.equal(result, mahalanobis_map(image, draws, mask, score="conditional"))


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", Score)
def test_new_tensors_follow_the_input_device(cloud, score, extent):
    image, draws, mask = cloud()
    with torch.device("meta"):  # a tensor made without a device would have no data here
        result = mahalanobis_map(image, draws, mask, score=score, extent=extent)
    assert result.device == image.device


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", NAN_FREE)
def test_cuda_equals_cpu(cloud, score, extent):
    image, draws, mask = cloud()
    result = mahalanobis_map(image.cuda(), draws.cuda(), mask.cuda(), score=score, extent=extent)
    assert result.is_cuda
    torch.testing.assert_close(
        result.cpu(), mahalanobis_map(image, draws, mask, score=score, extent=extent), **TOLERANCE
    )


class _LargestTensor(TorchDispatchMode):
    """Record the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            self.numel = max(self.numel, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
        return out


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", Score)
def test_no_tensor_is_larger_than_the_cloud(cloud, score, extent):
    image, draws, mask = cloud(4, (3, 40, 40))
    with _LargestTensor() as largest:
        mahalanobis_map(image, draws, mask, score=score, extent=extent)
    assert largest.numel == draws.numel()  # a 1600 x 1600 matrix would be 133 times that


def test_input_is_left_as_it_was(cloud):
    inputs = cloud()
    copies = [tensor.clone() for tensor in inputs]
    inputs[1].requires_grad_()
    assert not mahalanobis_map(*inputs).requires_grad
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(inputs, copies, strict=True))
