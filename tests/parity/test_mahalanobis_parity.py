"""The stored Mahalanobis map of the reference, and an exact dense one of the same slice."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scripts.ops.mahalanobis import mahalanobis_map


@pytest.fixture
def stored(parity_dir):
    with np.load(parity_dir / "anomaly_map.npz") as archive:
        return {name: archive[name] for name in archive}


@pytest.fixture
def regularization(parity_dir):
    return json.loads((parity_dir / "scores.json").read_text())["regularization"]


def _dense_contribution(image, reconstructions, inside, regularization):
    difference = image[inside] - reconstructions[:, inside].mean(0)
    covariance = np.cov(reconstructions[:, inside], rowvar=False)
    covariance[np.diag_indices_from(covariance)] += regularization
    return difference * np.linalg.solve(covariance, difference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_map(stored, parity_dir, regularization, dtype):
    image, draws = (torch.from_numpy(stored[name]).to(dtype) for name in ("image", "reconstructions"))
    mask = torch.from_numpy(stored["brain_mask"])
    result = mahalanobis_map(image, draws, mask, score="reference", regularization=regularization).double().numpy()
    expected = stored["mahalanobis_map"].astype(np.float64)
    scores = json.loads((parity_dir / "scores.json").read_text())
    assert np.isnan(expected).sum() == scores["negative_contributions"]
    assert int(mask.sum()) == scores["brain_pixels"]
    changed = np.isnan(result) != np.isnan(expected)
    contribution = np.fmax(np.nan_to_num(result), np.nan_to_num(expected)) ** 2
    assert (contribution[changed] < 1e-4).all()  # only rounding around zero may flip a sign
    both = ~np.isnan(result) & ~np.isnan(expected)
    # the stored map comes from a float32 inverse; 1e-3 of the maximum is the tolerance stated with it
    assert np.abs(result - expected)[both].max() < 1e-3 * np.nanmax(expected)
    assert (result[~stored["brain_mask"]] == 0).all()


def test_smallest_slice_equals_the_dense_inverse_in_float64(stored, regularization):
    image, draws = (stored[name].astype(np.float64) for name in ("image", "reconstructions"))
    s = int(stored["brain_mask"].sum((1, 2)).argmin())
    inside = stored["brain_mask"][s]
    expected = _dense_contribution(image[s], draws[:, s], inside, regularization)
    tensors = (torch.from_numpy(array) for array in (image[s : s + 1], draws[:, s : s + 1], inside[None]))
    result = mahalanobis_map(*tensors, score="reference", regularization=regularization).numpy()[0][inside]
    assert np.array_equal(np.isnan(result), expected < 0)
    positive = expected >= 0
    # float64 with a condition number of about 1e3: 1e-9 of the largest contribution is far above rounding
    assert np.abs(result[positive] ** 2 - expected[positive]).max() < 1e-9 * expected.max()
