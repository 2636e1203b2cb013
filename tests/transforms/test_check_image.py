"""Each image that cannot be used is refused with its own file named; a good one passes untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts.data.phantom import phantom_volume
from scripts.errors import InputError
from scripts.transforms import BrainMaskFromNonzerod, CheckImaged

IMAGE, MASK, _ = phantom_volume()
CHECK = CheckImaged("image", mask_keys=["brain_mask", "label"], non_empty_keys="brain_mask")


def spoil(array, value, count=1):
    array = np.array(array, dtype=np.float32)
    array.flat[:count] = value
    return array


def test_a_good_case_passes_untouched(write_nifti, load):
    data = load(image=write_nifti(IMAGE, "scan"), brain_mask=write_nifti(MASK, "mask"))
    checked = CHECK(data)
    assert checked.keys() == data.keys()
    assert all(checked[key] is data[key] for key in data)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.stack([IMAGE] * 3, axis=-1),
            r"one 3D volume, got 3 channel\(s\) of 3 dimension\(s\) \(24, 24, 16\)\. Extract one",
        ),
        (IMAGE[..., 8], r"one 3D volume, got 1 channel\(s\) of 2 dimension\(s\) \(24, 24\)"),
        (spoil(IMAGE, np.nan, 5), r"5 of 9216 voxels are NaN or infinite\. Replace them"),
        (spoil(IMAGE, np.inf), "1 of 9216 voxels are NaN or infinite"),
        (spoil(IMAGE, -np.inf, 2), "2 of 9216 voxels are NaN or infinite"),
        (np.full_like(IMAGE, 3), r"the image is constant \(3 everywhere\)\. Give a scan with tissue"),
        (np.zeros_like(IMAGE), r"the image is constant \(0 everywhere\)"),
    ],
    ids=["4D", "2D", "nan", "inf", "minus-inf", "constant", "zero"],
)
def test_an_image_that_cannot_be_used_is_refused_by_name(write_nifti, load, image, message):
    data = load(image=write_nifti(image, "bad_scan"), brain_mask=write_nifti(MASK, "mask"))
    with pytest.raises(InputError, match=rf"bad_scan\.nii\.gz: .*{message}"):
        CHECK(data)


def test_a_fourth_axis_of_length_one_is_a_channel(write_nifti, load):
    CHECK(load(image=write_nifti(IMAGE[..., None], "scan")))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.stack([MASK, MASK], -1), r"must have the image's shape \(24, 24, 16\), got 2 channels of \(24, 24, 16\)"),
        (spoil(MASK, np.nan), "1 of 9216 voxels are NaN or infinite"),
        (np.zeros_like(MASK), r"`brain_mask` holds no voxel\. Give a mask with the brain in it"),
    ],
    ids=["channels", "nan", "empty"],
)
def test_a_mask_that_does_not_fit_is_refused_by_name(write_nifti, load, mask, message):
    data = load(image=write_nifti(IMAGE, "scan"), brain_mask=write_nifti(mask, "bad_mask"))
    with pytest.raises(InputError, match=rf"bad_mask\.nii\.gz: .*{message}"):
        CHECK(data)


def test_an_empty_segmentation_is_a_healthy_case(write_nifti, load):
    CHECK(load(image=write_nifti(IMAGE, "scan"), label=write_nifti(np.zeros_like(MASK), "seg")))


def test_all_images_are_compared_with_the_first(write_nifti, load):
    names = {"t1": IMAGE, "t2": IMAGE, "pd": IMAGE[:20]}
    data = load(**{name: write_nifti(image, name) for name, image in names.items()})
    with pytest.raises(
        InputError, match=r"pd\.nii\.gz: `pd` must have the shape \(24, 24, 16\) of .*t1\.nii\.gz, got \(20, 24, 16\)"
    ):
        CheckImaged(["t1", "t2", "pd"])(data)


def test_missing_keys_are_allowed_only_on_request():
    assert CheckImaged("image", allow_missing_keys=True)({"case": 1}) == {"case": 1}
    with pytest.raises(KeyError, match="image"):
        CheckImaged("image")({"case": 1})


def test_brain_mask_is_the_non_zero_voxels_on_the_images_grid(phantom_case):
    data = phantom_case(spacing=1.5)
    made = BrainMaskFromNonzerod("image")({"image": data["image"]})["brain_mask"]
    assert made.dtype == torch.uint8
    assert torch.equal(made.as_tensor(), data["brain_mask"].as_tensor())
    assert torch.equal(made.affine, data["image"].affine)


def test_negative_voxels_are_brain():
    image = MetaTensor(torch.tensor([[[[-3.0, 0.0, 2.0]]]]))
    assert BrainMaskFromNonzerod("image")({"image": image})["brain_mask"].flatten().tolist() == [1, 0, 1]


def test_a_mask_that_is_there_is_kept_and_made_binary(phantom_case):
    data = phantom_case()
    data["brain_mask"] = data["label"] * 2.5 - 1
    made = BrainMaskFromNonzerod("image")(data)["brain_mask"]
    assert made.dtype == torch.uint8
    assert torch.equal(made.as_tensor(), data["label"].as_tensor())
