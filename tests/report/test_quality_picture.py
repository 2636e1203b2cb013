"""The refusal's picture: written whole, in true proportions, with every failed check in words."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from skimage.io import imread

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.report.panel import draw_quality_picture

CHECKS = [
    {"name": "a", "text": "voxels are 5.0 mm long (at most 4 mm)", "passed": False, "fatal": False},
    {"name": "b", "text": "the brain mask holds only 12 ml", "passed": False, "fatal": True},
    {"name": "c", "text": "slices with brain", "passed": True, "fatal": False},
]
SHAPE = (24, 28, 16)


@pytest.fixture
def case():
    image, mask, _ = phantom_volume(SHAPE, 0)
    return {"image": image, "brain_mask": mask, "affine": phantom_affine(SHAPE, 2.0), "checks": CHECKS}


@pytest.fixture
def figures(monkeypatch):
    """Every figure that was saved."""
    saved, save = [], Figure.savefig

    def keep(self, *args, **kwargs):
        saved.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.texts][1:]  # the first is the title


def test_picture_is_a_png_and_nothing_else_is_left(case, tmp_path):
    draw_quality_picture(tmp_path / "new" / "quality.png", **case, title="case: refused")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["quality.png"]
    picture = imread(tmp_path / "new" / "quality.png")
    assert picture.shape[1] == 900
    assert picture.std() > 10


def test_failed_checks_stand_in_words_refusals_first(case, tmp_path, figures):
    draw_quality_picture(tmp_path / "q.png", **case, title="case: refused")
    assert words(figures[0])[:1] == ["refused: the brain mask holds only 12 ml"]
    assert words(figures[0])[1:] == ["warning: voxels are 5.0 mm long (at most 4 mm)", "1 of 3 checks passed"]
    assert figures[0].get_suptitle() == "case: refused"


def test_long_reasons_are_wrapped_into_the_picture(case, tmp_path, figures):
    case["checks"] = [{"text": "the contrast is odd " * 20, "passed": False, "fatal": True}]
    draw_quality_picture(tmp_path / "q.png", **case)
    boxes = [text.get_window_extent(FigureCanvasAgg(figures[0]).get_renderer()) for text in figures[0].texts]
    assert len(boxes) > 3
    assert max(box.x1 for box in boxes) < figures[0].bbox.width
    assert min(box.y0 for box in boxes) >= 0


def test_three_cuts_have_true_proportions(case, tmp_path, figures):
    case["affine"] = phantom_affine(SHAPE, [1.0, 1.0, 5.0])
    draw_quality_picture(tmp_path / "q.png", **case)
    axial, coronal, sagittal = figures[0].axes
    assert [axis.images[0].get_array().shape for axis in (axial, coronal, sagittal)] == [(28, 24), (16, 24), (16, 28)]
    assert [axis.get_aspect() for axis in (axial, coronal, sagittal)] == [1, 5, 5]
    assert all(axis.collections for axis in figures[0].axes)  # the mask's outline


def test_display_is_radiological_whatever_way_the_voxels_run(case, tmp_path, figures):
    draw_quality_picture(tmp_path / "a.png", **case)
    flipped = {key: np.transpose(case[key][::-1, :, ::-1], (2, 0, 1)) for key in ("image", "brain_mask")}
    to_ras = np.array([[0, -1, 0, SHAPE[0] - 1], [0, 0, 1, 0], [-1, 0, 0, SHAPE[2] - 1], [0, 0, 0, 1.0]])
    draw_quality_picture(tmp_path / "b.png", **{**case, **flipped, "affine": case["affine"] @ to_ras})
    for first, second in zip(figures[0].axes, figures[1].axes, strict=True):
        assert np.array_equal(first.images[0].get_array(), second.images[0].get_array())
    right = np.zeros(SHAPE, dtype=np.float32)
    right[16:] = 1  # the patient's right
    draw_quality_picture(tmp_path / "c.png", **{**case, "image": right})
    axial = np.asarray(figures[2].axes[0].images[0].get_array())
    assert axial[:, :8].all()
    assert not axial[:, 8:].any()


def test_template_is_shown_at_the_same_places(case, tmp_path, figures):
    finer = phantom_affine(SHAPE, 2.0)
    draw_quality_picture(tmp_path / "q.png", **case, template=case["image"], template_affine=finer)
    assert len(figures[0].axes) == 6
    for scan, template in zip(figures[0].axes[:3], figures[0].axes[3:], strict=True):
        # The template is the scan itself here: linear sampling at its own voxels changes the last digit at most.
        assert np.allclose(scan.images[0].get_array(), template.images[0].get_array(), atol=1e-5)
    finer[:3, 3] += 2000
    draw_quality_picture(tmp_path / "q.png", **case, template=case["image"], template_affine=finer)
    assert not any(np.asarray(axis.images[0].get_array()).any() for axis in figures[1].axes[3:])


@pytest.mark.parametrize("kind", ["empty mask", "nothing", "negative", "nan"])
def test_scans_that_cannot_be_used_are_drawn_too(case, tmp_path, kind):
    case.pop("affine")
    if kind in ("empty mask", "nothing"):
        case["brain_mask"] = np.zeros(SHAPE)
    if kind in ("nothing", "negative"):
        case["image"] = case["image"] * (0 if kind == "nothing" else -1)
    if kind == "nan":
        case["image"][0] = np.nan
    draw_quality_picture(tmp_path / "q.png", **case)
    assert (tmp_path / "q.png").stat().st_size > 1000


def test_wrong_shapes_and_half_a_template_are_errors(case, tmp_path):
    with pytest.raises(ValueError, match=r"`brain_mask` must have the image's shape \(24, 28, 16\), got \(2, 2, 2\)"):
        draw_quality_picture(tmp_path / "q.png", **{**case, "brain_mask": np.ones((2, 2, 2))})
    with pytest.raises(ValueError, match=r"`image` must have shape \[H, W, D\], got \(24, 28\)"):
        draw_quality_picture(tmp_path / "q.png", **{**case, "image": np.ones((24, 28))})
    with pytest.raises(ValueError, match="`template` and `template_affine` must be given both or not at all"):
        draw_quality_picture(tmp_path / "q.png", **case, template=case["image"])
    assert not list(tmp_path.iterdir())
