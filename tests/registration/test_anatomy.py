"""Names of places on the template: known coordinates, and two published sets of named coordinates as an oracle."""

from __future__ import annotations

import csv
from pathlib import Path

import nilearn.datasets
import numpy as np
import pytest

from scripts.registration.template import OUTSIDE, anatomy_at, place_of_region

PUBLISHED = Path(nilearn.datasets.__file__).parent / "data"
# structure names of Dosenbach et al. 2010 whose lobe is beyond doubt
LOBES = {
    "occipital lobe": ("occipital", "post occipital"),
    "cerebellum": ("inf cerebellum", "med cerebellum", "lat cerebellum"),
    "temporal lobe": ("temporal", "inf temporal", "sup temporal"),
    "frontal lobe": ("vmPFC", "aPFC", "mPFC", "dlPFC", "dFC", "vent aPFC", "sup frontal", "frontal", "SMA", "pre-SMA"),
    "parietal lobe": ("IPL", "IPS", "sup parietal", "post parietal", "angular gyrus"),
}


@pytest.mark.parametrize(
    ("point", "lobe", "structure"),
    [
        ((-37, -21, 58), "frontal lobe", "precentral gyrus"),  # the hand knob
        ((10, -19, 8), "deep grey matter", "thalamus"),
        ((-12, -98, 0), "occipital lobe", "occipital pole"),
        ((25, -62, -30), "cerebellum", "cerebellar hemisphere"),
        ((-28, -20, -14), "temporal lobe", "hippocampus"),
        ((4, -26, -30), "brainstem", "pons"),
        ((0, 4, 24), "corpus callosum", "body of the corpus callosum"),
        ((-26, 4, 2), "deep grey matter", "putamen"),
        ((50, -58, 40), "parietal lobe", "angular gyrus"),
        ((38, 0, 2), "insula", "insula"),
    ],
)
def test_known_places_have_their_names(point, lobe, structure):
    found = anatomy_at([point])
    assert (found.lobe[0], found.structure[0]) == (lobe, structure)


def test_tissue_and_ventricles_are_the_templates():
    found = anatomy_at([[26, -20, 36], [10, -4, 20], [24, -4, -20], [8, -78, 6]])
    assert found.tissue.tolist() == ["white matter", "fluid", "grey matter", "grey matter"]
    assert found.ventricle_mm[1] == 0
    assert found.ventricle_mm[3] > 25


def test_lobes_agree_with_coordinates_that_others_named():
    with (PUBLISHED / "dosenbach_2010.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for lobe, names in LOBES.items():
        points = [[float(row[axis]) for axis in "xyz"] for row in rows if row["name"] in names]
        assert len(points) > 8
        # Their coordinates are group averages of activations, some of them on a border between lobes.
        assert np.mean(anatomy_at(points).lobe == lobe) >= 0.8, lobe


def test_deep_structures_agree_with_seitzmans_coordinates():
    points = np.loadtxt(PUBLISHED / "seitzman_2018_ROIs_300inVol_MNI_allInfo.txt", skiprows=1, usecols=(0, 1, 2))
    labels = np.loadtxt(PUBLISHED / "seitzman_2018_ROIs_anatomicalLabels.txt", skiprows=1).astype(int)
    found = anatomy_at(points)
    for label, lobe in ((3, "temporal lobe"), (4, "temporal lobe"), (5, "deep grey matter"), (6, "deep grey matter"), (7, "cerebellum")):
        assert set(found.lobe[labels == label]) == {lobe}
    assert np.mean(found.structure[labels == 6] == "thalamus") >= 0.8


def test_left_is_negative_x_and_mirrored_points_have_one_name():
    points = np.random.default_rng(0).uniform([5, -90, -50], [60, 60, 70], (200, 3))
    left, right = anatomy_at(points * [-1, 1, 1]), anatomy_at(points)
    # the template is symmetric, but its grid of 2 mm has no voxel centre at 0 on both sides of rounding
    assert np.mean(left.lobe == right.lobe) > 0.97
    assert place_of_region([[-30, 0, 40], [-31, 0, 40]])["side"] == "left"
    assert place_of_region([[30, 0, 40]])["side"] == "right"
    assert place_of_region([[-1, 20, 30], [2, 20, 30]])["side"] == "midline"
    assert place_of_region([[-30, 0, 40], [30, 0, 40]])["side"] == "both"


def test_a_region_is_named_by_most_of_its_voxels():
    motor, occipital = [[38, -20, 56]] * 3, [[14, -96, 2]]
    place = place_of_region(motor + occipital)
    assert (place["lobe"], place["lobe_share"], place["structure"]) == ("frontal lobe", 0.75, "precentral gyrus")
    assert place["place"] == "right frontal lobe, near the precentral gyrus"
    beside = place_of_region([[22, 34, 10]])
    assert beside["periventricular"]
    assert beside["place"] == "right frontal lobe, white matter, periventricular"
    assert place_of_region([[0, 0, 150]])["place"] == OUTSIDE


def test_points_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"`points_mm` must be finite with shape \[N, 3\], got \(3,\)"):
        anatomy_at([1, 2, 3])
    with pytest.raises(ValueError, match=r"`points_mm` must be finite with shape \[N, 3\], got \(1, 3\)"):
        anatomy_at([[np.nan, 0, 0]])
    with pytest.raises(ValueError, match="`points_mm` must hold at least one point, got none"):
        place_of_region([])
