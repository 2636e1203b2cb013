from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.errors import InputError
from scripts.transforms import RandAnomalyd
from scripts.transforms.augmentation import _even_tissue, draw_anomaly


def _slice(size: int = 48) -> np.ndarray:
    rows, columns = np.indices((size, size))
    inside = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (0.4 * size) ** 2
    texture = np.random.RandomState(0).uniform(0.3, 0.7, (size, size))
    return (texture * inside).astype(np.float32)


def test_an_anomaly_stays_in_the_brain_and_in_the_range() -> None:
    image, rng = _slice(), np.random.RandomState(1)
    for _ in range(40):
        altered, weight = draw_anomaly(image, image > 0, rng)
        assert altered.dtype == np.float32
        assert altered.min() >= 0
        assert altered.max() <= 1
        assert not altered[image == 0].any()
        assert not weight[image == 0].any()
        assert 0 <= weight.min() <= weight.max() <= 1 + 1e-9


def test_most_anomalies_are_visible_where_their_weight_is() -> None:
    image, rng = _slice(), np.random.RandomState(2)
    changes = []
    for _ in range(40):
        altered, weight = draw_anomaly(image, image > 0, rng)
        if weight.any():
            changes.append(float((np.abs(altered - image) * weight).sum() / weight.sum()))
    assert len(changes) >= 36
    assert min(changes) > 0.04


def test_sizes_range_from_spots_to_large_parts_of_the_slice() -> None:
    image, rng = _slice(96), np.random.RandomState(3)
    sizes = [int((draw_anomaly(image, image > 0, rng)[1] > 0.5).sum()) for _ in range(150)]
    assert min(sizes) < 10
    assert max(sizes) > 800


def test_the_transform_keeps_the_healthy_slice_and_repeats_with_its_seed() -> None:
    data = {"image": torch.from_numpy(_slice())[None]}
    step = RandAnomalyd(keys="image", prob=1.0)
    first = step.set_random_state(seed=5)(data)
    second = step.set_random_state(seed=5)(data)
    assert torch.equal(first["healthy"], data["image"])
    assert torch.equal(first["image"], second["image"])
    assert not torch.equal(first["image"], first["healthy"])
    assert first["image"].shape == data["image"].shape


def test_the_weight_marks_all_that_was_altered_strongly() -> None:
    image = torch.from_numpy(_slice())[None]
    step = RandAnomalyd(keys="image", prob=1.0, max_anomalies=3).set_random_state(seed=7)
    inside, outside = [], []
    for _ in range(30):
        result = step({"image": image})
        change, weight = (result["image"] - image).abs(), result["anomaly"]
        assert weight.shape == image.shape
        inside.append(float(change[weight > 0.9].mean()))
        outside.append(float(change[(weight == 0) & (image > 0)].mean()))
    assert np.nanmean(inside) > 4 * np.nanmean(outside)


def test_even_tissue_is_the_half_that_changes_least() -> None:
    image = _slice(64)
    image[20:44, 20:32] = 0.5
    even = _even_tissue(image, image > 0)
    assert even[26:38, 24:28].all()
    assert even[26:38, 38:44].mean() < 0.7


def test_with_probability_0_and_without_brain_nothing_is_altered() -> None:
    image = torch.from_numpy(_slice())[None]
    untouched = RandAnomalyd(keys="image", prob=0.0)({"image": image})
    assert torch.equal(untouched["image"], image)
    assert not untouched["anomaly"].any()
    empty = torch.zeros(1, 16, 16)
    assert torch.equal(RandAnomalyd(keys="image", prob=1.0)({"image": empty})["image"], empty)


def test_the_share_of_altered_slices_is_the_probability() -> None:
    image = torch.from_numpy(_slice(32))[None]
    step = RandAnomalyd(keys="image", prob=0.6, max_anomalies=1).set_random_state(seed=1)
    altered = sum(not torch.equal(step({"image": image})["image"], image) for _ in range(200))
    assert altered / 200 == pytest.approx(0.6, abs=0.12)  # 3.5 standard deviations of 200 tosses


@pytest.mark.parametrize(("option", "value"), [("prob", 1.5), ("prob", -0.1), ("max_anomalies", 0), ("max_anomalies", 2.5)])
def test_an_option_out_of_range_is_named(option: str, value: float) -> None:
    with pytest.raises(InputError, match=f"`{option}` must be"):
        RandAnomalyd(keys="image", **{option: value})
