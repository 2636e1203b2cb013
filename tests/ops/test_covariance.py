"""The shrinkage intensity from a Gram matrix against scikit-learn's from the samples."""

from __future__ import annotations

import pytest
import torch
from sklearn.covariance import ledoit_wolf, oas

from scripts.ops.covariance import Extent, Shrinkage, pool_slices, shrinkage_intensity


@pytest.mark.parametrize(("shrinkage", "library"), [(Shrinkage.LEDOIT_WOLF, ledoit_wolf), (Shrinkage.OAS, oas)])
@pytest.mark.parametrize(("num_draws", "num_pixels"), [(3, 2), (3, 50), (10, 7), (10, 300), (40, 5)])
def test_intensity_equals_scikit_learn(shrinkage, library, num_draws, num_pixels):
    generator = torch.Generator().manual_seed(num_draws)
    loading = torch.rand(num_pixels, num_pixels, generator=generator, dtype=torch.float64)
    samples = torch.randn(num_draws, num_pixels, generator=generator, dtype=torch.float64) @ loading
    centred = samples - samples.mean(0)
    result = shrinkage_intensity((centred @ centred.T)[None], torch.tensor([num_pixels]), shrinkage)
    assert result.item() == pytest.approx(library(samples.numpy())[1], abs=1e-12)  # float64 on both sides
    assert 0 < result.item() <= 1


@pytest.mark.parametrize("shrinkage", [Shrinkage.LEDOIT_WOLF, Shrinkage.OAS])
def test_intensity_is_one_for_a_multiple_of_the_identity(shrinkage):
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # S is the identity
    assert shrinkage_intensity((corners @ corners.T)[None], torch.tensor([2.0]), shrinkage).item() == 1
    nothing = torch.zeros(1, 4, 4)
    assert shrinkage_intensity(nothing, torch.tensor([0.0]), shrinkage).item() == 1


def test_pooling_sums_the_neighbours():
    values = torch.tensor([1.0, 10.0, 100.0, 1000.0])[:, None].expand(-1, 2)
    assert torch.equal(pool_slices(values, Extent.SLICE, 3), values)
    assert pool_slices(values, Extent.WINDOW, 3)[:, 0].tolist() == [11, 111, 1110, 1100]
    assert pool_slices(values, Extent.VOLUME, 3)[:, 0].tolist() == [1111]
