"""A lesion set made of healthy scans."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.data import load_datalist
from scripts.data.phantom import write_phantom_tree
from scripts.errors import InputError
from tools.make_synthetic_lesions import make_synthetic_lesions

SHAPE = (24, 24, 16)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_tree(tmp_path_factory.mktemp("tree"), datasets=("IXI",), shape=SHAPE)


@pytest.fixture(scope="module")
def shapes(tree: Path) -> str:
    """Ten boxes in the middle of the volume."""
    masks = np.zeros((*SHAPE, 10), np.uint8)
    for k in range(10):
        masks[8 + k % 5 : 14, 8:15, 5 : 9 + k % 3, k] = 1
    affine = nib.load(next((tree / "Train").rglob("*_t1.nii.gz"))).affine
    nib.save(nib.Nifti1Image(masks, affine), tree / "shapes.nii.gz")
    return str(tree / "shapes.nii.gz")


def test_the_set_can_be_loaded_and_its_lesions_seen(tree: Path, shapes: str, tmp_path: Path) -> None:
    out = tmp_path / "made"
    make_synthetic_lesions(shapes, str(out), dataset="IXI", dataset_dir=str(tree), modality="t2", per_scan=2, min_ml=0)
    healthy = load_datalist(tree, "IXI", "val", modality="t2")
    items = load_datalist(out, out / "SyntheticLesions.yaml", "val", modality="t2")
    assert len(items) == 2 * len(healthy)
    assert {item["subject"] for item in items} == {item["subject"] for item in healthy}, "leaks can be seen"
    for item in items:
        image, label, mask = (nib.load(item[key]).get_fdata() for key in ("image", "label", "brain_mask"))
        source = nib.load(next(h["image"] for h in healthy if item["case"].startswith(h["case"])))
        assert label.any()
        assert not (label.astype(bool) & (mask == 0)).any()
        assert (image - source.get_fdata())[label > 0].mean() > 0
        np.testing.assert_array_equal(nib.load(item["image"]).affine, source.affine)
    assert not list(out.rglob(".*")), "no temporary file is left"


def test_stripped_scans_without_mask_files_have_their_brain_where_they_are_not_zero(shapes: str, tmp_path: Path) -> None:
    data, out = write_phantom_tree(tmp_path / "data", datasets=("IXI",), shape=SHAPE), tmp_path / "made"
    record = tmp_path / "stripped.yaml"
    record.write_text(
        "name: stripped\nfolder: Train/ixi\nrole: healthy\nmodalities: [t1]\nbrain_mask: nonzero\n"
        "splits: {val: stripped_val.csv}\n"
    )
    paths = [path.relative_to(data).as_posix() for path in sorted((data / "Train").rglob("*_t1.nii.gz"))[:2]]
    rows = "".join(f"{number},/{path}\n" for number, path in enumerate(paths))
    (data / "splits" / "stripped_val.csv").write_text("img_name,img_path\n" + rows)
    make_synthetic_lesions(shapes, str(out), dataset=str(record), dataset_dir=str(data), per_scan=1, min_ml=0)
    items = load_datalist(out, out / "SyntheticLesions.yaml", "val")
    assert len(items) == 2
    for path, item in zip(paths, items, strict=True):
        found = nib.load(item["brain_mask"]).get_fdata()
        np.testing.assert_array_equal(found, nib.load(data / path).get_fdata() != 0)


def test_what_cannot_be_done_is_named(tree: Path, shapes: str, tmp_path: Path) -> None:
    options = {"dataset": "IXI", "dataset_dir": str(tree), "min_ml": 0}
    with pytest.raises(InputError, match="there are too few shapes for that many cases"):
        make_synthetic_lesions(shapes, str(tmp_path / "a"), per_scan=30, **options)
    with pytest.raises(InputError, match="the shapes cannot be read"):
        make_synthetic_lesions(str(tree / "none.nii.gz"), str(tmp_path / "b"), **options)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "file").write_text("")
    with pytest.raises(InputError, match="the folder is not empty"):
        make_synthetic_lesions(shapes, str(tmp_path / "c"), **options)


def test_a_name_that_leads_out_of_the_folder_is_refused(tree: Path, shapes: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`name` must be a name of letters, digits, - and _, got '\.\./x'"):
        make_synthetic_lesions(shapes, str(tmp_path / "made"), dataset="IXI", dataset_dir=str(tree), name="../x")
    assert not list(tmp_path.iterdir())
