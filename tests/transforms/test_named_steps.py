"""Steps that are named and timed."""

from __future__ import annotations

import sys
import time

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Lambdad, RandFlipd, Rotate90d

from scripts.errors import InputError
from scripts.scans.volume import add_note, read_notes
from scripts.transforms import NamedSteps, SetModalityd


def _wait(x: torch.Tensor) -> torch.Tensor:
    time.sleep(0.02)
    return x + 1


def test_result_and_inverse_are_those_of_compose() -> None:
    steps = [Flipd("image", spatial_axis=0), Rotate90d("image"), Flipd("image", spatial_axis=1)]
    data = {"image": MetaTensor(torch.arange(12.0).reshape(1, 3, 4)), "case": "a"}
    plain, named = Compose(steps)(dict(data)), NamedSteps(steps, progress=False)(dict(data))
    assert torch.equal(plain["image"], named["image"])
    assert torch.equal(NamedSteps(steps, progress=False).inverse(named)["image"], data["image"])


def test_seconds_are_noted_by_step_and_add_up_over_two_chains(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # bars are for terminals
    data = {"image": MetaTensor(torch.zeros(1, 3, 4)), "case": "sub-07"}
    first = NamedSteps([Lambdad("image", func=_wait), Lambdad("image", func=_wait)])(data)
    second = NamedSteps([Lambdad("image", func=_wait)])(first)
    assert read_notes(first)["seconds"]["preparation"] >= 0.04
    assert read_notes(second)["seconds"]["preparation"] >= 0.06
    assert "sub-07: preparation" in capsys.readouterr().err


def test_a_random_step_repeats_with_its_seed() -> None:
    steps = NamedSteps([RandFlipd("image", prob=0.5, spatial_axis=0)], progress=False)
    data = {"image": MetaTensor(torch.arange(12.0).reshape(1, 3, 4))}
    runs = [[steps.set_random_state(seed)(dict(data))["image"].sum(-1) for _ in range(8)] for seed in (1, 1)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_notes_add_up_and_hold_only_what_json_holds() -> None:
    data: dict = {}
    add_note(data, "alignment", method="affine")
    add_note(data, "alignment", overlap=0.9)
    assert read_notes(data) == {"alignment": {"method": "affine", "overlap": 0.9}}
    with pytest.raises(TypeError, match="not JSON serializable"):
        add_note(data, "alignment", matrix=torch.eye(2))


def test_a_missing_modality_is_set_and_a_wrong_one_refused() -> None:
    assert SetModalityd()({"image": "a"}) == {"image": "a", "modality": "t1"}
    assert SetModalityd("t2")({"modality": "t1"}) == {"modality": "t1"}
    with pytest.raises(InputError, match="`modality` must be one of t1, t2, got 'flair'"):
        SetModalityd("flair")
    with pytest.raises(InputError, match="`modality` must be one of t1, t2, got 'pd'"):
        SetModalityd()({"modality": "pd"})
