"""Files of healthy errors, and the maps that use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.errors import InputError
from scripts.inferers import HealthyErrors, MapOptions, ScoreMaps
from scripts.inferers.healthy_errors import healthy_error_path, read_healthy_error, save_healthy_error
from scripts.ops import HealthyError

SHAPE = (6, 10, 8)  # slices, height, width
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
WEIGHTS = "a" * 64


@pytest.fixture
def error() -> HealthyError:
    generator = torch.Generator().manual_seed(0)
    mean, std = (torch.randn(SHAPE, generator=generator) * 0.02, 0.02 + 0.1 * torch.rand(SHAPE, generator=generator))
    return HealthyError(mean, std, torch.ones(SHAPE))


@pytest.fixture
def folder(tmp_path: Path, error: HealthyError) -> Path:
    save_healthy_error(healthy_error_path(tmp_path, "t1"), error, affine=AFFINE, weights_sha256=WEIGHTS)
    return tmp_path


def test_file_holds_what_was_measured_and_for_which_weights(folder: Path, error: HealthyError) -> None:
    assert [path.name for path in folder.iterdir()] == ["healthy_error_t1.nii.gz"]
    assert read_healthy_error(folder / "healthy_error_t1.nii.gz")[1] == WEIGHTS
    found = HealthyErrors(folder).of("t1", weights_sha256=WEIGHTS, shape=(10, 8, 6), affine=torch.as_tensor(AFFINE))
    # 16 bits over the range of all three volumes: steps of 2e-5
    torch.testing.assert_close(found.mean, error.mean, atol=3e-5, rtol=0)
    torch.testing.assert_close(found.std, error.std, atol=3e-5, rtol=0)


@pytest.mark.parametrize(
    ("modality", "weights", "shape", "message"),
    [
        ("t1", "b" * 64, (10, 8, 6), r"healthy_error_t1\.nii\.gz: .*other weights.*healthy_error\.yaml"),
        ("t2", WEIGHTS, (10, 8, 6), r"healthy_error_t2\.nii\.gz: there are no healthy errors here.*healthy_error\.yaml"),
        ("t1", WEIGHTS, (5, 4, 3), r"\[10, 8, 6\] voxels, the scan \[5, 4, 3\]"),
    ],
)
def test_other_weights_modality_or_an_unplaced_grid_are_refused(
    folder: Path, modality: str, weights: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        HealthyErrors(folder).of(modality, weights_sha256=weights, shape=shape)
    assert HealthyErrors(folder, enabled=False).of(modality, weights_sha256=weights, shape=shape) is None


def test_another_grid_gets_the_values_of_the_same_places(folder: Path, error: HealthyError) -> None:
    shifted = torch.as_tensor(AFFINE).clone()
    shifted[:3, 3] = torch.tensor([2.0, 4.0, 2.0])  # one, two and one voxel
    found = HealthyErrors(folder).of("t1", weights_sha256=WEIGHTS, shape=(5, 4, 3), affine=shifted)
    assert found.mean.shape == (3, 5, 4)
    torch.testing.assert_close(found.mean, error.mean[1:4, 1:6, 2:6], atol=3e-5, rtol=0)


def test_a_damaged_file_is_named(folder: Path) -> None:
    (folder / "healthy_error_t1.nii.gz").write_bytes(b"half")
    with pytest.raises(InputError, match=r"healthy_error_t1\.nii\.gz: the healthy errors cannot be read"):
        HealthyErrors(folder).of("t1", weights_sha256=WEIGHTS, shape=(10, 8, 6))


def _scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    draws = torch.rand(5, *SHAPE, generator=generator, dtype=torch.float64)
    return torch.rand(SHAPE, generator=generator, dtype=torch.float64), draws, torch.ones(SHAPE, dtype=torch.bool)


@pytest.mark.parametrize("score", ["reference", "conditional"])
def test_covariance_is_that_of_the_draws_plus_the_healthy_variance(error: HealthyError, score: str) -> None:
    image, draws, mask = _scene()
    options = MapOptions(score=score, regularization=0.004)
    found = ScoreMaps(image, draws, mask, options, error).mahalanobis(score)[3].flatten()
    centred = (draws[:, 3].flatten(1) - draws[:, 3].flatten(1).mean(0)) / 2  # √(K − 1)
    covariance = centred.T @ centred + torch.diag(error.std[3].flatten().double() ** 2 + 0.004)
    difference = (image - draws.mean(0) - error.mean)[3].flatten()
    precision = torch.linalg.inv(covariance)
    if score == "reference":
        expected = (difference * (precision @ difference)).clamp(min=0).sqrt()
    else:
        # a pixel's deviation from what the others predict has no unit, so that scaling leaves it alone
        expected = (precision @ difference).abs() / precision.diagonal().sqrt()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)  # the error is stored in single precision


def test_standardized_error_is_that_over_the_healthy_one(error: HealthyError) -> None:
    image, draws, mask = _scene()
    options = MapOptions(regularization=0.004)
    difference = image - draws.mean(0)
    plain = ScoreMaps(image, draws, mask, options).standardized()
    torch.testing.assert_close(plain, difference.abs() / 0.004**0.5)
    found = ScoreMaps(image, draws, mask, options, error).standardized()
    expected = (difference - error.mean).abs() / (error.std.double() ** 2 + 0.004).sqrt()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_where_healthy_reconstructions_err_much_the_same_error_counts_less(error: HealthyError) -> None:
    std = torch.full(SHAPE, 0.02)
    std[:, 5:] = 0.2
    image, mask = torch.full(SHAPE, 0.5), torch.ones(SHAPE, dtype=torch.bool)
    generator = torch.Generator().manual_seed(2)
    draws = 0.4 + 0.01 * torch.randn(4, *SHAPE, generator=generator)
    healthy = HealthyError(torch.zeros(SHAPE), std, torch.ones(SHAPE))
    found = ScoreMaps(image, draws, mask, MapOptions(regularization=1e-3), healthy).mahalanobis("diagonal")
    assert found[:, 5:].max() < 0.5 * found[:, :5].min()
