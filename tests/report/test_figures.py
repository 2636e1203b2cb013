"""Pictures: the right way up, of the expected size, showing what was handed in."""

from __future__ import annotations

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from scripts.evaluation.figures import PrecisionRecallCurve, draw_precision_recall
from scripts.report.display import LABEL, REGION, choose_slices, radiological_slice, to_ras
from scripts.report.panel import draw_panel

PREDICTED, TRUE = REGION, LABEL


def outline(path, colour):
    """Pixels of a colour among the outlines, the last column of four; the colour map has an orange of its own."""
    height, width, _ = matplotlib.image.imread(path).shape
    found = pixels(path, colour)
    return found[(found[:, 1] > width * 0.78) & (found[:, 0] < height * 0.9)]


@pytest.fixture
def case():
    """A box of brain with a lesion on the patient's right at the front, in RAS."""
    image = np.zeros((24, 32, 9), np.float32)
    image[4:20, 4:28, 1:8] = 0.6
    label = np.zeros(image.shape, bool)
    label[14:18, 20:25, 3:7] = True
    return {"image": image, "anomaly_map": label * 0.5 + image * 0.1, "label": label, "reconstruction": image}


def pixels(path, colour):
    """Rows and columns of the picture with about this colour."""
    picture = matplotlib.image.imread(path)[..., :3]
    return np.argwhere(np.abs(picture - to_rgb(colour)).max(axis=-1) < 0.1)


def test_radiological_slice_has_front_up_and_right_on_the_left():
    volume = np.zeros((4, 5, 2))
    volume[3, 4, 1] = 1  # furthest right, furthest front
    picture = radiological_slice(volume, 1)
    assert picture.shape == (5, 4)
    assert np.argwhere(picture).tolist() == [[0, 0]]


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "PIR", "SAL"])
def test_any_orientation_comes_back_to_ras(codes):
    volume = np.random.default_rng(0).random((4, 5, 6))
    image = nib.Nifti1Image(volume, np.diag([2.0, 3.0, 4.0, 1.0]))
    change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(change)
    np.testing.assert_array_equal(to_ras(turned.get_fdata(), turned.affine), volume)


def test_chosen_slices_are_heavy_and_apart():
    weight = np.zeros(50)
    weight[10:30] = np.exp(-((np.arange(10, 30) - 20) ** 2) / 20)
    chosen = choose_slices(weight, 3)
    assert 20 in chosen
    assert chosen == sorted(chosen, reverse=True)
    assert min(-np.diff(chosen)) >= 3
    assert choose_slices(np.eye(9)[4], 3) == [4]
    assert choose_slices(np.zeros(9), 3) == [4]
    with pytest.raises(ValueError, match="`num_slices` must be at least 1, got 0"):
        choose_slices(weight, 0)


def test_panel_has_the_expected_size_and_shows_both_outlines(case, tmp_path):
    path = tmp_path / "panel.png"
    draw_panel(path, **case, threshold=0.3, title="case", dpi=80)
    height, width, _ = matplotlib.image.imread(path).shape
    assert width == round((2.6 * 4 + 0.9) * 80)
    assert height > width / 2
    assert matplotlib.image.imread(path)[..., :3].std() > 0.1
    assert len(outline(path, PREDICTED)) > 50
    assert list(tmp_path.iterdir()) == [path]
    draw_panel(tmp_path / "label.png", **case, dpi=100)
    assert len(outline(tmp_path / "label.png", TRUE)) > 50
    assert len(outline(tmp_path / "label.png", PREDICTED)) == 0


def test_panel_puts_the_lesion_of_the_right_front_to_the_upper_left(case, tmp_path):
    path = tmp_path / "panel.png"
    draw_panel(path, **case, num_slices=1)
    height, width, _ = matplotlib.image.imread(path).shape
    centre = outline(path, TRUE).mean(axis=0) / (height, width)
    assert centre[0] < 0.5
    assert centre[1] < (0.78 + 1) / 2


def test_panel_is_the_same_for_other_orientations(case, tmp_path):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    draw_panel(tmp_path / "ras.png", **case, affine=affine, spacing_mm=(1, 1, 2), threshold=0.3)
    change = nib.orientations.axcodes2ornt("SPL")
    image = nib.Nifti1Image(case["image"], affine)
    reorient = nib.orientations.ornt_transform(nib.io_orientation(affine), change)
    turned = {name: nib.orientations.apply_orientation(array, reorient) for name, array in case.items()}
    other = image.as_reoriented(reorient).affine
    draw_panel(tmp_path / "spl.png", **turned, affine=other, spacing_mm=(2, 1, 1), threshold=0.3)
    first, second = (matplotlib.image.imread(tmp_path / name) for name in ("ras.png", "spl.png"))
    np.testing.assert_array_equal(first, second)


def test_panel_of_a_healthy_scan_needs_neither_label_nor_reconstruction(case, tmp_path):
    draw_panel(tmp_path / "a.png", image=case["image"], anomaly_map=case["anomaly_map"], dpi=40)
    assert matplotlib.image.imread(tmp_path / "a.png").shape[1] == round((2.6 * 3 + 0.9) * 40)
    empty = np.zeros_like(case["image"])
    draw_panel(tmp_path / "b.png", image=empty, anomaly_map=empty, dpi=40)
    assert (tmp_path / "b.png").is_file()


def test_panel_refuses_volumes_of_another_grid(case, tmp_path):
    with pytest.raises(ValueError, match=r"`label` must have the image's shape \(24, 32, 9\), got \(24, 32, 8\)"):
        draw_panel(tmp_path / "a.png", **{**case, "label": case["label"][..., 1:]})
    with pytest.raises(ValueError, match=r"`image` must have shape \[H, W, D\], got \(24, 32\)"):
        draw_panel(tmp_path / "a.png", image=case["image"][..., 0], anomaly_map=case["anomaly_map"])
    assert list(tmp_path.iterdir()) == []


def test_curves_are_drawn_each_in_its_colour(tmp_path):
    recall = np.linspace(0, 1, 20)
    curves = {
        "worse": PrecisionRecallCurve(recall, 0.5 - 0.3 * recall, 0.35),
        "better": PrecisionRecallCurve(recall, 0.9 - 0.3 * recall, 0.75),
    }
    path = tmp_path / "curves.png"
    draw_precision_recall(path, curves, prevalence=0.05, title="set")
    assert matplotlib.image.imread(path).shape[:2] == (500, 700)
    better, worse = pixels(path, "tab:blue"), pixels(path, "tab:orange")
    assert min(len(better), len(worse)) > 100
    assert better[:, 0].min() < worse[:, 0].min()  # the best curve comes first and lies higher
    with pytest.raises(ValueError, match="`curves` must hold at least one curve, got none"):
        draw_precision_recall(path, {})
