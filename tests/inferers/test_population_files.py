"""Files of population statistics, and the maps that use them."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.inferers import MapOptions, PopulationFiles, ScoreMaps
from scripts.inferers.population_files import PopulationFile, population_path, read_population, save_population
from scripts.ops import PopulationStatistics

SHAPE = (6, 10, 8)  # slices, height, width
GRID = (10, 8, 6)
AFFINE = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
WEIGHTS = "a" * 64
# half precision: 11 bits of values below 0.5
HALF = {"atol": 3e-4, "rtol": 0}


@pytest.fixture
def statistics() -> PopulationStatistics:
    generator = torch.Generator().manual_seed(0)
    mean, std = (torch.randn(SHAPE, generator=generator) * 0.02, 0.02 + 0.1 * torch.rand(SHAPE, generator=generator))
    return PopulationStatistics(mean, std, torch.ones(SHAPE), 0.05 * torch.randn(3, *SHAPE, generator=generator))


@pytest.fixture
def folder(tmp_path: Path, statistics: PopulationStatistics) -> Path:
    about = {"weights_sha256": WEIGHTS, "num_subjects": 59}
    save_population(population_path(tmp_path, "t1"), PopulationFile(statistics, AFFINE, about))
    return tmp_path


def test_file_holds_what_was_measured_and_for_which_weights(folder: Path, statistics: PopulationStatistics) -> None:
    assert [path.name for path in folder.iterdir()] == ["population_t1.pt"]
    content = read_population(folder / "population_t1.pt")
    assert content.about == {"weights_sha256": WEIGHTS, "num_subjects": 59}
    files = PopulationFiles(folder)
    found = files.of("t1", weights_sha256=WEIGHTS, shape=GRID, affine=AFFINE, num_components=2)
    torch.testing.assert_close(found.mean, statistics.mean, **HALF)
    torch.testing.assert_close(found.std, statistics.std, **HALF)
    torch.testing.assert_close(found.components, statistics.components[:2], **HALF)


def test_file_keeps_the_brain_and_reading_fills_the_rest(tmp_path: Path, statistics: PopulationStatistics) -> None:
    brain = torch.zeros(SHAPE)
    brain[2:4, 3:7, 2:6] = 1
    whole = PopulationStatistics(statistics.mean, statistics.std, brain, statistics.components)
    save_population(tmp_path / "small.pt", PopulationFile(whole, AFFINE, {}))
    found = read_population(tmp_path / "small.pt").statistics
    inside = brain > 0
    torch.testing.assert_close(found.components[:, inside], statistics.components[:, inside], **HALF)
    assert torch.equal(found.mean[0, 5, 4], found.mean[2, 5, 4])
    save_population(tmp_path / "whole.pt", PopulationFile(statistics, AFFINE, {}))
    assert (tmp_path / "small.pt").stat().st_size < (tmp_path / "whole.pt").stat().st_size


@pytest.mark.parametrize(
    ("modality", "weights", "shape", "count", "message"),
    [
        ("t1", "b" * 64, GRID, 1, r"population_t1\.pt: .*other weights.*population\.yaml"),
        ("t2", WEIGHTS, GRID, 1, r"population_t2\.pt: there are no population statistics here.*population\.yaml"),
        ("t1", WEIGHTS, (5, 4, 3), 1, r"\[10, 8, 6\] voxels, the scan \[5, 4, 3\]"),
        ("t1", WEIGHTS, GRID, 4, "`population_components` must be from 0 to 3, which were measured, got 4"),
    ],
)
def test_what_does_not_fit_is_refused(
    folder: Path, modality: str, weights: str, shape: tuple[int, ...], count: int, message: str
) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        PopulationFiles(folder).of(modality, weights_sha256=weights, shape=shape, num_components=count)


def test_another_grid_gets_the_values_of_the_same_places(folder: Path, statistics: PopulationStatistics) -> None:
    shifted = AFFINE.clone()
    shifted[:3, 3] = torch.tensor([2.0, 4.0, 2.0])  # one, two and one voxel
    files = PopulationFiles(folder)
    options = {"weights_sha256": WEIGHTS, "num_components": 3}
    found = files.of("t1", shape=(5, 4, 3), affine=shifted, **options)
    torch.testing.assert_close(found.mean, statistics.mean[1:4, 1:6, 2:6], **HALF)
    torch.testing.assert_close(found.components, statistics.components[:, 1:4, 1:6, 2:6], **HALF)
    assert files.of("t1", shape=(5, 4, 3), affine=shifted, **options) is found
    assert files.of("t1", shape=GRID, affine=AFFINE, **options).mean.shape == SHAPE


def test_checksums_name_the_files_that_thresholds_belong_to(folder: Path) -> None:
    digest = hashlib.sha256((folder / "population_t1.pt").read_bytes()).hexdigest()
    assert PopulationFiles(folder).checksums("t1", "t2") == {"population_t1": digest}
    assert PopulationFiles(folder).checksums("t2") == {}


class _ExecutedError(Exception):
    pass


class _Trap:
    def __reduce__(self) -> tuple[type, tuple[str]]:
        return _ExecutedError, ("a file was executed",)


def test_damaged_and_foreign_files_are_named(folder: Path) -> None:
    path = folder / "population_t1.pt"
    parts = torch.load(path, weights_only=True)
    for spoilt, message in (
        ({**parts, "format": 0}, "holds no population statistics of this version"),
        ({"model": parts["mean"]}, "holds no population statistics of this version"),
        ({**parts, "mean": parts["mean"][:5]}, "its parts do not fit each other"),
        ({**parts, "std": parts["std"] * torch.nan}, "values that are not finite"),
    ):
        torch.save(spoilt, path)
        with pytest.raises(InputError, match=rf"population_t1\.pt: .*{message}.*again with population\.yaml"):
            read_population(path)
    for content in (b"half", pickle.dumps(_Trap())):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"population_t1\.pt: it cannot be read"):
            read_population(path)


def _scene() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    draws = torch.rand(5, *SHAPE, generator=generator, dtype=torch.float64)
    return torch.rand(SHAPE, generator=generator, dtype=torch.float64), draws, torch.ones(SHAPE, dtype=torch.bool)


def test_covariance_is_that_of_the_samples_and_of_the_population(statistics: PopulationStatistics) -> None:
    image, draws, mask = _scene()
    options = MapOptions(
        score="conditional", regularization=0.004, population=True, population_components=2, cloud_covariance=0.7
    )
    found = ScoreMaps(image, draws, mask, options, statistics).mahalanobis("conditional")[3].flatten()
    cloud, b = draws[:, 3].flatten(1), statistics.components[:2, 3].flatten(1).double()
    spread = statistics.std[3].flatten().double() ** 2
    covariance = 0.7 * torch.cov(cloud.T) + b.T @ b + torch.diag(spread + 0.004)
    difference = image[3].flatten() - cloud.mean(0) - statistics.mean[3].flatten()
    precision = torch.linalg.inv(covariance)
    expected = (precision @ difference).abs() / precision.diagonal().sqrt()
    # the population is stored in single precision
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_standardized_error_is_that_over_the_healthy_one(statistics: PopulationStatistics) -> None:
    image, draws, mask = _scene()
    difference = image - draws.mean(0)
    plain = ScoreMaps(image, draws, mask, MapOptions(regularization=0.004), statistics).standardized()
    torch.testing.assert_close(plain, difference.abs() / 0.004**0.5)
    options = MapOptions(regularization=0.004, population=True)
    found = ScoreMaps(image, draws, mask, options, statistics).standardized()
    expected = (difference - statistics.mean).abs() / (statistics.std.double() ** 2 + 0.004).sqrt()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_where_healthy_reconstructions_err_much_the_same_error_counts_less() -> None:
    std = torch.full(SHAPE, 0.02)
    std[:, 5:] = 0.2
    image, mask = torch.full(SHAPE, 0.5), torch.ones(SHAPE, dtype=torch.bool)
    generator = torch.Generator().manual_seed(2)
    draws = 0.4 + 0.01 * torch.randn(4, *SHAPE, generator=generator)
    healthy = PopulationStatistics(torch.zeros(SHAPE), std, torch.ones(SHAPE), torch.zeros(0, *SHAPE))
    options = MapOptions(regularization=1e-3, population=True)
    found = ScoreMaps(image, draws, mask, options, healthy).mahalanobis("diagonal")
    assert found[:, 5:].max() < 0.5 * found[:, :5].min()


def test_maps_with_a_population_need_one(statistics: PopulationStatistics) -> None:
    image, draws, mask = _scene()
    with pytest.raises(InputError, match=r"`population` must be statistics of healthy subjects.*got None"):
        ScoreMaps(image, draws, mask, MapOptions(population=True))
    for wrong in (-1, 1.5, True):
        with pytest.raises(InputError, match="`population_components` must be"):
            MapOptions(population_components=wrong)
    with pytest.raises(InputError, match="`cloud_covariance` must be a number from 0 to 1000000, got -1"):
        MapOptions(cloud_covariance=-1)
