"""Values by slice, pooled over an extent."""

from __future__ import annotations

import torch

from scripts.ops.covariance import Extent, pool_slices


def test_pooling_sums_the_neighbours():
    values = torch.tensor([1.0, 10.0, 100.0, 1000.0])[:, None].expand(-1, 2)
    assert torch.equal(pool_slices(values, Extent.SLICE, 3), values)
    assert pool_slices(values, Extent.WINDOW, 3)[:, 0].tolist() == [11, 111, 1110, 1100]
    assert pool_slices(values, Extent.VOLUME, 3)[:, 0].tolist() == [1111]
