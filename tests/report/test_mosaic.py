"""Still pictures of the report: which slices, the right way up, the right colours, the same file again."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.report.display import REGION, DisplayVolumes, display_volumes, page_view
from scripts.report.slices import draw_mosaic, draw_thumbnail

SHAPE = (40, 44, 36)
LESION = (slice(24, 28), slice(29, 33), slice(16, 19))


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def blue(picture):
    """Rows and columns with about the outline's colour, which no colour of the map comes near."""
    return np.argwhere(np.abs(picture - to_rgb(REGION)).max(axis=-1) < 0.12)


@pytest.fixture(scope="module")
def display():
    """A head with a lesion on the patient's right, at the front."""
    image, brain_mask, _ = phantom_volume(SHAPE, seed=1)
    mask = np.zeros(SHAPE)
    mask[LESION] = 1
    volumes = {"image": image, "anomaly_map": mask * 0.4 + brain_mask * 0.05, "lesion_mask": mask}
    return display_volumes(volumes, phantom_affine(SHAPE, spacing=4.0))


def without_lesion(display):
    return DisplayVolumes({**display.volumes, "lesion_mask": display.volumes["lesion_mask"] * 0}, display.affine)


def test_slices_show_every_slice_of_a_small_lesion_and_cover_the_brain(display):
    lesion = np.flatnonzero(display.volumes["lesion_mask"].any(axis=(0, 1)))
    brain = np.flatnonzero(display.volumes["brain_mask"].any(axis=(0, 1)))
    slices = display.slices_to_show(12)
    assert len(lesion) == 3
    assert set(lesion) <= set(slices)
    assert slices == sorted(set(slices))
    assert len(slices) == 12
    # 9 slices that are spread over about 30 leave no gap of more than twice their mean distance.
    assert max(np.diff([brain[0], *slices, brain[-1]])) <= 2 * len(brain) / 9


@pytest.mark.parametrize("num_slices", [1, 2, 7, 100])
def test_the_number_of_slices_is_kept_unless_the_brain_has_fewer(display, num_slices):
    brain = np.flatnonzero(display.volumes["brain_mask"].any(axis=(0, 1)))
    assert len(display.slices_to_show(num_slices)) == min(num_slices, len(brain))


def test_mosaic_outlines_the_lesion_only_where_there_is_one(display):
    assert len(blue(pixels(draw_mosaic(page_view(display, num_slices=6))))) > 30
    assert len(blue(pixels(draw_mosaic(page_view(without_lesion(display), num_slices=6))))) == 0


def test_mosaic_is_the_same_file_each_time_and_as_wide_as_its_columns(display):
    first, second = (draw_mosaic(page_view(display, threshold=0.2, num_slices=4), columns=4, dpi=60) for _ in range(2))
    assert first == second
    assert pixels(first).shape[1] == round((4 * 1.5 + 0.7) * 60)


def test_thumbnail_has_the_right_front_at_the_upper_left(display):
    picture = pixels(draw_thumbnail(page_view(display), width=120))
    assert picture.shape[1] == 120
    row, column = blue(picture).mean(axis=0) / picture.shape[:2]
    assert row < 0.5
    assert column < 0.5


def test_thumbnail_of_anisotropic_voxels_keeps_the_heads_proportions(display):
    flat = DisplayVolumes(display.volumes, display.affine @ np.diag([1, 2, 1, 1]))
    heights = [pixels(draw_thumbnail(page_view(one), width=100)).shape[0] for one in (display, flat)]
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)  # both heights are rounded to pixels


def test_a_map_far_below_the_threshold_stays_dark(display):
    assert display.map_maximum(0.1) == pytest.approx(0.45)  # the 99.9th percentile lies in the lesion
    assert display.map_maximum(0.5) == 1.0
    quiet = without_lesion(display)
    quiet.volumes["anomaly_map"] = quiet.volumes["brain_mask"] * 0.05
    assert quiet.map_maximum(0.2) == 0.4
    assert quiet.map_maximum(None) == pytest.approx(0.05)
    quiet.volumes["anomaly_map"] = quiet.volumes["brain_mask"] * 0
    assert quiet.map_maximum(None) == 1.0


def test_an_empty_brain_still_has_a_picture():
    volumes = {"image": np.zeros((9, 10, 8)), "anomaly_map": np.zeros((9, 10, 8))}
    display = display_volumes(volumes, np.eye(4))
    assert pixels(draw_mosaic(page_view(display))).std() > 0  # the letters and the colour bar
    assert pixels(draw_thumbnail(page_view(display))).max() == 0


def test_each_voxel_of_a_slice_has_a_pixel(display):
    wide = DisplayVolumes({name: np.repeat(volume, 6, axis=0) for name, volume in display.volumes.items()}, display.affine @ np.diag([1 / 6, 1, 1, 1]))
    columns = wide.volumes["image"].shape[0]
    assert columns > 110 * 1.5
    assert pixels(draw_mosaic(page_view(wide, num_slices=1), columns=1)).shape[1] >= columns * (1 + 0.7 / 1.5) - 1  # a part of a pixel
