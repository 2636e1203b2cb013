from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.data.datalists import load_datalist
from scripts.data.phantom import phantom_affine, phantom_volume, write_phantom_tree
from scripts.data.records import available_records, load_record
from scripts.errors import InputError
from tests.leaks import find_leaks

SEEDS = range(6)


@pytest.mark.parametrize("modality", ["t1", "t2"])
@pytest.mark.parametrize("seed", SEEDS)
def test_volume_keeps_its_promises(seed: int, modality: str) -> None:
    shape = (20, 24, 16)
    image, brain_mask, label = phantom_volume(shape, seed, modality, lesion=True)
    assert (image.shape, brain_mask.shape, label.shape) == (shape,) * 3
    assert (image.dtype, brain_mask.dtype, label.dtype) == (np.float32, np.uint8, np.uint8)
    assert np.array_equal(image != 0, brain_mask == 1)
    assert image[brain_mask == 1].min() >= np.float32(0.05)
    assert image.max() <= 1
    assert label.any()
    assert not np.any(label[brain_mask == 0])
    border = np.ones(shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert not brain_mask[border].any()


def test_seed_repeats_and_tells_heads_apart() -> None:
    first, again, other = (phantom_volume((16, 16, 16), seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_global_random_state_is_left_alone() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    phantom_volume((16, 16, 16), 3, lesion=True)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(("modality", "sign"), [("t1", -1), ("t2", 1)])
@pytest.mark.parametrize("seed", SEEDS)
def test_lesion_is_dark_in_t1_and_bright_in_t2_and_changes_nothing_else(seed: int, modality: str, sign: int) -> None:
    healthy, brain_mask, none = phantom_volume((24, 24, 16), seed, modality)
    image, same_mask, label = phantom_volume((24, 24, 16), seed, modality, lesion=True)
    assert not none.any()
    assert np.array_equal(brain_mask, same_mask)
    assert np.array_equal(image[label == 0], healthy[label == 0])
    assert sign * (image[label == 1].mean() - healthy[label == 1].mean()) > 0.1


def test_modalities_of_a_seed_show_the_same_head_in_another_contrast() -> None:
    (t1, mask, label), (t2, mask2, label2) = (phantom_volume((24, 24, 16), 1, m, lesion=True) for m in ("t1", "t2"))
    assert np.array_equal(mask, mask2)
    assert np.array_equal(label, label2)
    assert np.corrcoef(t1[mask == 1], t2[mask == 1])[0, 1] < -0.5


def test_smallest_phantom_with_smallest_lesion_has_a_lesion() -> None:
    assert all(phantom_volume((8, 8, 8), seed, lesion=True, lesion_radius=0.01)[2].sum() >= 1 for seed in SEEDS)


def test_affine_of_the_template_grid() -> None:
    expected = [[2, 0, 0, -96], [0, 2, 0, -114], [0, 0, 2, -72], [0, 0, 0, 1]]
    np.testing.assert_array_equal(phantom_affine((96, 96, 80), 2), expected)


@pytest.mark.parametrize(("shape", "spacing"), [((24, 24, 16), 2.0), ((9, 17, 30), (1.0, 0.5, 4))])
def test_brain_is_centred_where_the_template_has_it(shape: tuple[int, ...], spacing: Any) -> None:
    _, brain_mask, _ = phantom_volume(shape, 0)
    affine = phantom_affine(shape, spacing)
    centre = nib.affines.apply_affine(affine, np.argwhere(brain_mask).mean(axis=0))
    # The mask is symmetric about the centre of the grid, so only rounding is left.
    np.testing.assert_allclose(centre, (-1, -19, 7), atol=1e-9)
    assert nib.aff2axcodes(affine) == ("R", "A", "S")
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), np.broadcast_to(spacing, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phantom_volume((24, 24)), r"`shape` must be three numbers of voxels from 8 on, got \(24, 24\)"),
        (lambda: phantom_volume((24, 24, 4)), "`shape` must be three numbers of voxels from 8 on"),
        (lambda: phantom_volume(24), "`shape` must be three numbers of voxels from 8 on, got 24"),
        (lambda: phantom_volume(modality="flair"), "`modality` must be one of t1, t2, got 'flair'"),
        (lambda: phantom_volume(lesion_radius=0.5), "`lesion_radius` must be above 0 and at most 0.4, got 0.5"),
        (lambda: phantom_affine(spacing=0), "`spacing` must be one or three lengths in mm above 0, got 0"),
        (lambda: phantom_affine(spacing=(1, 2)), "`spacing` must be one or three lengths"),
    ],
)
def test_invalid_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_tree_of_all_sets_holds_what_its_csvs_name(tmp_path: Path) -> None:
    root = write_phantom_tree(tmp_path, datasets=available_records(), shape=(8, 8, 8), spacing=3, num_folds=2)
    listed = set()
    for name in available_records():
        record = load_record(name)
        for split in record.splits:
            for modality in record.modalities:
                for fold in range(2):
                    items = load_datalist(root, name, split, modality=modality, fold=fold)
                    listed |= {item[key] for item in items for key in ("image", "brain_mask", "label") if key in item}
    assert listed == {str(path) for path in root.rglob("*.nii.gz")}
    assert not list(root.rglob(".*"))


def test_files_hold_the_phantoms(tmp_path: Path) -> None:
    root = write_phantom_tree(tmp_path, datasets=["MSLUB"], shape=(10, 12, 8), spacing=(2, 2, 4))
    (item, _) = load_datalist(root, "MSLUB", "test", modality="t2")
    image, brain_mask, label = (nib.load(item[key]) for key in ("image", "brain_mask", "label"))
    for volume in (image, brain_mask, label):
        assert volume.shape == (10, 12, 8)
        np.testing.assert_array_equal(volume.affine, phantom_affine((10, 12, 8), (2, 2, 4)))
    values, mask = np.asarray(image.dataobj), np.asarray(brain_mask.dataobj)
    assert np.array_equal(values != 0, mask == 1)
    assert values.max() <= 254
    assert np.asarray(label.dataobj).any()


def test_synthetic_cases_are_heads_of_the_same_split_of_their_source(tmp_path: Path) -> None:
    root = write_phantom_tree(tmp_path, datasets=["ds002748", "SyntheticStroke"], shape=(8, 8, 8), num_folds=1)
    for split in ("val", "test"):
        heads = load_datalist(root, "ds002748", split)
        cases = load_datalist(root, "SyntheticStroke", split)
        assert [case["subject"] for case in cases] == [head["subject"] for head in heads]
        for head, case in zip(heads, cases, strict=True):
            outside = np.asarray(nib.load(case["label"]).dataobj) == 0
            healthy, injured = (np.asarray(nib.load(item["image"]).dataobj) for item in (head, case))
            assert np.array_equal(healthy[outside], injured[outside])
            assert not np.array_equal(healthy, injured)
    train = load_datalist(root, "ds002748", "train")
    assert not find_leaks({"train": train, "stroke": load_datalist(root, "SyntheticStroke", "val")})


def test_tree_is_repeatable_and_follows_the_seed(tmp_path: Path) -> None:
    roots = [
        write_phantom_tree(tmp_path / str(n), datasets="WMH", shape=(8, 8, 8), seed=s) for n, s in enumerate((1, 1, 2))
    ]
    path = Path("Test/WMH/t1/WMH-001_t1.nii.gz")
    first, again, other = (np.asarray(nib.load(root / path).dataobj) for root in roots)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_folder_that_is_not_empty_is_left_alone_unless_reported(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match=r"is not an empty folder\. Choose another one or set `overwrite`"):
        write_phantom_tree(tmp_path, datasets="WMH", shape=(8, 8, 8))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    write_phantom_tree(tmp_path, datasets="WMH", shape=(8, 8, 8), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_invalid_plan_writes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    path = tmp_path / "Flair.yaml"
    path.write_text("name: Flair\nfolder: x\nrole: healthy\nmodalities: [flair]\nsplits: {test: a.csv}\n")
    with pytest.raises(ValueError, match="`num_val` must be a whole number from 1 on, got 0"):
        write_phantom_tree(root, num_val=0)
    with pytest.raises(ValueError, match="`num_folds` must be from 1 to num_train \\+ num_val = 5, got 6"):
        write_phantom_tree(root, num_folds=6)
    with pytest.raises(ValueError, match="`shape` must be three numbers"):
        write_phantom_tree(root, shape=(4, 4, 4))
    with pytest.raises(InputError, match="`dataset` must be one of"):
        write_phantom_tree(root, datasets=["ixi"])
    with pytest.raises(InputError, match="the modalities of Flair must be out of t1, t2, got flair"):
        write_phantom_tree(root, datasets=[load_record(path)])
    assert not root.exists()
