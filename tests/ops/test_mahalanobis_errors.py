"""What the Mahalanobis map refuses, and in which words."""

from __future__ import annotations

import pytest
import torch

from scripts.errors import InputError
from scripts.ops.mahalanobis import mahalanobis_map


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "zscore"}, r"`score` must be one of reference, whitened, conditional, diagonal, got 'zscore'"),
        ({"extent": "patch"}, r"`extent` must be one of slice, volume, got 'patch'"),
        ({"regularization": 0}, r"`regularization` must be a finite number above zero, got 0"),
        ({"regularization": -1e-2}, r"`regularization` must be a finite number above zero, got -0.01"),
        ({"regularization": float("nan")}, r"`regularization` must be a finite number above zero, got nan"),
    ],
)
def test_bad_option(cloud, options, message):
    with pytest.raises(InputError, match=message):
        mahalanobis_map(*cloud(), **options)


def test_one_sample(cloud):
    image, draws, mask = cloud()
    with pytest.raises(InputError, match=r"`reconstructions` must hold at least 2 samples \(K >= 2\), got K = 1"):
        mahalanobis_map(image, draws[:1], mask)


def test_shapes(cloud):
    image, draws, mask = cloud()
    with pytest.raises(InputError, match=r"`reconstructions` must be a \[K, S, H, W\] tensor, got shape \(5, 6, 7\)"):
        mahalanobis_map(image, draws[0], mask)
    with pytest.raises(
        InputError, match=r"`reconstructions\[0\]` must have the shape of `image`, \(5, 6, 7\), got \(5, 6, 6\)"
    ):
        mahalanobis_map(image, draws[..., :-1], mask)
    with pytest.raises(InputError, match=r"`brain_mask` must have the shape of `image`, \(5, 6, 7\), got \(4, 6, 7\)"):
        mahalanobis_map(image, draws, mask[1:])
    with pytest.raises(InputError, match=r"`image` must be a non-empty \[S, H, W\] tensor, got shape \(6, 7\)"):
        mahalanobis_map(image[0], draws, mask)


def test_devices(cloud):
    image, draws, mask = cloud()
    with pytest.raises(InputError, match=r"`brain_mask` must be on the device of `image`, cpu, got meta"):
        mahalanobis_map(image, draws, mask.to("meta"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("position", "name", "total"), [(0, "image", 210), (1, "reconstructions", 1260), (2, "brain_mask", 210)]
)
def test_non_finite_input(cloud, value, position, name, total):
    tensors = [tensor.double() for tensor in cloud()]
    tensors[position].view(-1)[5] = value
    with pytest.raises(InputError, match=rf"`{name}` must be finite, got 1 NaN or infinite of {total} values"):
        mahalanobis_map(*tensors)


def test_overflow(cloud):
    image, draws, mask = cloud()
    with pytest.raises(
        InputError, match=r"`reconstructions` must have squares that fit torch.float32, got an overflow"
    ):
        mahalanobis_map(image.float(), draws.float() * 1e30, mask)


def test_no_brain(cloud):
    image, draws, mask = cloud()
    with pytest.raises(InputError, match=r"`brain_mask` must hold at least one brain voxel, got none"):
        mahalanobis_map(image, draws, torch.zeros_like(mask))
