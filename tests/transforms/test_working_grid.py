"""The working grid: exact where nothing needs resampling, in place in world mm, and reversible."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd

from scripts.data.phantom import phantom_affine
from scripts.scans import grid_affine
from scripts.scans.volume import TEMPLATE_CENTER_MM, share_inside
from scripts.transforms import BrainMaskFromNonzerod, GridCenter, ToWorkingGridd

KEYS = ["image", "brain_mask", "label"]
MODES = [3, "nearest", "nearest"]
FINE = (72, 80, 64)  # 1 mm voxels; a phantom's brain fills 84 % of each edge


def dice(first, second) -> float:
    first, second = (np.asarray(torch.as_tensor(mask)) > 0.5 for mask in (first, second))
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def centre_mm(mask: MetaTensor) -> np.ndarray:
    voxels = np.argwhere(mask[0].numpy() > 0)
    return (np.asarray(mask.affine) @ [*voxels.mean(axis=0), 1])[:3]


def turned(shape, spacing, degrees=20.0, centre=TEMPLATE_CENTER_MM):
    """Return an affine turned about z and x whose grid has its middle at `centre`."""
    a, b = np.radians([degrees, degrees / 2])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ tilt * spacing
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def test_template_grid_is_the_one_of_the_data(data_dir, load):
    expected = grid_affine(TEMPLATE_CENTER_MM, (96, 96, 80), 2.0)
    assert np.array_equal(expected, phantom_affine((96, 96, 80), 2.0))
    assert expected[:3, 3].tolist() == [-96, -114, -72]
    data = load(image=data_dir / "Train/ds002748/t1/sub-02_t1.nii.gz")
    assert data["image"].shape == (1, 96, 96, 80)
    assert np.array_equal(data["image"].affine, expected)


def test_a_case_on_the_grid_is_untouched_bit_for_bit(phantom_case):
    data = phantom_case((96, 96, 80), 2.0)
    output = ToWorkingGridd(KEYS, mode=MODES)(data)
    for key in KEYS:
        assert output[key].dtype == torch.float32
        assert torch.equal(output[key].as_tensor(), data[key].as_tensor().float())
        assert torch.equal(output[key].affine, data[key].affine)


def test_real_template_scan_is_untouched_bit_for_bit(data_dir, load):
    folder = data_dir / "Train/ds002748"
    data = load(image=folder / "t1/sub-03_t1.nii.gz", brain_mask=folder / "mask/sub-03_mask.nii.gz")
    output = ToWorkingGridd(KEYS[:2], mode=MODES[:2])(data)
    assert all(torch.equal(output[key].as_tensor(), data[key].as_tensor().float()) for key in KEYS[:2])


@pytest.mark.parametrize("kind", ["aligned", "turned"])
def test_a_1_mm_scan_lands_in_place(phantom_case, kind):
    affine = phantom_affine(FINE, 1.0) if kind == "aligned" else turned(FINE, 1.0)
    data = phantom_case(FINE, affine=affine)
    output = ToWorkingGridd(KEYS, mode=MODES)(data)
    for key in KEYS:
        assert output[key].shape == (1, 96, 96, 80)
        assert np.allclose(output[key].affine, grid_affine(TEMPLATE_CENTER_MM, (96, 96, 80), 2.0))
    for key in KEYS[1:]:
        # A centre halfway between two 1 mm voxels takes one of them, 0.5 mm away; the rest is the surface's steps.
        assert np.abs(centre_mm(output[key]) - centre_mm(data[key])).max() < 0.7
        assert float(output[key].sum()) * 8 == pytest.approx(float(data[key].sum()), rel=0.1)
    inside = output["brain_mask"].as_tensor() > 0
    assert output["image"].as_tensor()[inside].mean() == pytest.approx(
        float(data["image"][data["brain_mask"] > 0].mean()), rel=0.05
    )


def test_real_1_mm_scan_lands_on_the_template(data_dir, load, caplog):
    folder = data_dir / "Test/MSLUB"
    data = load(
        image=folder / "t1/patient26_t1.nii.gz",
        brain_mask=folder / "mask/patient26_mask.nii.gz",
        label=folder / "seg/patient26_seg.nii.gz",
    )
    output = ToWorkingGridd(KEYS, mode=MODES)(data)
    assert {output[key].shape for key in KEYS} == {(1, 96, 96, 80)}
    for key, share in (("brain_mask", 0.01), ("label", 0.1)):
        # 2 mm voxels lie on every second 1 mm voxel here, so this is plain subsampling.
        assert np.abs(centre_mm(output[key]) - centre_mm(data[key])).max() < 0.2
        assert float(output[key].sum()) * 8 == pytest.approx(float(data[key].sum()), rel=share)
    other = load(brain_mask=data_dir / "Train/ds002748/mask/sub-03_mask.nii.gz")["brain_mask"]
    covered = np.count_nonzero((output["brain_mask"].numpy() > 0) & (other.numpy() > 0))
    assert covered > 0.98 * float(output["brain_mask"].sum())
    assert not [record for record in caplog.records if record.name.startswith("scripts")]


@pytest.mark.parametrize("axcodes", ["RAS", "LPI"])
@pytest.mark.parametrize("kind", ["aligned", "turned"])
def test_invertd_takes_results_back_to_the_scans_own_grid(phantom_case, axcodes, kind):
    affine = phantom_affine(FINE, 1.0) if kind == "aligned" else turned(FINE, 1.0)
    data = Orientationd(KEYS, axcodes=axcodes, labels=None)(phantom_case(FINE, affine=affine))
    data = {key: MetaTensor(volume.as_tensor(), affine=volume.affine) for key, volume in data.items()}
    preprocessing = Compose(
        [
            Orientationd(KEYS, axcodes="RAS", labels=None),
            BrainMaskFromNonzerod("image"),
            ToWorkingGridd(KEYS, mode=MODES),
        ]
    )
    case = preprocessing(data)
    case["pred"] = case["label"].clone()
    back = Invertd(
        ["pred", "brain_mask"], preprocessing, orig_keys=["image", "brain_mask"], nearest_interp=[False, True]
    )(case)
    # A lesion of 7 mm radius is mostly surface on 2 mm voxels, the brain is not.
    for key, original, least in (("pred", data["label"], 0.85), ("brain_mask", data["brain_mask"], 0.95)):
        assert back[key].shape == original.shape
        assert np.allclose(back[key].affine, original.affine, atol=1e-5)
        assert dice(back[key], original) >= least
    # Linear on the way back: a spline would swing below 0 and above 1 at the lesion's edge.
    assert back["pred"].min() >= 0
    assert back["pred"].max() <= 1 + 1e-6
    assert set(back["brain_mask"].unique().tolist()) == {0, 1}


def test_inverse_of_the_transform_itself_and_more_than_once(phantom_case):
    data = phantom_case(FINE, 1.0)
    transform = ToWorkingGridd(KEYS, mode=MODES)
    output = transform(data)
    first, second = (transform.inverse({key: volume.clone() for key, volume in output.items()}) for _ in range(2))
    for key in KEYS:
        assert first[key].shape == data[key].shape
        assert torch.allclose(first[key].affine, data[key].affine.double())
        assert torch.equal(first[key].as_tensor(), second[key].as_tensor())
    assert dice(first["brain_mask"], data["brain_mask"]) >= 0.95
    # The image went there by a spline and came back linearly: only edges differ.
    assert float((first["image"] - data["image"]).abs().mean()) < 0.03


def test_a_case_on_the_grid_returns_bit_for_bit(phantom_case):
    data, transform = phantom_case((96, 96, 80), 2.0), ToWorkingGridd(KEYS, mode=MODES)
    back = transform.inverse(transform(data))
    assert all(torch.equal(back[key].as_tensor(), data[key].as_tensor().float()) for key in KEYS)


def test_header_without_template_origin_falls_back_to_the_images_centre(phantom_case, caplog, write_nifti, load):
    affine = np.diag([1.0, 1.0, 1.0, 1.0])  # the corner of the image at the world's origin
    volumes = {key: volume[0].numpy() for key, volume in phantom_case(FINE).items()}
    data = load(**{key: write_nifti(volume, key, affine) for key, volume in volumes.items()})
    small = {"size": (40, 44, 36), "spacing_mm": 2.0}
    with caplog.at_level(logging.WARNING):
        output = ToWorkingGridd(KEYS, mode=MODES, **small)(data)
    assert "brain_mask.nii.gz: the working grid holds 100.0 % of the brain; centred on the image" in caplog.text
    assert float(output["brain_mask"].sum()) * 8 == pytest.approx(float(data["brain_mask"].sum()), rel=0.05)
    assert np.allclose(output["image"].affine, grid_affine((np.array(FINE) - 1) / 2, small["size"], 2.0))


def test_brain_that_the_grid_cuts_off_is_warned_of(phantom_case, caplog):
    data = phantom_case((40, 40, 40), 2.0)
    ToWorkingGridd(KEYS, mode=MODES, size=(40, 40, 20))(data)
    assert "image: the working grid holds " in caplog.text
    share = share_inside(
        data["brain_mask"],
        np.asarray(data["image"].affine),
        grid_affine(TEMPLATE_CENTER_MM, (40, 40, 20), 2.0),
        (40, 40, 20),
    )
    assert f"{100 * share:.1f} % of the brain." in caplog.text
    assert 0.5 < share < 0.9


@pytest.mark.parametrize(
    ("center", "expected"),
    [
        (GridCenter.TEMPLATE, TEMPLATE_CENTER_MM),
        ("image", (10, 20, 30)),
        ((1, 2, 3), (1, 2, 3)),
        ("auto", (10, 20, 30)),
    ],
)
def test_the_grids_centre_can_be_chosen(phantom_case, center, expected):
    affine = phantom_affine()
    affine[:3, 3] += np.array([10, 20, 30]) - TEMPLATE_CENTER_MM  # the phantom's middle at (10, 20, 30) mm
    output = ToWorkingGridd(KEYS, mode=MODES, size=(20, 18, 16), center=center)(phantom_case(affine=affine))
    middle = np.asarray(output["image"].affine) @ [9.5, 8.5, 7.5, 1]
    np.testing.assert_allclose(middle[:3], expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["aligned", "flipped", "turned"])
def test_share_inside_equals_counting_voxel_by_voxel(seed, kind):
    rng = np.random.default_rng(seed)
    shape, size = (9, 11, 7), (5, 6, 4)
    mask = rng.random((1, *shape)) < 0.4
    affine = {
        "aligned": np.diag([1.5, 1, 2, 1]),
        "flipped": np.array([[0, -1.5, 0, 12], [2, 0, 0, -3], [0, 0, -1, 5], [0, 0, 0, 1.0]]),
        "turned": turned(shape, [1.5, 1, 2], centre=rng.normal(size=3)),
    }[kind]
    grid = grid_affine(affine[:3] @ [4, 5, 3, 1] + rng.normal(size=3), size, 2.0)
    inside = []
    for voxel in np.argwhere(mask[0]):
        place = np.linalg.inv(grid) @ affine @ [*voxel, 1]
        inside.append(all(-0.5 < place[axis] < size[axis] - 0.5 for axis in range(3)))
    assert 0 < np.mean(inside) < 1
    assert share_inside(torch.as_tensor(mask), affine, grid, size) == np.mean(inside)


def test_an_empty_mask_counts_as_inside():
    assert share_inside(torch.zeros(1, 3, 3, 3), np.eye(4), np.eye(4), (3, 3, 3)) == 1


def test_missing_keys_are_allowed_on_request(phantom_case):
    data = phantom_case()
    del data["label"]
    assert ToWorkingGridd(KEYS, mode=MODES, allow_missing_keys=True)(data)["image"].shape == (1, 96, 96, 80)
    with pytest.raises(KeyError, match="label"):
        ToWorkingGridd(KEYS, mode=MODES)(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"center": "middle"}, r"`center` must be one of auto, template, image, got 'middle'"),
        ({"center": (1, 2)}, r"`center` must be 3 numbers, got \(1, 2\)"),
        ({"size": (96, 96)}, r"`size` must be 3 numbers of voxels from 1 on, got \(96, 96\)"),
        ({"size": (96, 0, 80)}, r"`size` must be 3 numbers of voxels from 1 on"),
        ({"spacing_mm": 0}, "`spacing_mm` must be positive, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ToWorkingGridd(KEYS, **options)


def test_a_mask_without_an_affine_is_refused(phantom_case):
    data = phantom_case()
    data["brain_mask"] = data["brain_mask"].as_tensor()
    with pytest.raises(TypeError, match="`brain_mask` must be a MetaTensor with an affine, got Tensor"):
        ToWorkingGridd(KEYS, mode=MODES)(data)
