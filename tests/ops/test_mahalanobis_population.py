"""The Mahalanobis map with the statistics of a population, against its dense definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.ops import Extent, PopulationStatistics, Score, mahalanobis_map

# Both sides work in float64 (1e-16) on covariances of condition number below 1e4; 1e-9 leaves room for the dense inverse.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}
RIDGE = 0.02
Cloud = Callable[..., tuple[Tensor, Tensor, Tensor]]


def _population(shape: torch.Size, count: int = 4, seed: int = 3) -> PopulationStatistics:
    generator = torch.Generator().manual_seed(seed)

    def rand(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    components = 0.3 * (rand(count, *shape) - 0.5)
    std = (0.2 * rand(*shape)).sqrt()
    return PopulationStatistics(0.2 * (rand(*shape) - 0.5), std, torch.ones(shape, dtype=torch.float64), components)


def _dense(
    image: Tensor, draws: Tensor, mask: Tensor, population: PopulationStatistics, *, score: str, weight: float, whole: bool
) -> Tensor:
    """Build Σ = w AᵀA + BBᵀ + diag(σ²) + λI of each slice, or of the volume, and invert it."""
    parts = [(slice(None),)] if whole else [(slice(s, s + 1),) for s in range(len(image))]
    result = np.zeros(image.shape)
    for (part,) in parts:
        inside = mask[part].numpy()
        if not inside.any():
            continue
        x, m, std = (volume[part].numpy()[inside] for volume in (image, population.mean, population.std))
        cloud, components = draws[:, part].numpy()[:, inside], population.components[:, part].numpy()[:, inside]
        specific = std**2 + RIDGE
        covariance = weight * np.cov(cloud, rowvar=False) + components.T @ components + np.diag(specific)
        difference = x - cloud.mean(0) - m
        precision = np.linalg.inv(covariance)
        scaled = covariance / np.sqrt(np.outer(specific, specific))
        values, vectors = np.linalg.eigh(scaled)
        own = np.zeros(inside.shape)
        own[inside] = {
            "reference": difference * (precision @ difference),
            "whitened": np.abs(vectors @ np.diag(values**-0.5) @ vectors.T @ (difference / np.sqrt(specific))),
            "conditional": np.abs(precision @ difference) / np.sqrt(np.diag(precision)),
            "diagonal": np.abs(difference) / np.sqrt(np.diag(covariance)),
        }[score]
        result[part] = own
    return torch.from_numpy(result)


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("extent", [Extent.SLICE, Extent.VOLUME])
@pytest.mark.parametrize("score", Score)
def test_equals_dense_definition(cloud: Cloud, score: Score, extent: Extent, weight: float, count: int) -> None:
    image, draws, mask = cloud()
    population = _population(image.shape, count)
    options = {"score": score, "extent": extent, "cloud_covariance": weight}
    found = mahalanobis_map(image, draws, mask, population=population, regularization=RIDGE, **options)
    expected = _dense(image, draws, mask, population, score=score, weight=weight, whole=extent is Extent.VOLUME)
    if score is Score.REFERENCE:
        assert torch.equal(found.isnan(), expected < 0)
        found, expected = found.square(), expected.where(expected >= 0, torch.nan)
    torch.testing.assert_close(found, expected, equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_without_components_it_is_the_map_of_a_scaled_cloud(cloud: Cloud, score: Score) -> None:
    image, draws, mask = cloud()
    population = _population(image.shape, 0)
    scale = (population.std.square() + RIDGE).sqrt()
    options = {"score": score, "extent": "volume"}
    found = mahalanobis_map(image, draws, mask, population=population, regularization=RIDGE, **options)
    expected = mahalanobis_map((image - population.mean) / scale, draws / scale, mask, regularization=1.0, **options)
    torch.testing.assert_close(found.square(), expected.square(), equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_components_of_zero_are_no_components(cloud: Cloud, score: Score) -> None:
    image, draws, mask = cloud()
    population = _population(image.shape, 0)
    zero = replace(population, components=torch.zeros(3, *image.shape, dtype=torch.float64))
    maps = [mahalanobis_map(image, draws, mask, score=score, population=each) for each in (population, zero)]
    torch.testing.assert_close(maps[0].square(), maps[1].square(), equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_statistics_of_nothing_are_the_paper_s_covariance(cloud: Cloud, score: Score) -> None:
    image, draws, mask = cloud()
    nothing = torch.zeros_like(image)
    population = PopulationStatistics(nothing, nothing, nothing, nothing[None][:0])
    # the symmetric root of a covariance and of a multiple of it differ by that factor alone
    found = mahalanobis_map(image, draws, mask, score=score, population=population)
    expected = mahalanobis_map(image, draws, mask, score=score)
    torch.testing.assert_close(found.square(), expected.square(), equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_order_and_sign_of_components_do_not_matter(cloud: Cloud, score: Score) -> None:
    image, draws, mask = cloud()
    population = _population(image.shape)
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)[:, None, None, None]
    other = replace(population, components=population.components[[2, 0, 3, 1]] * signs)
    maps = [mahalanobis_map(image, draws, mask, score=score, population=each) for each in (population, other)]
    torch.testing.assert_close(maps[0].square(), maps[1].square(), equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("score", Score)
def test_map_has_no_unit(cloud: Cloud, score: Score) -> None:
    image, draws, mask = cloud()
    p = _population(image.shape)
    scaled = PopulationStatistics(50 * p.mean, 50 * p.std, p.brain, 50 * p.components)
    found = mahalanobis_map(image, draws, mask, score=score, population=p, regularization=RIDGE)
    other = mahalanobis_map(
        50 * image + 7, 50 * draws + 7, mask, score=score, population=scaled, regularization=50**2 * RIDGE
    )
    torch.testing.assert_close(other.square(), found.square(), equal_nan=True, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("score", [Score.WHITENED, Score.CONDITIONAL])
def test_what_the_population_does_is_no_anomaly(cloud: Cloud, score: Score) -> None:
    _, draws, mask = cloud()
    population = _population(draws.shape[1:], 2)
    usual = draws.mean(0) + population.mean + 3 * population.components[1]
    unusual = draws.mean(0) + population.mean + 3 * population.components[1][:, [3, 0, 4, 1, 5, 2]]
    maps = [
        mahalanobis_map(image, draws, mask, score=score, extent="volume", population=population, regularization=1e-4)
        for image in (usual, unusual)
    ]
    assert maps[0].mean() < 0.5 * maps[1].mean()


@pytest.mark.parametrize("extent", Extent)
@pytest.mark.parametrize("score", [Score.WHITENED, Score.CONDITIONAL, Score.DIAGONAL])
def test_float32_follows_float64(cloud: Cloud, score: Score, extent: Extent) -> None:
    image, draws, mask = cloud(10, (5, 32, 32))
    population = _population(image.shape, 8)
    options = {"score": score, "extent": extent, "population": population}
    exact = mahalanobis_map(image, draws, mask, **options)
    found = mahalanobis_map(image.float(), draws.float(), mask, **options)
    assert found.dtype is torch.float32
    # float32 rounds the input at 6e-8 of 1 and the difference is a tenth of that
    assert (found - exact).abs().max() < 2e-6 * exact.max()


@pytest.mark.parametrize("score", Score)
def test_weight_of_the_cloud_is_that_of_its_covariance(cloud: Cloud, score: Score) -> None:
    image, draws, mask = cloud()
    wider = draws.mean(0) + 0.25**0.5 * (draws - draws.mean(0))
    found = mahalanobis_map(image, draws, mask, score=score, cloud_covariance=0.25)
    expected = mahalanobis_map(image, wider, mask, score=score)
    torch.testing.assert_close(found.square(), expected.square(), equal_nan=True, rtol=1e-8, atol=1e-8)


def test_wrong_input_is_named(cloud: Cloud) -> None:
    image, draws, mask = cloud()
    population = _population(image.shape)
    with pytest.raises(InputError, match="`cloud_covariance` must be zero or a finite number above it, got -1"):
        mahalanobis_map(image, draws, mask, cloud_covariance=-1)
    with pytest.raises(InputError, match=r"`population\.mean` must have the shape"):
        mahalanobis_map(image[1:], draws[:, 1:], mask[1:], population=population)
    with pytest.raises(InputError, match="`population_components` must be from 0 to 4, which were measured, got 5"):
        population.leading(5)
    with pytest.raises(InputError, match=r"`components` must have the shape \('r', 5, 6, 7\), got \(4, 1, 6, 7\)"):
        replace(population, components=population.components[:, :1])
