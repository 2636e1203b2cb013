"""Errors of reconstructions in healthy people."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.errors import InputError
from scripts.ops import HealthyError, HealthyErrorSum, fit_to_brain

SHAPE = (12, 16, 14)


def _scans(count: int, *, mean: float = 0.1, std: float = 0.05) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(SHAPE)
    mask[2:10, 3:13, 2:12] = 1
    return [(mean + std * torch.randn(SHAPE, generator=generator), mask) for _ in range(count)]


def _finish(scans: list[tuple[torch.Tensor, torch.Tensor]], sigma: float) -> HealthyError:
    total = HealthyErrorSum()
    for difference, mask in scans:
        total.add(difference, mask)
    return total.finish(smoothing_sigma=sigma)


def test_without_smoothing_each_voxel_has_its_mean_and_standard_deviation() -> None:
    scans = _scans(7)
    found = _finish(scans, 0.0)
    inside = scans[0][1] > 0
    stacked = torch.stack([difference for difference, _ in scans]).double()
    # single precision of what is stored
    torch.testing.assert_close(found.mean[inside].double(), stacked.mean(0)[inside], atol=1e-6, rtol=0)
    torch.testing.assert_close(found.std[inside].double(), stacked.std(0, correction=0)[inside], atol=1e-6, rtol=0)
    assert torch.equal(found.brain, scans[0][1])


def test_smoothing_pools_people_and_neighbours_and_nothing_from_outside() -> None:
    scans = [(torch.where(mask > 0, difference, 99.0), mask) for difference, mask in _scans(20)]
    found = _finish(scans, 2.0)
    inside = scans[0][1] > 0
    # some 200 neighbours of 20 people: standard errors of 1e-3 and less
    assert found.mean[inside].sub(0.1).abs().max() < 0.01
    assert found.std[inside].sub(0.05).abs().max() < 0.01


def test_voxels_far_from_every_brain_take_the_nearest_values() -> None:
    found = _finish(_scans(5), 0.0)
    assert torch.equal(found.std[0, 7, 7], found.std[2, 7, 7])
    assert torch.isfinite(found.mean).all()
    assert (found.std >= 0).all()


def test_a_person_without_brain_at_a_voxel_does_not_count_there() -> None:
    (first, mask), (second, _) = _scans(2)
    smaller = mask.clone()
    smaller[2] = 0
    found = _finish([(first, mask), (second, smaller), (second, smaller)], 0.0)
    torch.testing.assert_close(found.mean[2, 5, 5], first[2, 5, 5])
    assert found.brain[2, 5, 5] == pytest.approx(1 / 3)


def test_a_brain_of_the_same_extent_changes_nothing() -> None:
    scans = _scans(4)
    error = _finish(scans, 1.0)
    fitted = fit_to_brain(error, scans[0][1])
    torch.testing.assert_close(fitted.mean, error.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(fitted.std, error.std, atol=1e-6, rtol=0)


def test_a_smaller_brain_gets_the_statistics_of_the_same_places() -> None:
    brain = torch.zeros(60, 60, 60)
    brain[10:50, 10:50, 10:50] = 1
    ramp = torch.linspace(0, 1, 60)[:, None, None].expand(60, 60, 60).contiguous()
    error = HealthyError(ramp, ramp, brain)
    own = torch.zeros(60, 60, 60)
    own[20:52, 10:50, 10:50] = 1  # 0.8 times as long, shifted
    fitted = fit_to_brain(error, own)
    for place, expected in ((20, 10), (51, 49), (35.5, 29.5)):
        low = int(np.floor(place))
        found = fitted.mean[low : low + 2, 30, 30].mean() if place % 1 else fitted.mean[int(place), 30, 30]
        assert float(found) == pytest.approx(expected / 59, abs=0.01), "half a voxel of 59"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_mask_on_another_device_serves() -> None:
    error = _finish(_scans(3), 0)
    mask = error.brain.bool()
    torch.testing.assert_close(fit_to_brain(error, mask.cuda()).std, fit_to_brain(error, mask).std)


def test_part_of_a_brain_is_not_stretched() -> None:
    brain = torch.zeros(60, 20, 20)
    brain[5:55, 2:18, 2:18] = 1
    ramp = torch.linspace(0, 1, 60)[:, None, None].expand(60, 20, 20).contiguous()
    slab = brain.clone()
    slab[30:] = 0
    torch.testing.assert_close(fit_to_brain(HealthyError(ramp, ramp, brain), slab).mean, ramp, atol=1e-6, rtol=0)


def test_wrong_input_is_named() -> None:
    scans = _scans(2)
    total = HealthyErrorSum()
    total.add(*scans[0])
    with pytest.raises(InputError, match="healthy errors need at least 2 scans, got 1"):
        total.finish(smoothing_sigma=1.0)
    with pytest.raises(InputError, match=r"scans must lie on one grid, \(12, 16, 14\), got \(1, 2, 3\)"):
        total.add(torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    with pytest.raises(InputError, match="`brain_mask` must hold at least one brain voxel, got none"):
        fit_to_brain(_finish(scans, 0.0), torch.zeros(SHAPE))
    with pytest.raises(InputError, match="must have the shape"):
        HealthyError(torch.ones(1, 1, 1), torch.ones(1, 1, 2), torch.ones(1, 1, 1))
