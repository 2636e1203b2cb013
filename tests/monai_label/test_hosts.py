"""What a case needs where a host gives an image and little else: its modality, options, loading, what it carries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import LoadImaged

from scripts.data.inputs.modality import modality_of
from scripts.errors import InputError
from scripts.transforms import CarryInMetad, LoadScansd, SetModalityd, carried


@pytest.mark.parametrize(
    ("data", "modality"),
    [
        ({"image": "sub-01_T2w.nii.gz"}, "t2"),
        ({"image_path": "sub-01_T2w.nii.gz", "image": torch.zeros(1)}, "t2"),
        ({"image": "sub-01_T2w.nii.gz", "modality": "t1"}, "t1"),
        ({"image": "sub-01_T2w.nii.gz", "modality": "auto"}, "t2"),
        ({"image": "sub-01_T2w.nii.gz", "modality": ["auto", "t1", "t2"]}, "t2"),  # all choices: none was made
        ({"image": "sub-01_T2w.nii.gz", "modality": ["t1", "t2"]}, "t1"),
        ({"image": "1.2.840.113619.nii.gz", "modality": ""}, "t1"),
        ({"image": "/tmp/tmpab9t2_x8.nii.gz"}, "t1"),  # "t2" in a name that Python drew
        ({"image": torch.zeros(1)}, "t1"),
    ],
)
def test_modality_is_the_wish_else_what_the_name_says_else_t1(data, modality):
    assert SetModalityd(by_name=modality_of)(data)["modality"] == modality


def test_modality_of_the_config_goes_before_the_name():
    assert SetModalityd("t1", by_name=modality_of)({"image": "sub-01_T2w.nii.gz"})["modality"] == "t1"


def test_scans_of_another_kind_are_refused_by_name():
    with pytest.raises(InputError, match="FLAIR is not supported"):
        SetModalityd(by_name=modality_of)({"image": "sub-01_FLAIR.nii.gz"})


def test_files_are_loaded_as_far_as_a_case_has_them(write_nifti):
    values = np.arange(12.0**3, dtype=np.float32).reshape(12, 12, 12)
    load = LoadScansd(["image", "brain_mask"], allow_missing_keys=True)
    data = load({"image": write_nifti(values, "scan"), "case": "a"})
    assert set(data) == {"image", "case"}
    np.testing.assert_array_equal(data["image"].numpy(), values[None])
    assert isinstance(data["image"], MetaTensor)
    assert not isinstance(load, LoadImaged)  # MONAI Label would exchange it


def test_a_scan_that_the_host_does_not_know_is_reported():
    with pytest.raises(InputError, match="the host has no scan of that name"):
        LoadScansd("image")({"image": ""})


def test_what_an_image_carries_survives_batches_and_selection():
    mask = MetaTensor(torch.arange(8.0).reshape(1, 2, 2, 2) > 3)
    case = {"image": MetaTensor(torch.rand(1, 2, 2, 2)), "brain_mask": mask, "modality": "t2"}
    image = CarryInMetad("image", names=["brain_mask", "modality"])(case)["image"]
    assert carried(case["image"], "modality") is None  # the case that came in is as it was
    batch = next(iter(DataLoader(Dataset([{"image": image}]), batch_size=1)))["image"]
    assert torch.equal(carried(batch, "brain_mask")[0], mask.as_tensor())
    assert carried(batch, "modality") == ["t2"]
    assert carried(decollate_batch(batch)[0], "modality") == "t2"
    assert torch.equal(carried(image[None], "brain_mask"), mask.as_tensor())  # the batch of one that MONAI Label makes
    assert carried(torch.zeros(1), "modality") is None


def test_plain_tensors_cannot_carry():
    with pytest.raises(TypeError, match="`image` must be a MetaTensor, got Tensor"):
        CarryInMetad("image", names="modality")({"image": torch.zeros(1), "modality": "t1"})
