"""Copies for the screen: on the right place, close to what went in, small; and what the viewer is reported."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from scripts.report.display import display_volumes, page_view
from scripts.report.pages import asset
from scripts.report.scan_page import display_nifti, make_viewer


def decoded(data):
    return nib.Nifti1Image.from_bytes(gzip.decompress(data))


def turned(codes, shape, spacing):
    """An affine of voxels with these axis codes around the world's origin."""
    matrix = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), shape) @ np.eye(4)
    affine = matrix @ np.diag([*spacing, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def world_centre(volume, affine):
    weight = np.argwhere(volume > 0).mean(axis=0)
    return (affine @ [*weight, 1])[:3]


def test_nifti_gives_back_the_numbers_within_half_a_level():
    volume = np.random.default_rng(0).uniform(-3, 7, (5, 6, 7))
    affine = turned("PIR", (5, 6, 7), (1, 2, 3))
    image = decoded(display_nifti(volume, affine, low=-3, high=7))
    assert image.get_data_dtype() == np.uint8
    assert np.abs(image.get_fdata() - volume).max() <= 10 / 255 / 2 + 1e-6  # the slope is stored as float32
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    np.testing.assert_allclose(image.header.get_zooms(), (1, 2, 3), rtol=1e-6)  # NiiVue's proportions come from here


def test_nifti_of_labels_is_exact_and_marked_so_and_zero_stays_zero():
    labels = np.random.default_rng(0).integers(0, 2, (4, 5, 6))
    image = decoded(display_nifti(labels, np.eye(4), label=True))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), labels)
    assert image.header.get_intent()[0] == "label"
    assert decoded(display_nifti(np.zeros((2, 2, 2)), np.eye(4), low=0, high=0.3)).get_fdata().max() == 0
    with pytest.raises(ValueError, match=r"`high` must be above `low` \(1\), got 1"):
        display_nifti(labels, np.eye(4), low=1, high=1)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize("spacing", [(2, 2, 2), (0.5, 0.6, 1.2)])
def test_copies_lie_where_the_scan_lies_and_are_upright(codes, spacing):
    shape = (60, 50, 40)
    image = np.zeros(shape)
    image[10:50, 8:40, 6:36] = 1
    image[12:32, 20:36, 8:24] = 3
    affine = turned(codes, shape, spacing)
    display = display_volumes({"image": image, "lesion_mask": image == 3}, affine, margin_mm=4)
    assert nib.aff2axcodes(display.affine) == ("R", "A", "S")
    assert min(display.spacing_mm) >= 0.95
    # A side of a box, 9.6 mm or longer, may lose or win half a voxel of about 1 mm at either end.
    for name, original in (("lesion_mask", image == 3), ("brain_mask", image > 0)):
        place = world_centre(display.volumes[name], display.affine)
        np.testing.assert_allclose(place, world_centre(original, affine), atol=0.5 * max(display.spacing_mm))
        voxel = np.prod(display.spacing_mm) / np.prod(spacing)
        assert display.volumes[name].sum() * voxel == pytest.approx(original.sum(), rel=0.15)


def test_copies_keep_smooth_values_and_a_margin_of_what_surrounds_the_brain():
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(80, 80, 80)), 6)
    brain = np.zeros(smooth.shape)
    brain[20:60, 20:60, 20:60] = 1
    display = display_volumes({"image": smooth, "brain_mask": brain}, np.diag([0.5, 0.5, 0.5, 1]), margin_mm=5)
    assert display.volumes["image"].shape == (30, 30, 30)  # 20 mm of brain and 5 mm at either side, in voxels of 1 mm
    np.testing.assert_allclose(display.affine[:3, 3], 5.25)  # between the voxels at 5 and 5.5 mm
    values = smooth[20:60, 20:60, 20:60].reshape(20, 2, 20, 2, 20, 2).mean(axis=(1, 3, 5))
    inside = display.volumes["image"][5:25, 5:25, 5:25]
    # Averaging over two voxels of a field that is smooth over six changes it by a small part of its spread.
    assert np.abs(inside - values).max() < 0.05 * smooth.std()


def test_large_scans_are_made_coarser_and_coarse_axes_are_left_alone():
    display = display_volumes({"image": np.ones((100, 100, 20))}, np.diag([1, 1, 5, 1]), max_voxels=50_000)
    assert display.volumes["image"].size <= 50_000
    assert display.volumes["image"].shape[2] == 20
    assert display.spacing_mm[2] == 5


def test_voxels_that_are_no_number_become_0():
    image = np.full((8, 8, 8), np.nan)
    image[2:6, 2:6, 2:6] = 5
    image[3, 3, 3] = np.inf
    copy = display_volumes({"image": image, "brain_mask": image > 0}, np.eye(4)).volumes["image"]
    assert np.isfinite(copy).all()
    assert copy[3, 3, 3] == 0
    assert copy.max() == 5


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ({"anomaly_map": np.ones((3, 3, 3))}, r"`volumes` must hold `image`, got \['anomaly_map'\]"),
        ({"image": np.ones((3, 3))}, r"`image` must have shape \[H, W, D\], got \(3, 3\)"),
        (
            {"image": np.ones((3, 3, 3)), "anomaly_map": np.ones((3, 3, 4))},
            r"`anomaly_map` must have the image's shape \(3, 3, 3\), got \(3, 3, 4\)",
        ),
    ],
)
def test_volumes_that_do_not_fit_are_refused(volumes, message):
    with pytest.raises(ValueError, match=message):
        display_volumes(volumes, np.eye(4))


def test_the_viewer_is_given_numbers_that_mean_the_same_as_the_files(scan_volumes):
    volumes, affine = scan_volumes
    display = display_volumes(volumes, affine)
    viewer = make_viewer(page_view(display, threshold=0.2), world_to_template=np.eye(4))
    assert viewer.names == ["image", "reconstruction", "anomaly_map", "lesion_mask"]
    settings = json.loads(json.dumps(viewer.settings, allow_nan=False))
    assert settings["threshold"] == 0.2
    assert settings["mapMaximum"] == pytest.approx(max(volumes["anomaly_map"].max(), 0.4))
    assert settings["voxelMl"] == pytest.approx(1.5**3 / 1000)
    windows = {layer["name"]: (layer["low"], layer["high"]) for layer in settings["layers"]}
    inside = volumes["image"][volumes["brain_mask"] > 0]
    assert windows["image"] == pytest.approx(np.percentile(inside, [1, 99]))
    assert windows["reconstruction"] == (0, 1)
    layer = decoded(base64.b64decode(viewer.layers[2].base64)).get_fdata()
    assert layer.max() == pytest.approx(volumes["anomaly_map"].max(), rel=1e-6)  # the peak is the last level


def test_without_threshold_the_slider_starts_in_the_middle_and_a_map_alone_is_enough(scan_volumes):
    volumes, affine = scan_volumes
    display = display_volumes({name: volumes[name] for name in ("image", "anomaly_map")}, affine)
    viewer = make_viewer(page_view(display))
    assert viewer.names == ["image", "anomaly_map"]
    assert viewer.settings["worldToTemplate"] is None
    assert viewer.settings["threshold"] == pytest.approx(viewer.layers[1].high / 2)


def test_niivue_is_the_published_file_with_its_licence():
    sha256 = hashlib.sha256(asset("niivue/niivue.umd.js").encode()).hexdigest()
    assert re.search(r"sha256 `([0-9a-f]{64})`", asset("niivue/README.md")).group(1) == sha256
    assert "Copyright (c) 2021, Niivue" in asset("niivue/LICENSE")


def test_thick_slices_keep_their_pixels_and_open_in_the_view_that_shows_them_whole():
    volumes = {"image": np.ones((200, 200, 12)), "anomaly_map": np.zeros((200, 200, 12))}
    thick, thin = (display_volumes(volumes, np.diag([0.5, 0.5, z, 1])) for z in (5, 1))
    np.testing.assert_allclose(thick.spacing_mm, [0.5, 0.5, 5])
    np.testing.assert_allclose(thin.spacing_mm, [1, 1, 1])
    assert make_viewer(page_view(thick)).settings["thickSlices"] == "axial"
    assert make_viewer(page_view(thin)).settings["thickSlices"] is None
    turned_scan = display_volumes({name: volume.T for name, volume in volumes.items()}, np.diag([5, 0.5, 0.5, 1]))
    assert make_viewer(page_view(turned_scan)).settings["thickSlices"] == "sagittal"
