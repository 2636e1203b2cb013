"""Statistics of residuals over healthy subjects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.ops import PopulationFit, PopulationStatistics, fill_from_nearest, fit_to_brain

SHAPE = (12, 16, 14)
Scans = list[tuple[Tensor, Tensor]]


def _scans(count: int, *, mean: float = 0.1, std: float = 0.05) -> Scans:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(SHAPE)
    mask[2:10, 3:13, 2:12] = 1
    return [(mean + std * torch.randn(SHAPE, generator=generator), mask) for _ in range(count)]


def _finish(scans: Scans, sigma: float, **options: object) -> PopulationStatistics:
    fit = PopulationFit()
    for residual, mask in scans:
        fit.add(residual, mask)
    return fit.finish(smoothing_sigma=sigma, **options)


def test_without_smoothing_each_voxel_has_its_mean_and_standard_deviation() -> None:
    scans = _scans(7)
    found = _finish(scans, 0.0)
    inside = scans[0][1] > 0
    stacked = torch.stack([residual for residual, _ in scans]).double()
    # half precision of what is collected: 3 digits of 0.3
    torch.testing.assert_close(found.mean[inside].double(), stacked.mean(0)[inside], atol=2e-4, rtol=0)
    torch.testing.assert_close(found.std[inside].double(), stacked.std(0, correction=0)[inside], atol=2e-4, rtol=0)
    assert torch.equal(found.brain, scans[0][1])
    assert found.components.shape == (0, *SHAPE)


def test_smoothing_pools_subjects_and_neighbours_and_nothing_from_outside() -> None:
    scans = [(torch.where(mask > 0, residual, 99.0), mask) for residual, mask in _scans(20)]
    found = _finish(scans, 2.0, num_components=2)
    inside = scans[0][1] > 0
    # some 200 neighbours of 20 subjects: standard errors of 1e-3 and less
    assert found.mean[inside].sub(0.1).abs().max() < 0.01
    assert found.std[inside].sub(0.05).abs().max() < 0.01
    assert found.components.abs().max() < 0.5


def test_voxels_far_from_every_brain_take_the_nearest_values() -> None:
    found = _finish(_scans(5), 0.0, num_components=2)
    assert torch.equal(found.std[0, 7, 7], found.std[2, 7, 7])
    assert torch.equal(found.components[:, 0, 7, 7], found.components[:, 2, 7, 7])
    assert torch.isfinite(found.mean).all()
    assert (found.std >= 0).all()


def test_a_subject_without_brain_at_a_voxel_does_not_count_there() -> None:
    (first, mask), (second, _) = _scans(2)
    smaller = mask.clone()
    smaller[5, 5, 5] = 0
    found = _finish([(first, mask), (second, smaller), (second, smaller)], 0.0)
    torch.testing.assert_close(found.mean[5, 5, 5], first[5, 5, 5], atol=1e-4, rtol=0)
    assert found.brain[5, 5, 5] == pytest.approx(1 / 3)


def _with_modes(count: int, *, noise: float) -> tuple[Scans, Tensor]:
    generator = torch.Generator().manual_seed(1)
    modes = torch.zeros(2, *SHAPE)
    modes[0, :6], modes[1, :, :8] = 0.3, 0.1
    weights = torch.randn(count, 2, generator=generator)
    mask = torch.ones(SHAPE)
    return [
        (torch.tensordot(weight, modes, dims=1) + noise * torch.randn(SHAPE, generator=generator), mask)
        for weight in weights
    ], modes


def test_components_are_what_subjects_share() -> None:
    scans, modes = _with_modes(200, noise=0.01)
    found = _finish(scans, 0.0, num_components=4, component_sigma=0.0)
    shared = torch.einsum("kshw,kxyz->shwxyz", modes, modes).flatten(3).flatten(0, 2)
    own = torch.einsum("kshw,kxyz->shwxyz", found.components, found.components).flatten(3).flatten(0, 2)
    # the covariance of 200 subjects has a standard error of 0.09 · √2 / √200
    assert (own - shared).abs().max() < 0.03
    sizes = found.components.flatten(1).norm(dim=1)
    assert (sizes[:-1] >= sizes[1:]).all()
    assert sizes[2] < 0.02 * sizes[0], "noise has no component once its floor is taken off"
    rest = found.std.square() - found.components.square().sum(0)
    assert rest.mean() < 0.1 * found.std.square().mean()


def test_order_of_subjects_does_not_matter() -> None:
    scans, _ = _with_modes(12, noise=0.05)
    one, other = (_finish(each, 1.0, num_components=2) for each in (scans, scans[::-1]))
    torch.testing.assert_close(one.std, other.std)
    torch.testing.assert_close(one.components.square(), other.components.square(), atol=1e-4, rtol=1e-2)


def test_leading_components_are_the_first() -> None:
    found = _finish(_with_modes(12, noise=0.05)[0], 1.0, num_components=5)
    assert torch.equal(found.leading(2).components, found.components[:2])
    fewer = _finish(_with_modes(12, noise=0.05)[0], 1.0, num_components=2)
    torch.testing.assert_close(fewer.components, found.components[:2])
    assert found.leading(None) is found
    assert found.leading(0).components.shape == (0, *SHAPE)


def test_a_brain_of_the_same_extent_changes_nothing() -> None:
    scans = _scans(5)
    found = _finish(scans, 1.0, num_components=2)
    fitted = fit_to_brain(found, scans[0][1])
    torch.testing.assert_close(fitted.mean, found.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(fitted.components, found.components, atol=1e-6, rtol=0)


def _cube(low: int, high: int) -> Tensor:
    brain = torch.zeros(60, 60, 60)
    brain[low:high, 10:50, 10:50] = 1
    return brain


def _ramp() -> Tensor:
    return torch.linspace(0, 1, 60)[:, None, None].expand(60, 60, 60).contiguous()


def test_a_smaller_brain_gets_the_statistics_of_the_same_places() -> None:
    statistics = PopulationStatistics(_ramp(), _ramp(), _cube(10, 50), _ramp()[None])
    fitted = fit_to_brain(statistics, _cube(20, 52))  # 0.8 times as long, shifted
    for volume in (fitted.mean, fitted.components[0]):
        for place, expected in ((20, 10), (51, 49), (35.5, 29.5)):
            low = int(np.floor(place))
            found = volume[low : low + 2, 30, 30].mean() if place % 1 else volume[int(place), 30, 30]
            assert float(found) == pytest.approx(expected / 59, abs=0.01), "half a voxel of 59"


def test_subjects_of_other_sizes_are_measured_at_the_same_places() -> None:
    steps = torch.arange(60.0)[:, None, None]

    def scan(low: int, high: int) -> tuple[Tensor, Tensor]:
        half = (steps >= (low + high) / 2).float().expand(60, 60, 60).contiguous()
        return half, _cube(low, high)

    found = _finish([scan(10, 50), scan(10, 50), scan(14, 46), scan(12, 50)], 0.0)
    inside = found.brain[:, 30, 30] == 1
    edge = (steps.flatten() - 30).abs() < 2  # linear interpolation blurs the step itself
    assert found.std[:, 30, 30][inside & ~edge].max() < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_statistics_on_another_device_serve() -> None:
    found = _finish(_scans(5), 0.0, num_components=1)
    mask = found.brain.bool()
    there = fit_to_brain(found.to(found.mean.cuda()), mask.cuda())
    torch.testing.assert_close(there.components.cpu(), fit_to_brain(found, mask).components)


def test_part_of_a_brain_is_not_stretched() -> None:
    slab = _cube(5, 30)
    statistics = PopulationStatistics(_ramp(), _ramp(), _cube(5, 55), _ramp()[None])
    torch.testing.assert_close(fit_to_brain(statistics, slab).mean, _ramp(), atol=1e-6, rtol=0)


def test_filling_takes_the_nearest_value() -> None:
    volumes = torch.arange(2 * 24.0).view(2, 2, 3, 4)
    known = torch.zeros(2, 3, 4, dtype=torch.bool)
    known[0, 1, 1] = known[1, 2, 3] = True
    filled = fill_from_nearest(volumes, known)
    assert torch.equal(filled[:, known], volumes[:, known])
    assert torch.equal(filled[:, 0, 0, 0], volumes[:, 0, 1, 1])
    assert torch.equal(filled[:, 1, 1, 3], volumes[:, 1, 2, 3])


def test_wrong_input_is_named() -> None:
    scans = _scans(3)
    fit = PopulationFit()
    fit.add(*scans[0])
    with pytest.raises(InputError, match="population statistics need at least 2 subjects, got 1"):
        fit.finish(smoothing_sigma=1.0)
    with pytest.raises(InputError, match=r"subjects must lie on one grid, \(12, 16, 14\), got \(1, 2, 3\)"):
        fit.add(torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    with pytest.raises(InputError, match="`num_components` must be from 0 to 1 for 3 subjects, got 2"):
        _finish(scans, 1.0, num_components=2)
    with pytest.raises(InputError, match="`component_sigma` must be zero or a finite number above it, got -1"):
        _finish(scans, 1.0, component_sigma=-1)
    with pytest.raises(InputError, match="`brain_mask` must hold at least one brain voxel, got none"):
        fit_to_brain(_finish(scans, 0.0), torch.zeros(SHAPE))
    with pytest.raises(InputError, match="`brain_mask` must hold at least one brain voxel, got none"):
        fit.add(scans[0][0], torch.zeros(SHAPE))
    statistics = _finish(scans, 0.0)
    with pytest.raises(InputError, match="must have the shape"):
        replace(statistics, std=torch.ones(1, 1, 2))
