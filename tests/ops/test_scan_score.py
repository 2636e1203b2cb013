"""One number for a scan."""

from __future__ import annotations

import pytest
import torch

from scripts.errors import InputError
from scripts.ops import scan_score


def test_score_is_the_mean_of_the_highest_share_inside_the_brain() -> None:
    scores = torch.arange(400.0).reshape(4, 10, 10)
    mask = torch.ones(4, 10, 10)
    mask[3] = 0  # the highest values lie outside
    assert scan_score(scores, mask) == 298.0  # 1 % of 300 voxels: 299, 298, 297
    assert scan_score(scores, mask, share=1.0) == 149.5
    assert scan_score(scores, mask, share=1e-6) == 299.0, "at least one voxel"


def test_order_of_voxels_and_what_lies_outside_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(1000, generator=generator)
    mask = torch.rand(1000, generator=generator) > 0.3
    order = torch.randperm(1000, generator=generator)
    changed = torch.where(mask, scores, torch.tensor(9.0))
    assert scan_score(changed[order], mask[order]) == pytest.approx(scan_score(scores, mask), rel=1e-12)


@pytest.mark.parametrize(
    ("mask", "share", "message"),
    [
        (torch.zeros(4), 0.01, "`brain_mask` must hold at least one brain voxel, got none"),
        (torch.ones(5), 0.01, r"`brain_mask` must have the shape of `anomaly_map`, \(4,\), got \(5,\)"),
        (torch.ones(4), 0.0, "`share` must be above 0 and at most 1, got 0.0"),
        (torch.ones(4), 1.5, "`share` must be above 0 and at most 1, got 1.5"),
    ],
)
def test_wrong_arguments_are_named(mask: torch.Tensor, share: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scan_score(torch.ones(4), mask, share=share)
