"""Channels become named images, and files appear whole or not at all."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from scripts.errors import InputError
from scripts.scans import AtomicNibabelWriter
from scripts.transforms import SplitOutputsd, ToWorkingGridd
from scripts.transforms.outputs import ReloadOriginald

OUTPUTS = ["anomaly_map", "reconstruction"]


@pytest.fixture
def case(phantom_case):
    data = phantom_case()
    maps = torch.rand(2, 24, 24, 16, generator=torch.Generator().manual_seed(0))
    return {"pred": MetaTensor(maps, affine=data["image"].affine), "brain_mask": data["brain_mask"]}


def test_each_channel_becomes_a_key_that_is_zero_outside_the_brain(case):
    before = case["pred"].as_tensor().clone()
    output = SplitOutputsd("pred", outputs=OUTPUTS)(case)
    inside = case["brain_mask"].as_tensor() > 0
    for index, name in enumerate(OUTPUTS):
        assert torch.equal(output[name].as_tensor(), before[index : index + 1] * inside)
        assert torch.equal(output[name].affine, case["pred"].affine)
    assert "lesion_mask" not in output


def test_lesion_mask_is_the_brain_at_or_above_the_threshold(case):
    case["pred"][0, 12, 12, 8] = 0.7
    output = SplitOutputsd("pred", outputs=OUTPUTS, threshold=0.7)(case)["lesion_mask"]
    expected = (case["pred"][:1].as_tensor() >= 0.7) & (case["brain_mask"].as_tensor() > 0)
    assert output.dtype == torch.uint8
    assert torch.equal(output.as_tensor(), expected.to(torch.uint8))
    assert output[0, 12, 12, 8] == 1
    assert torch.equal(output.affine, case["pred"].affine)


def test_a_threshold_of_zero_still_leaves_the_background_out(case):
    output = SplitOutputsd("pred", outputs=OUTPUTS, threshold=0.0)(case)["lesion_mask"]
    assert torch.equal(output.as_tensor(), case["brain_mask"].as_tensor())


def test_a_wrong_number_of_channels_is_refused(case):
    with pytest.raises(ValueError, match=r"`pred` must have 1 channels \['anomaly_map'\], got 2"):
        SplitOutputsd("pred", outputs=["anomaly_map"])(case)


def test_a_resampled_label_comes_back_as_its_file_holds_it(phantom_case, write_nifti, load):
    volumes = {key: volume[0].numpy() for key, volume in phantom_case((24, 24, 16), 1.0).items()}
    affine = np.diag([-1.0, 1.0, 1.5, 1.0])
    data = load(**{key: write_nifti(volumes[key], key, affine) for key in ("brain_mask", "label")})
    resampled = ToWorkingGridd(["brain_mask", "label"], mode="nearest")(data)
    output = ReloadOriginald("label")(resampled)
    assert resampled["label"].shape == (1, 96, 96, 80)
    np.testing.assert_array_equal(output["label"][0].numpy(), volumes["label"])
    np.testing.assert_array_equal(output["label"].affine, affine)
    assert output["brain_mask"] is resampled["brain_mask"]
    with pytest.raises(InputError, match="`label` was not loaded from a file"):
        ReloadOriginald("label")({"label": torch.zeros(1, 2, 2, 2)})


def save(folder, image):
    SaveImaged(
        "map",
        output_dir=folder,
        output_postfix="map",
        separate_folder=False,
        print_log=False,
        writer=AtomicNibabelWriter,
    )({"map": image})


def test_the_file_is_what_monais_writer_would_write_and_nothing_else_stays(tmp_path, case):
    image = MetaTensor(case["pred"][:1], meta={"filename_or_obj": "scan.nii.gz"} | case["pred"].meta)
    save(tmp_path, image)
    assert [path.name for path in tmp_path.iterdir()] == ["scan_map.nii.gz"]
    written = nib.load(tmp_path / "scan_map.nii.gz")
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), image[0].numpy())
    np.testing.assert_allclose(written.affine, image.affine)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, case, monkeypatch):
    image = MetaTensor(case["pred"][:1], meta={"filename_or_obj": "scan.nii.gz"} | case["pred"].meta)
    save(tmp_path, image)
    before = (tmp_path / "scan_map.nii.gz").read_bytes()

    def half_write(volume, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", half_write)
    with pytest.raises(RuntimeError, match="disk full"):  # MONAI's SaveImage wraps it
        save(tmp_path, image * 2)
    assert [path.name for path in tmp_path.iterdir()] == ["scan_map.nii.gz"]
    assert (tmp_path / "scan_map.nii.gz").read_bytes() == before


def test_regions_below_the_smallest_volume_leave_the_mask_and_it_keeps_its_grid() -> None:
    maps = torch.zeros(1, 8, 8, 8)
    maps[0, 1:3, 1:3, 1:3] = 1.0  # 8 voxels of 12 µl
    maps[0, 6, 6, 6] = 1.0
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))
    case = {"pred": MetaTensor(maps, affine=affine), "brain_mask": torch.ones(1, 8, 8, 8)}
    split = SplitOutputsd("pred", outputs=["anomaly_map"], threshold=0.5, min_volume_ml=0.05)
    mask = split(case)["lesion_mask"]
    assert (mask.sum(), mask.dtype, mask[0, 6, 6, 6]) == (8, torch.uint8, 0)
    torch.testing.assert_close(mask.affine.float(), affine)
    with pytest.raises(InputError, match="`min_volume_ml` must be a number at or above 0, got -1"):
        SplitOutputsd("pred", outputs=["anomaly_map"], min_volume_ml=-1)
