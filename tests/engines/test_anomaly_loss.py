from __future__ import annotations

import pytest
import torch

from scripts.engines import AnomalyWeightedL1Loss, DenoisingPrepareBatch
from scripts.errors import InputError


def _square(side: int) -> torch.Tensor:
    anomaly = torch.zeros(1, 1, 40, 40)
    anomaly[..., :side, :side] = 1
    return anomaly


def _loss(weight: float, side: int) -> float:
    """Return the loss of an error of 1 inside the anomaly and none elsewhere."""
    anomaly = _square(side)
    return float(AnomalyWeightedL1Loss(weight)(anomaly, torch.cat([torch.zeros_like(anomaly), anomaly], dim=1)))


def test_without_a_weight_or_an_anomaly_it_is_the_mean_absolute_error() -> None:
    pred, target = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    expected = float(torch.nn.functional.l1_loss(pred, target))
    nothing = torch.cat([target, torch.zeros_like(target)], dim=1)
    everything = torch.cat([target, torch.ones_like(target)], dim=1)
    assert float(AnomalyWeightedL1Loss(4.0)(pred, target)) == pytest.approx(expected)
    assert float(AnomalyWeightedL1Loss(4.0)(pred, nothing)) == pytest.approx(expected)
    assert float(AnomalyWeightedL1Loss(0.0)(pred, everything)) == pytest.approx(expected)


@pytest.mark.parametrize(("side", "factor"), [(10, 5.0), (5, 9.0), (20, 3.0)])
def test_an_anomaly_weighs_more_the_smaller_it_is(side: int, factor: float) -> None:
    assert _loss(4.0, side) == pytest.approx(factor * side**2 / 40**2, rel=1e-5)


def test_the_areas_of_a_batch_do_not_mix() -> None:
    small, large = _square(5), _square(20)
    label = torch.cat([torch.zeros(2, 1, 40, 40), torch.cat([small, large])], dim=1)
    both = float(AnomalyWeightedL1Loss(4.0)(torch.cat([small, large]), label))
    assert both == pytest.approx((_loss(4.0, 5) + _loss(4.0, 20)) / 2, rel=1e-5)


def test_the_batch_hands_the_anomaly_on_as_second_channel() -> None:
    batch = {"image": torch.rand(2, 1, 16, 16), "healthy": torch.rand(2, 1, 16, 16), "anomaly": torch.rand(2, 1, 16, 16)}
    _, target, _, _ = DenoisingPrepareBatch(100)(batch)
    assert torch.allclose(target[:, :1], batch["healthy"] * 2 - 1)
    assert torch.equal(target[:, 1:], batch["anomaly"])


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_named(weight: float) -> None:
    with pytest.raises(InputError, match="`anomaly_weight` must be a number from 0 on"):
        AnomalyWeightedL1Loss(weight)
