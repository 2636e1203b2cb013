"""The stored SSIM map, smoothed map, anomaly map and scores of the reference."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from scripts.ops.anomaly_map import anomaly_map, min_max_scale, smooth, ssim_map
from scripts.ops.mahalanobis import mahalanobis_map


@pytest.fixture
def stored(parity_dir):
    with np.load(parity_dir / "anomaly_map.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive}


@pytest.fixture
def scores(parity_dir):
    return json.loads((parity_dir / "scores.json").read_text())


def test_scaled_smoothed_map(stored):
    result = smooth(min_max_scale(stored["mahalanobis_map"].nan_to_num()), 1.0)
    assert (
        result - stored["mahalanobis_map_scaled_smoothed"]
    ).abs().max() < 1e-6  # stated: 1e-3; float32 filters agree


def test_ssim_map(stored):
    mean = stored["reconstructions"].float().mean(0)
    error = (ssim_map(stored["image"].float(), mean) - stored["ssim_map"]).abs()
    assert error.mean() < 0.01
    # the reference pads otherwise at the faces of the volume, where the 9-tap windows reach 4 voxels in
    assert error[4:-4, 4:-4, 4:-4].max() < 0.05


def test_anomaly_map(stored):
    image, mean = stored["image"].float(), stored["reconstructions"].float().mean(0)
    result = anomaly_map(image, mean, stored["mahalanobis_map"], stored["brain_mask"])
    error = (result - stored["anomaly_map"]).abs()
    # it follows from the two maps above: 0.05 of SSIM times a weight of at most 1, and 1e-3 of weight times 1 - SSIM < 1
    assert error.mean() < 0.01
    assert error[4:-4, 4:-4, 4:-4].max() < 0.051
    assert (result[~stored["brain_mask"]] == 0).all()


def test_anomaly_map_is_the_product_of_the_stored_parts(stored):
    product = (1 - stored["ssim_map"]) * stored["mahalanobis_map_scaled_smoothed"] * stored["brain_mask"]
    torch.testing.assert_close(product, stored["anomaly_map"], rtol=0, atol=1e-7)


def test_scores_of_the_stored_map(stored, scores):
    lesion, anomaly = stored["lesion"].numpy().ravel(), stored["anomaly_map"].numpy().ravel()
    assert average_precision_score(lesion, anomaly) == pytest.approx(scores["average_precision"], abs=1e-6)
    assert roc_auc_score(lesion, anomaly) == pytest.approx(scores["auroc"], abs=1e-6)
    order = np.argsort(-anomaly, kind="stable")
    dice = 2 * np.cumsum(lesion[order]) / (np.arange(1, lesion.size + 1) + lesion.sum())
    last_of_tie = np.append(np.diff(anomaly[order]) != 0, True)
    assert dice[last_of_tie].max() >= scores["best_dice_greedy"]
    at_greedy = anomaly > scores["best_threshold_greedy"]
    greedy_dice = 2 * (at_greedy & lesion).sum() / (at_greedy.sum() + lesion.sum())
    assert greedy_dice == pytest.approx(scores["best_dice_greedy"], abs=1e-12)


def test_average_precision_of_our_own_map(stored, scores):
    image, draws, mask = stored["image"].float(), stored["reconstructions"].float(), stored["brain_mask"]
    distance = mahalanobis_map(image, draws, mask, regularization=scores["regularization"])
    ours = anomaly_map(image, draws.mean(0), distance, mask).numpy().ravel()
    lesion = stored["lesion"].numpy().ravel()
    # the paddings differ at the faces, so the ranking does by a little; a wrong formula would move it by far more
    assert average_precision_score(lesion, ours) == pytest.approx(scores["average_precision"], abs=0.01)
    assert roc_auc_score(lesion, ours) == pytest.approx(scores["auroc"], abs=0.01)
