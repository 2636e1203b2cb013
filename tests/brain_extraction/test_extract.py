"""Brain masks of scans with and without skull."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Invertd
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from scipy import ndimage

from scripts.brain_extraction import extract as module
from scripts.brain_extraction.extract import BrainExtractiond, examine
from scripts.errors import InputError
from scripts.scans.volume import read_notes

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@cache
def template() -> tuple[np.ndarray, np.ndarray]:
    """The template's brain at 2 mm, and its mask."""
    mask = load_mni152_brain_mask(resolution=2).get_fdata() > 0
    return (load_mni152_template(resolution=2).get_fdata() * mask).astype(np.float32), mask


def head() -> np.ndarray:
    """The template's brain in a shell of skull and scalp, with a neck, in a noisy background."""
    image, mask = template()
    shell = ndimage.binary_dilation(mask, iterations=8) & ~ndimage.binary_dilation(mask, iterations=3)
    shell[35:65, 35:75, :20] = True
    noise = np.random.default_rng(0).random(image.shape, dtype=np.float32)
    return np.where(shell, 0.9 * image.max(), image) + noise * 0.01 * image.max()


def case(volume: np.ndarray, modality: str = "t1", affine: np.ndarray = AFFINE, **more: torch.Tensor) -> dict:
    image = MetaTensor(torch.as_tensor(np.ascontiguousarray(volume)[None]), affine=torch.as_tensor(affine))
    image.meta["filename_or_obj"] = "scan.nii.gz"
    return {"image": image, "modality": modality, **more}


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


@pytest.mark.parametrize("change", ["as it is", "background of -1024", "turned by 30°", "tight box", "stored flipped"])
def test_a_stripped_scan_is_recognised_and_keeps_its_brain(change: str) -> None:
    volume, mask = template()
    if change == "background of -1024":
        volume = volume * 1000 - 1024
    elif change == "turned by 30°":
        volume, mask = ndimage.rotate(volume, 30, order=1), ndimage.rotate(mask.astype(np.float32), 30, order=1) > 0.5
    elif change == "tight box":
        box = ndimage.find_objects(mask.astype(int))[0]
        volume, mask = volume[box], mask[box]
    elif change == "stored flipped":
        volume, mask = volume[::-1, :, ::-1], mask[::-1, :, ::-1]
    result = BrainExtractiond("image")(case(volume))
    assert read_notes(result)["brain_extraction"]["method"] == "already stripped"
    assert dice(result["brain_mask"][0].numpy() > 0, mask) > 0.97, "an interpolated edge is a voxel wider"


def test_ventricles_of_zero_stay_brain() -> None:
    volume, _ = template()
    volume = volume.copy()
    volume[44:48, 50:60, 40:46] = 0
    result = BrainExtractiond("image")(case(volume))
    assert result["brain_mask"][0, 44:48, 50:60, 40:46].all()


@pytest.mark.parametrize("part", ["cut off", "zero below"])
def test_a_head_in_a_masked_background_is_not_taken_for_a_brain(part: str) -> None:
    volume = head()
    assert not examine(volume, AFFINE).may_be_stripped, "noise in the background"
    volume, mask = np.where(volume > 0.02 * volume.max(), volume, 0), template()[1]
    if part == "cut off":
        volume, mask = volume[:, :, 25:], mask[:, :, 25:]
    elif part == "zero below":
        volume[:, :, :25] = 0
    result = BrainExtractiond("image")(case(volume))
    assert read_notes(result)["brain_extraction"]["method"] == "deepbet"
    shell = (volume != 0) & ~ndimage.binary_dilation(mask, iterations=3)
    kept = np.count_nonzero(result["brain_mask"][0].numpy()[shell]) / np.count_nonzero(shell)
    assert kept < 0.1, "some of the shell under the cut may stay"


@pytest.mark.parametrize(
    ("share", "found", "method"),
    [(0.9, 1.0, "already stripped"), (0.8, 0.95, "already stripped"), (0.8, 0.8, "deepbet")],
)
def test_a_stripped_scan_is_one_that_the_network_takes_for_brain(
    monkeypatch: pytest.MonkeyPatch, share: float, found: float, method: str
) -> None:
    volume, mask = template()
    part = mask & (np.cumsum(mask).reshape(mask.shape) <= found * mask.sum())
    monkeypatch.setattr(module, "deepbet_glimpse", lambda *_, **__: share)
    monkeypatch.setattr(module, "deepbet_mask", lambda *_, **__: part)
    result = BrainExtractiond("image")(case(volume))
    assert read_notes(result)["brain_extraction"]["method"] == method
    always = BrainExtractiond("image", method="always")(case(volume))
    assert read_notes(always)["brain_extraction"]["method"] == "deepbet"


def test_a_given_mask_counts_as_it_is_and_blanks_the_rest() -> None:
    volume, mask = template()
    half = mask.copy()
    half[:45] = False
    given = MetaTensor(torch.as_tensor(half[None].astype(np.float32) * 3), affine=torch.as_tensor(AFFINE))
    result = BrainExtractiond("image", method="always")(case(volume, brain_mask=given))
    note = read_notes(result)["brain_extraction"]
    assert note["method"] == "given"
    assert note["volume_ml"] == pytest.approx(half.sum() * 0.008)
    assert result["brain_mask"].dtype == torch.uint8
    assert not result["image"][0, :45].any()
    assert torch.equal(result["image"][0, 45:], torch.as_tensor(np.where(half, volume, 0))[45:])


def test_never_takes_all_that_is_not_background() -> None:
    volume = head()
    volume[:5] = 0
    result = BrainExtractiond("image", method="never")(case(volume))
    assert read_notes(result)["brain_extraction"]["method"] == "never"
    np.testing.assert_array_equal(result["brain_mask"][0].numpy() > 0, volume != 0)


def test_nothing_moves_and_invertd_passes_through() -> None:
    volume, mask = template()
    chain = Compose([BrainExtractiond("image"), Flipd("image", spatial_axis=0)])
    data = chain(case(volume))
    back = Invertd("image", transform=chain, orig_keys="image", nearest_interp=False)(data)
    np.testing.assert_array_equal(back["image"][0].numpy() != 0, mask & (volume != 0))
    np.testing.assert_array_equal(back["image"].affine.numpy(), AFFINE)


def test_a_scan_without_a_brain_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "deepbet_mask", lambda volume, *_, **__: np.zeros(volume.shape, dtype=bool))
    noise = np.random.default_rng(0).random((20, 20, 20), dtype=np.float32)
    with pytest.raises(InputError, match=r"scan\.nii\.gz: no brain was found \(brain extraction: deepbet\)\. Check .*brain_mask"):
        BrainExtractiond("image")(case(noise))
    empty = MetaTensor(torch.zeros(1, 20, 20, 20), meta={"filename_or_obj": "mask.nii.gz"})
    with pytest.raises(InputError, match=r"mask\.nii\.gz: no brain was found \(brain extraction: given\)"):
        BrainExtractiond("image")(case(noise, brain_mask=empty))
    with pytest.raises(ValueError, match="`method` must be one of auto, always, never, got 'sometimes'"):
        BrainExtractiond("image", method="sometimes")


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(path)
    return image.get_fdata(dtype=np.float32), image.affine


def test_the_brain_of_a_real_head_is_found_however_it_is_stored(data_dir: Path) -> None:
    volume, affine = _load(data_dir / "raw" / "ds000011" / "sub-12" / "anat" / "sub-12_T1w.nii.gz")
    volume, affine = volume[::2, ::2, ::2], affine @ AFFINE
    first = BrainExtractiond("image")(case(volume, affine=affine))
    note = read_notes(first)["brain_extraction"]
    assert note["method"] == "deepbet"
    assert 1200 < note["volume_ml"] < 1500, "1354 ml at full resolution"
    turned = np.ascontiguousarray(volume.transpose(2, 0, 1)[::-1])
    order = np.zeros((4, 4))
    order[[2, 0, 1, 3], [0, 1, 2, 3]] = 1
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = turned.shape[0] - 1
    second = BrainExtractiond("image")(case(turned, affine=affine @ order @ flip))
    back = second["brain_mask"][0].numpy()[::-1].transpose(1, 2, 0) > 0
    assert dice(back, first["brain_mask"][0].numpy() > 0) > 0.999, "the network sees the same upright head"


def test_a_real_t2_takes_the_mask_of_its_t1(data_dir: Path) -> None:
    folder = data_dir / "raw" / "ds000011" / "sub-12" / "anat"
    t1, t1_affine = _load(folder / "sub-12_T1w.nii.gz")
    t2, t2_affine = _load(folder / "sub-12_inplaneT2.nii.gz")
    partner = MetaTensor(torch.as_tensor(t1[::2, ::2, ::2][None].copy()), affine=torch.as_tensor(t1_affine @ AFFINE))
    result = BrainExtractiond("image")(case(t2, "t2", t2_affine, t1=partner))
    note = read_notes(result)["brain_extraction"]
    assert note["method"] == "t1 mask"
    motion = np.asarray(note["t2_to_t1"])
    np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.degrees(np.arccos((np.trace(motion[:3, :3]) - 1) / 2)) == pytest.approx(12, abs=1.5), "the headers differ so much"
    assert float((result["t1"] != 0).float().mean()) < 0.2, "the T1's skull is gone"
    alone = BrainExtractiond("image")(case(t2, "t2", t2_affine))
    assert dice(alone["brain_mask"][0].numpy() > 0, result["brain_mask"][0].numpy() > 0) > 0.94, "0.96 at full resolution"
