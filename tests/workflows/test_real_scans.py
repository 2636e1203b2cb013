"""What must not change a result, on real scans: intensities, voxels, and masks and partners in another orientation."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose

from scripts.brain_extraction import BrainExtractiond
from scripts.transforms import CheckImaged, LoadScansd, NormalizeScansd
from tools.quality.alterations import INTENSITIES
from tools.quality.invariance import measure_invariance

pytestmark = pytest.mark.slow
STRIPPED = "raw/ds002748/sub-02/anat/sub-02_T1w.nii.gz"  # LAS
HEAD = "raw/IXI/IXI013-HH-1212_T1w.nii.gz"
SESSION = "raw/ds000011/sub-12/anat/sub-12_"


def turned(image: nib.Nifti1Image, codes: str, path: Path) -> Path:
    """Write an image with its voxels in another order, and the affine that goes with it."""
    wanted = nib.orientations.axcodes2ornt(codes)
    change = nib.orientations.ornt_transform(nib.orientations.io_orientation(image.affine), wanted)
    nib.save(image.as_reoriented(change), path)
    return path


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR"])
def test_a_mask_and_a_label_in_another_orientation_are_brought_onto_the_scan(data_dir: Path, tmp_path: Path, codes: str) -> None:
    scan = nib.load(data_dir / STRIPPED)
    assert nib.aff2axcodes(scan.affine) == ("L", "A", "S")
    brain = (np.asarray(scan.dataobj) > 0).astype(np.uint8)
    label = np.zeros_like(brain)
    label[60:90, 150:170, 80:100] = 1  # on one side
    own = nib.Nifti1Image(brain, scan.affine), nib.Nifti1Image(label, scan.affine)
    paths = [turned(image, codes, tmp_path / f"{name}.nii.gz") for image, name in zip(own, ("mask", "label"), strict=True)]
    item = {"image": str(data_dir / STRIPPED), "brain_mask": str(paths[0]), "label": str(paths[1])}
    keys = ["image", "brain_mask", "label"]
    loaded = Compose([LoadScansd(keys), CheckImaged("image", mask_keys=keys[1:])])(item)
    np.testing.assert_array_equal(loaded["brain_mask"][0].numpy() > 0, brain > 0)
    np.testing.assert_array_equal(loaded["label"][0].numpy() > 0, label > 0)


def test_a_t1_partner_in_another_orientation_gives_the_same_brain(data_dir: Path, tmp_path: Path) -> None:
    t1 = nib.load(data_dir / f"{SESSION}T1w.nii.gz")
    steps = Compose([LoadScansd(["image", "t1"]), NormalizeScansd(["image", "t1"]), BrainExtractiond("image")])
    masks = []
    for codes in ("".join(nib.aff2axcodes(t1.affine)), "LPI"):
        path = turned(t1, codes, tmp_path / f"{codes}_T1w.nii.gz")
        case = steps({"image": str(data_dir / f"{SESSION}inplaneT2.nii.gz"), "t1": str(path), "modality": "t2"})
        masks.append(case["brain_mask"][0].numpy() > 0)
    assert 2 * np.count_nonzero(masks[0] & masks[1]) / sum(map(np.count_nonzero, masks)) > 0.99


def test_other_intensities_of_a_head_give_the_same_regions(data_dir: Path, tmp_path: Path) -> None:
    measure_invariance([str(data_dir / HEAD)], output_dir=str(tmp_path), voxels=False)
    rows = json.loads((tmp_path / "invariance.json").read_text())["rows"]
    rows = [row for row in rows if row["copy"] in INTENSITIES]
    assert len(rows) == 5
    assert min(row["dice"] for row in rows) >= 0.99
    assert min(row["correlation"] for row in rows) >= 0.999
