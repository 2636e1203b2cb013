"""With a network that knows the healthy slice, a planted lesion gets the highest scores."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from scripts.data.phantom import phantom_volume
from scripts.inferers import MahalanobisInferer
from scripts.ops import Score

SHAPE = (32, 32, 16)


class Oracle(nn.Module):
    """Look the healthy slice up by the slice that it is given, and let a little of the noise through."""

    def __init__(self, healthy: torch.Tensor, scan: torch.Tensor) -> None:
        super().__init__()
        self.healthy, self.scan = ((volume.movedim(-1, 0) * 2 - 1)[:, None] for volume in (healthy, scan))

    def encode(self, image):
        distance = (image[:, None] - self.scan[None]).abs().flatten(2).sum(2)
        assert distance.amin(1).max() < 1e-4
        return distance.argmin(1, keepdim=True)

    def forward(self, x, timesteps, context):
        return self.healthy[context[:, 0]] + 0.03 * x


@pytest.fixture(scope="module")
def case():
    healthy, mask, _ = phantom_volume(SHAPE, 3)
    scan, _, label = phantom_volume(SHAPE, 3, lesion=True)
    return tuple(torch.from_numpy(volume.copy()) for volume in (healthy, scan, mask, label))


def infer(case, scheduler, outputs, **options):
    healthy, scan, mask, _ = case
    inferer = MahalanobisInferer(scheduler, outputs=outputs, num_samples=6, progress=False, **options)
    result = inferer(scan[None, None], Oracle(healthy, scan), mask[None, None])[0]
    return dict(zip(outputs, result, strict=True))


def area_under_curve(case, scores) -> float:
    _, _, mask, label = case
    return roc_auc_score(label[mask > 0].numpy(), scores[mask > 0].numpy())


@pytest.mark.parametrize("score", list(Score))
@pytest.mark.parametrize("extent", ["slice", "volume"])
def test_the_lesion_is_ranked_highest(case, scheduler, score, extent):
    maps = infer(case, scheduler, ["anomaly_map", "mahalanobis_map"], score=score, extent=extent)
    assert area_under_curve(case, maps["mahalanobis_map"]) > 0.98
    assert area_under_curve(case, maps["anomaly_map"]) > 0.98
    assert case[3].flatten()[maps["anomaly_map"].argmax()] == 1


@pytest.mark.parametrize(
    "options", [{"shared_noise": False}, {"timestep": [300, 700]}, {"noise": "gaussian"}]
)
def test_other_samples_find_it_too(case, scheduler, options):
    maps = infer(case, scheduler, ["anomaly_map"], **options)
    assert area_under_curve(case, maps["anomaly_map"]) > 0.98


def test_scores_by_name_are_the_scores_by_option(case, scheduler):
    names = [f"anomaly_map_{score}" for score in Score]
    together = infer(case, scheduler, names)
    for score, name in zip(Score, names, strict=True):
        assert torch.equal(together[name], infer(case, scheduler, ["anomaly_map"], score=score)["anomaly_map"])


def test_baselines_are_what_they_say(case, scheduler):
    _, scan, mask, _ = case
    maps = infer(case, scheduler, ["intensity", "mean_l1", "reconstruction"])
    assert torch.equal(maps["intensity"], (1 - scan) * mask)
    assert torch.equal(infer(case, scheduler, ["intensity"], polarity="bright")["intensity"], scan * mask)
    torch.testing.assert_close(maps["mean_l1"], (scan - maps["reconstruction"]).abs() * mask, atol=1e-6, rtol=0)


def test_min_max_median_and_erosion_reach_the_map(case, scheduler):
    _, _, mask, _ = case
    plain = infer(case, scheduler, ["anomaly_map"])["anomaly_map"]
    for options in ({"min_max": False}, {"smoothing_sigma": 0.0}, {"median_size": 3}, {"residual": "l2"}):
        assert not torch.allclose(infer(case, scheduler, ["anomaly_map"], **options)["anomaly_map"], plain)
    eroded = infer(case, scheduler, ["anomaly_map"], erosion=2)["anomaly_map"]
    kept = eroded != 0
    assert torch.equal(eroded[kept], plain[kept])
    assert 0 < int(kept.sum()) < 0.8 * int(mask.sum())
