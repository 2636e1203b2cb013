from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.errors import InputError
from scripts.transforms import RandAxialSliced, RandBrainEdged, RandBrainNoised, RandT2LikeContrastd


def _disc(size: int = 40) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (0.4 * size) ** 2
    return (inside * (0.2 + 0.7 * columns / size))[None].float()


def test_the_edge_only_moves_inwards_and_by_no_more_than_asked() -> None:
    image = _disc()
    step = RandBrainEdged(keys="image", prob=1.0, max_pixels=2).set_random_state(seed=0)
    for _ in range(10):
        narrower = step({"image": image})["image"]
        kept = narrower > 0
        assert torch.equal(narrower[kept], image[kept])
        lost = int((image > 0).sum() - kept.sum())
        assert 0 < lost <= 2 * 2 * 40 * 3.2  # two pixels of the rim, a rim of at most π · 32 pixels, diagonals counted


def test_a_hole_in_the_brain_keeps_its_edge() -> None:
    image = _disc()
    image[:, 20, 20] = 0
    narrower = RandBrainEdged(keys="image", prob=1.0, max_pixels=1).set_random_state(seed=3)({"image": image})["image"]
    assert torch.equal(narrower[:, 18:23, 18:23], image[:, 18:23, 18:23])


def test_noise_stays_in_the_brain_and_has_at_most_the_given_spread() -> None:
    image = _disc(96)
    noisy = RandBrainNoised(keys="image", prob=1.0, max_std=0.05).set_random_state(seed=2)({"image": image})["image"]
    inside = image > 0
    assert not noisy[~inside].any()
    assert 0 < float((noisy - image)[inside].std()) < 0.052


def test_a_t2_like_slice_has_bright_fluid_and_grey_above_white() -> None:
    tissue = torch.tensor([0.1, 0.5, 0.83]).reshape(1, 1, 3)  # fluid, grey and white matter in a T1
    step = RandT2LikeContrastd(keys="image").set_random_state(seed=1)
    for _ in range(20):
        fluid, grey, white = step({"image": tissue, "modality": "t1"})["image"].flatten().tolist()
        assert fluid > grey > white > 0


def test_only_t1_slices_get_another_contrast_and_the_background_stays() -> None:
    image = _disc()
    step = RandT2LikeContrastd(keys="image")
    assert torch.equal(step({"image": image, "modality": "t2"})["image"], image)
    changed = step({"image": image, "modality": "t1"})["image"]
    assert torch.equal(changed > 0, image > 0)


def test_a_thick_slice_is_the_mean_of_its_neighbours_inside_its_own_brain() -> None:
    volume = torch.arange(1.0, 7.0).expand(1, 8, 8, 6).clone()
    mask = torch.ones_like(volume)
    mask[:, 0] = 0
    step = RandAxialSliced(keys=["image", "brain_mask"], thick_prob=1.0, max_thickness=2).set_random_state(seed=4)
    found = step({"image": volume, "brain_mask": mask})
    values = found["image"][:, 1:].unique()
    assert len(values) == 1
    assert float(values) % 1 == 0.5 or float(values) == 1.0  # the first slice has no neighbour below
    assert not found["image"][:, 0].any()
    assert set(found["brain_mask"].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: RandBrainEdged(keys="image", prob=2), "prob"),
        (lambda: RandBrainEdged(keys="image", max_pixels=0), "max_pixels"),
        (lambda: RandBrainNoised(keys="image", prob=-1), "prob"),
        (lambda: RandBrainNoised(keys="image", max_std=float("nan")), "max_std"),
        (lambda: RandAxialSliced(keys="image", thick_prob=np.inf), "thick_prob"),
        (lambda: RandAxialSliced(keys="image", max_thickness=0), "max_thickness"),
    ],
)
def test_an_option_out_of_range_is_named(make, name: str) -> None:
    with pytest.raises(InputError, match=f"`{name}` must be"):
        make()
