"""Values by slice, pooled over an extent."""

from __future__ import annotations

import torch

from scripts.ops.covariance import Extent, pool_slices


def test_a_slice_stays_alone_and_a_volume_is_the_sum_of_its_slices():
    values = torch.tensor([1.0, 10.0, 100.0, 1000.0])[:, None].expand(-1, 2)
    assert torch.equal(pool_slices(values, Extent.SLICE), values)
    assert pool_slices(values, Extent.VOLUME)[:, 0].tolist() == [1111]
