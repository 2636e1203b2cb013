"""N4 on a brain with a field of known shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

from scripts.scans.volume import read_notes
from scripts.transforms.intensity import CorrectBiasd


@pytest.fixture(scope="module")
def brain() -> tuple[np.ndarray, np.ndarray]:
    mask = load_mni152_brain_mask(resolution=2).get_fdata() > 0
    return (load_mni152_template(resolution=2).get_fdata() * mask).astype(np.float32), mask


def _case(volume: np.ndarray, mask: np.ndarray) -> dict:
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.as_tensor(volume[None]), affine=affine)
    return {"image": image, "brain_mask": MetaTensor(torch.as_tensor(mask[None].astype(np.uint8)), affine=affine)}


@pytest.mark.parametrize("shift", [0.0, -0.5])
def test_a_smooth_field_is_taken_out(brain: tuple[np.ndarray, np.ndarray], shift: float) -> None:
    volume, mask = brain
    ramp = np.linspace(0.6, 1.4, volume.shape[1], dtype=np.float32)[None, :, None]
    result = CorrectBiasd("image", enabled=True)(_case((volume * ramp + shift) * mask, mask))
    corrected = result["image"][0].numpy()
    before = np.corrcoef(volume[mask], (volume * ramp)[mask])[0, 1]
    after = np.corrcoef(volume[mask], corrected[mask])[0, 1]
    assert after > before + 0.1 if shift == 0 else after > before
    assert not corrected[~mask].any()
    assert result["image"].dtype == torch.float32
    assert read_notes(result)["bias_correction"] == {"done": True}


def test_off_leaves_the_image_as_it_is(brain: tuple[np.ndarray, np.ndarray]) -> None:
    data = _case(*brain)
    result = CorrectBiasd("image")(data)
    assert result["image"] is data["image"]
    assert read_notes(result)["bias_correction"] == {"done": False}


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="`shrink_factor` and `iterations` must be at least 1, got 0 and 50"):
        CorrectBiasd("image", shrink_factor=0)
