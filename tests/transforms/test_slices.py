"""Slices: only those that hold brain, the same for all keys, evenly spaced or random from a seed."""

from __future__ import annotations

import pytest
import torch

from scripts.transforms import AxialSlicesd, RandAxialSliced, brain_slices

KEYS = ["image", "brain_mask"]


def mask_with(counts: list[int], shape=(10, 10)) -> torch.Tensor:
    """Return a mask [1, H, W, D] whose slice z holds counts[z] voxels."""
    mask = torch.zeros(1, shape[0] * shape[1], len(counts), dtype=torch.uint8)
    for z, count in enumerate(counts):
        mask[0, :count, z] = 1
    return mask.reshape(1, *shape, len(counts))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, [1, 2, 3, 5]), (0.02, [2, 3]), (0.4, [3]), (0.9, list(range(6)))]
)
def test_slices_that_hold_more_than_the_share(share, expected):
    assert brain_slices(mask_with([0, 2, 5, 80, 0, 1]), min_share=share).tolist() == expected


def test_random_slice_is_one_of_the_volumes_the_same_for_all_keys(phantom_case):
    data = phantom_case()
    candidates = brain_slices(data["brain_mask"]).tolist()
    transform = RandAxialSliced(KEYS)
    transform.set_random_state(seed=0)
    found = set()
    for _ in range(150):
        out = transform(data)
        places = [z for z in range(16) if torch.equal(out["image"].as_tensor(), data["image"][..., z].as_tensor())]
        assert len(places) == 1
        assert torch.equal(out["brain_mask"].as_tensor(), data["brain_mask"][..., places[0]].as_tensor())
        assert out["label"] is data["label"]
        found.add(places[0])
    assert found == set(candidates)


def test_a_seed_repeats_the_choice(phantom_case):
    data, runs = phantom_case(), []
    for seed in (1, 1, 2):
        transform = RandAxialSliced(KEYS).set_random_state(seed=seed)
        runs.append(torch.stack([transform(data)["image"].as_tensor() for _ in range(20)]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_slice_can_be_changed_without_changing_the_volume(phantom_case):
    data = phantom_case()
    before = data["image"].clone()
    RandAxialSliced(KEYS)(data)["image"].zero_()
    AxialSlicesd(KEYS, num_slices=2)(data)[0]["image"].zero_()
    assert torch.equal(data["image"].as_tensor(), before.as_tensor())


@pytest.mark.parametrize(
    ("num_slices", "expected"), [(1, [2]), (2, [2, 8]), (3, [2, 5, 8]), (99, [2, 3, 4, 5, 6, 7, 8])]
)
def test_even_slices_from_below_to_above(num_slices, expected):
    mask = mask_with([0, 0, *[50] * 7, 0])
    image = torch.arange(10.0).expand(1, 10, 10, 10)
    cases = AxialSlicesd(KEYS, num_slices=num_slices)({"image": image, "brain_mask": mask, "name": "a"})
    assert [int(case["image"][0, 0, 0]) for case in cases] == expected
    assert all(case["name"] == "a" and case["brain_mask"].shape == (1, 10, 10) for case in cases)


def test_no_slices_are_refused():
    with pytest.raises(ValueError, match="`num_slices` must be at least 1, got 0"):
        AxialSlicesd(KEYS, num_slices=0)
