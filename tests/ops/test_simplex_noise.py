"""Seeded noise: the library's numbers, independence of everything but the seed, and the statistics."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import opensimplex
import pytest
import torch

from scripts.errors import InputError
from scripts.ops.simplex_noise import NoiseKind, make_noise, sample_seed, simplex_noise


def _library_field(shape, seed, octaves, persistence, frequency):
    generator = opensimplex.OpenSimplex(seed)
    layers = []
    for octave in range(octaves):
        cell = frequency / 2**octave
        grid = generator.noise2array(np.arange(shape[1]) / cell, np.arange(shape[0]) / cell)
        layers.append(persistence**octave * grid)
    return np.sum(layers, axis=0)


@pytest.mark.parametrize(
    ("shape", "seed", "octaves", "persistence", "frequency"),
    [
        ((20, 30), 1, 6, 0.8, 64),
        ((7, 5), -(2**63), 1, 0.5, 10),
        ((16, 16), 2**63 - 1, 3, 1.0, 7.5),
        ((1, 1), 0, 2, 2.0, 3),
    ],
)
def test_field_is_a_sum_of_the_library_grids(shape, seed, octaves, persistence, frequency):
    field = simplex_noise(shape, seed, octaves=octaves, persistence=persistence, frequency=frequency)
    assert field.shape == shape
    assert field.dtype == np.float64
    # the order of the sum and 0.8**n against repeated products differ by a few float64 roundings of values near 1
    np.testing.assert_allclose(field, _library_field(shape, seed, octaves, persistence, frequency), rtol=0, atol=1e-13)


def test_field_depends_on_the_seed_alone():
    assert np.array_equal(simplex_noise((20, 30), 5), simplex_noise((20, 30), 5))
    assert np.array_equal(simplex_noise((20, 30), 5), simplex_noise((40, 50), 5)[:20, :30])
    assert np.abs(simplex_noise((20, 30), 5) - simplex_noise((20, 30), 6)).max() > 0.5


def test_global_random_state_stays_as_found():
    opensimplex.seed(77)
    np.random.seed(3)
    torch.manual_seed(3)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    for kind in NoiseKind:
        make_noise(kind, 2, 3, (8, 9), 11, shared=False)
    assert opensimplex.get_seed() == 77
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("kind", NoiseKind)
def test_global_random_state_is_not_read(kind):
    fields = []
    for state in (1, 2):
        opensimplex.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)
        fields.append(make_noise(kind, 2, 2, (8, 9), 11))
    assert torch.equal(*fields)


@pytest.mark.parametrize("kind", NoiseKind)
def test_shape_and_dtype(kind):
    for shared, slices in ((True, 1), (False, 4)):
        noise = make_noise(kind, 3, 4, (8, 9), 1, shared=shared)
        assert noise.shape == (3, slices, 8, 9)
        assert noise.dtype is torch.float32
    assert not torch.equal(noise[0, 0], noise[0, 1])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", NoiseKind)
def test_samples_do_not_depend_on_how_many_there_are(kind, shared):
    few = make_noise(kind, 5, 2, (8, 9), 3141, shared=shared)
    many = make_noise(kind, 10, 6, (8, 9), 3141, shared=shared)
    assert torch.equal(many[:5, : few.shape[1]], few)
    assert len(torch.unique(many.flatten(2).flatten(0, 1), dim=0)) == many.shape[0] * many.shape[1]


def test_simplex_samples_are_the_documented_fields():
    shared = make_noise("simplex", 2, 3, (8, 9), 5)
    per_slice = make_noise("simplex", 2, 3, (8, 9), 5, shared=False)
    torch.testing.assert_close(
        shared[1, 0].double(), torch.from_numpy(simplex_noise((8, 9), sample_seed(5, 1))), atol=1e-6, rtol=0
    )
    field = simplex_noise((8, 9), sample_seed(5, 1, 2))
    assert torch.equal(per_slice[1, 2], torch.from_numpy(field).float())


def test_sample_seeds_do_not_collide():
    keys = [(seed, k) for seed in range(-20, 20) for k in range(20)]
    seeds = {sample_seed(*key) for key in keys} | {sample_seed(*key, s) for key in keys for s in range(20)}
    assert len(seeds) == 21 * len(keys)
    assert all(-(2**63) <= seed < 2**63 for seed in seeds)
    assert sample_seed(-1, 0) != sample_seed(2**63 - 1, 0)


def test_gaussian_is_standard_normal():
    noise = make_noise("gaussian", 10, 4, (64, 64), 2, shared=False).double()
    count = noise.numel()
    assert abs(noise.mean()) < 5 / count**0.5  # five standard errors of a mean
    assert abs(noise.var() - 1) < 5 * (2 / count) ** 0.5  # and of a variance
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 5 / (count / 4) ** 0.5  # slices are uncorrelated


def test_simplex_statistics_are_the_documented_ones():
    fields = np.stack([simplex_noise((96, 96), seed) for seed in range(300)])
    # one cell of the first layer is 64 pixels, so a field holds only a few independent values: 300 fields give +-0.03
    assert abs(fields.mean()) < 0.1
    assert fields.std() == pytest.approx(0.58, abs=0.06)
    assert np.abs(fields).max() < sum(0.8**octave for octave in range(6))


def test_threads_get_the_same_fields():
    alone = [simplex_noise((24, 24), seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: simplex_noise((24, 24), seed), range(16)))
    assert all(np.array_equal(*pair) for pair in zip(alone, together, strict=True))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_forked_worker_gets_the_same_field():
    here = simplex_noise((24, 24), 9)
    with multiprocessing.get_context("fork").Pool(1) as pool:  # as a DataLoader's workers are on Linux
        assert np.array_equal(pool.apply_async(simplex_noise, ((24, 24), 9)).get(timeout=60), here)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (0, 5)}, r"`shape` must be a height and a width of at least 1, got \(0, 5\)"),
        ({"shape": (5,)}, r"`shape` must be a height and a width of at least 1, got \(5,\)"),
        ({"octaves": 0}, r"`octaves` must be at least 1, got 0"),
        ({"persistence": 0.0}, r"`persistence` must be a finite number above zero, got 0.0"),
        ({"frequency": float("inf")}, r"`frequency` must be a finite number above zero, got inf"),
        ({"seed": 2**63}, r"`seed` must be within 64 signed bits, got 9223372036854775808"),
    ],
)
def test_bad_field_option(options, message):
    with pytest.raises(InputError, match=message):
        simplex_noise(**({"shape": (4, 4), "seed": 1} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "perlin"}, r"`kind` must be one of simplex, gaussian, got 'perlin'"),
        ({"num_samples": 0}, r"`num_samples` must be at least 1, got 0"),
        ({"num_slices": 0}, r"`num_slices` must be at least 1, got 0"),
        ({"shape": (4, 4, 4)}, r"`shape` must be a height and a width of at least 1, got \(4, 4, 4\)"),
        ({"seed": -(2**63) - 1}, r"`seed` must be within 64 signed bits, got -9223372036854775809"),
    ],
)
def test_bad_noise_option(options, message):
    defaults = {"kind": "gaussian", "num_samples": 1, "num_slices": 1, "shape": (4, 4), "seed": 1}
    with pytest.raises(InputError, match=message):
        make_noise(**(defaults | options))
