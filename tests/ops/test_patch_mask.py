"""Masks over patches: exact in number, drawn for each slice, repeatable, and squares at every resolution."""

from __future__ import annotations

import pytest
import torch

from scripts.errors import InputError
from scripts.ops import patch_grid, resize_patch_mask, sample_patch_mask


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("grid", "ratio", "masked"), [((3, 3), 0.65, 6), ((6, 6), 0.65, 23), ((2, 5), 0.5, 5), ((1, 2), 0.4, 1)])
def test_every_slice_has_exactly_the_nearest_whole_number_of_masked_patches(grid, ratio, masked):
    visible = sample_patch_mask(40, grid, ratio, generator=seeded(0))
    assert visible.shape == (40, *grid)
    assert visible.dtype == torch.bool
    assert (~visible).sum(dim=(1, 2)).tolist() == [masked] * 40


def test_slices_are_masked_apart_and_every_patch_is_masked_as_often_as_the_others():
    visible = sample_patch_mask(3000, (3, 3), 0.65, generator=seeded(1))
    assert len({tuple(mask.flatten().tolist()) for mask in visible}) == 84, "all 9-choose-3 masks turn up"
    share = (~visible).float().mean(dim=0)
    # the share of 3000 draws has a standard deviation of 0.0086 around 2/3
    torch.testing.assert_close(share, torch.full((3, 3), 6 / 9), atol=0.045, rtol=0)


def test_the_sample_repeats_with_its_seed_whatever_the_global_one_and_for_fewer_slices():
    draws = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        draws.append(sample_patch_mask(8, (3, 3), 0.65, generator=seeded(5)))
    assert torch.equal(*draws)
    assert torch.equal(sample_patch_mask(3, (3, 3), 0.65, generator=seeded(5)), draws[0][:3])
    assert not torch.equal(sample_patch_mask(8, (3, 3), 0.65, generator=seeded(6)), draws[0])
    before = torch.get_rng_state()
    sample_patch_mask(8, (3, 3), 0.65, generator=seeded(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_masked_at_ratio_zero():
    assert sample_patch_mask(2, (3, 3), 0.0).all()


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(InputError, match=f"`mask_ratio` must be at least 0 and below 1, got {ratio}"):
        sample_patch_mask(2, (3, 3), ratio)


@pytest.mark.parametrize(("grid", "ratio"), [((1, 1), 0.65), ((3, 3), 0.99), ((3, 3), 0.01)])
def test_a_ratio_that_masks_all_or_no_patches_is_refused(grid, ratio):
    with pytest.raises(InputError, match=rf"must leave a patch visible and mask one, got {ratio} of {grid[0]}×{grid[1]} patches"):
        sample_patch_mask(2, grid, ratio)


def test_a_patch_becomes_a_square_of_positions():
    visible = torch.tensor([[[True, False], [False, True], [True, True]]])
    large = resize_patch_mask(visible, (6, 4))
    assert large.shape == (1, 6, 4)
    for row in range(6):
        for column in range(4):
            assert large[0, row, column] == visible[0, row // 2, column // 2]
    assert torch.equal(resize_patch_mask(visible, (3, 2)), visible)


@pytest.mark.parametrize("size", [(6, 5), (7, 4), (3, 4), (1, 1)])
def test_maps_that_do_not_hold_whole_patches_are_refused(size):
    with pytest.raises(InputError, match=rf"each of 3×2 patches as a square, got {size[0]}×{size[1]} positions"):
        resize_patch_mask(torch.ones(1, 3, 2, dtype=torch.bool), size)


def test_a_slice_is_divided_into_patches():
    assert patch_grid((96, 64), 32) == (3, 2)


@pytest.mark.parametrize(("size", "fix"), [((100, 96), "96×96"), ((96, 50), "96×64"), ((8, 32), "32×32")])
def test_slices_that_are_no_multiple_of_the_patch_are_refused_with_a_size_that_fits(size, fix):
    with pytest.raises(InputError, match=rf"multiple of the patch of 32 pixels.*got {size[0]}×{size[1]}\. .*`grid_size`.*{fix}"):
        patch_grid(size, 32)
