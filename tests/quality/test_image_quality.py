"""Quality numbers: closed forms on made-up volumes, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.data.phantom import phantom_volume
from scripts.quality.measures import (
    brain_extents,
    brightness_range,
    brightness_span,
    end_sections,
    noise_ratio,
    nonuniformity,
    saturated_share,
    spike_ratio,
    voxel_edges,
)

RNG = np.random.default_rng(0)
EDGES = np.array([1.0, 1.0, 1.0])


def ball(size=40, radius=15):
    return np.linalg.norm(np.indices([size] * 3) - (size - 1) / 2, axis=0) <= radius


def test_voxel_edges_are_lengths_of_the_columns():
    affine = np.array([[0, -2, 0, 5], [1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    assert voxel_edges(affine).tolist() == [1, 2, 3]


def test_extents_and_ends_of_a_box_and_of_nothing():
    mask = np.zeros((9, 8, 7), dtype=bool)
    mask[2:5, 0:8, 3] = True
    assert brain_extents(mask) == (3, 8, 1)
    assert end_sections(mask).tolist() == [[1, 1], [1, 1], [1, 1]]
    assert not end_sections(mask & False).any()


def test_a_whole_ball_tapers_off_and_a_cut_one_does_not():
    whole = ball()
    # The last slice of a ball of radius 15 lies half a voxel under its top: (15² − 14.5²) / 15² = 0.07.
    assert end_sections(whole).max() < 0.1
    cut = whole.copy()
    cut[..., 28:] = False
    ends = end_sections(cut)
    assert ends[2, 1] == pytest.approx(1 - (7.5 / 15) ** 2, abs=0.03)  # a slice 7.5 voxels above the centre
    assert ends[2, 0] < 0.1
    # Cropped away or filled up with zeros is the same.
    assert np.array_equal(end_sections(cut[..., :28]), ends)


@pytest.mark.parametrize("sigma", [0.01, 5.0])
def test_noise_alone_gives_its_closed_form_whatever_its_strength(sigma):
    image = 100 + sigma * RNG.standard_normal((40, 40, 40))
    # 5th to 95th percentile of a normal distribution: 3.29 σ. The ball has 14,000 voxels: 2 % for their
    # percentiles, and a little more for the median of differences that share voxels.
    assert noise_ratio(image, ball(), EDGES) == pytest.approx(1 / 3.29, rel=0.05)


def test_noise_is_measured_on_top_of_anatomy():
    image, mask, _ = phantom_volume((64, 64, 48), 0)
    brain = mask > 0
    sigma = 0.05 * brightness_range(image[brain])
    noisy = image + sigma * RNG.standard_normal(image.shape).astype(np.float32)
    clean = noise_ratio(image, brain, EDGES)
    measured = noise_ratio(noisy, brain, EDGES)
    assert clean < 0.02
    # The texture of the phantom adds a little; the noise widens the range a little.
    assert measured == pytest.approx(0.05, abs=0.01)


def test_noise_is_looked_for_in_the_plane_of_the_fine_voxels():
    image = np.repeat(RNG.standard_normal((40, 40, 1)), 40, axis=2)  # the same in all slices across the third axis
    assert noise_ratio(image, ball(), np.array([1.0, 1.0, 5.0])) > 0.25
    assert noise_ratio(image, ball(), np.array([1.0, 5.0, 1.0])) < 1e-6


def test_noise_of_a_constant_brain_and_of_single_voxels():
    flat = np.ones((8, 8, 8))
    assert noise_ratio(flat, flat > 0, EDGES) == float("inf")
    lonely = np.zeros((8, 8, 8), dtype=bool)
    lonely[::4, ::4, ::4] = True
    assert noise_ratio(RNG.standard_normal((8, 8, 8)), lonely, EDGES) == 0


def test_saturated_share_and_spike_ratio():
    values = np.concatenate([np.zeros(50), np.linspace(0, 1, 40), np.full(10, 2.0)])
    assert saturated_share(values) == pytest.approx(0.1)
    ramp = np.linspace(-1, 1, 1001)  # median 0, 99th percentile 0.98
    assert spike_ratio(ramp) == pytest.approx(1 / 0.98)
    assert spike_ratio(np.append(ramp, 50.0)) == pytest.approx(50 / 0.98, rel=0.01)
    assert spike_ratio(np.ones(5)) == 1
    assert spike_ratio(np.append(np.ones(500), 2.0)) == float("inf")


def test_brightness_span_is_the_range_over_the_height():
    ramp = np.linspace(100, 200, 1001)  # 5th to 95th percentile: 90, median 150
    assert brightness_span(ramp) == pytest.approx(90 / 150)
    assert brightness_span(-3 * ramp) == pytest.approx(90 / 150)
    assert brightness_span(ramp - 150) == float("inf")


def test_nonuniformity_is_the_spread_between_blocks():
    brain = ball()
    gradient = np.indices(brain.shape)[0].astype(float)
    flat = np.full(brain.shape, 5.0)
    assert nonuniformity(gradient, brain, brain) > 0.3
    assert nonuniformity(flat + 1e-3 * RNG.standard_normal(brain.shape), brain, brain) < 0.1
    assert nonuniformity(flat, brain, brain) == 0
    assert nonuniformity(gradient, brain, brain & False) == 0
    assert nonuniformity(10 * gradient + 3, brain, brain) == pytest.approx(nonuniformity(gradient, brain, brain))
