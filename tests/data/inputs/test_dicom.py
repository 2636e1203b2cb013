"""Which series of a DICOM folder are meant, what they are called, and what is typed where that is not clear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from scripts.data import find_raw_cases, find_scans
from scripts.data.inputs.dicom import contrast_of, known_modality
from scripts.errors import InputError
from scripts.scans.dicom import series_of
from tests.dicom_fixtures import T1_TIMES, T2_TIMES, grid, volume, write_enhanced, write_series

EXPORTS = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests"
GRID = grid((1, 1, 2.5))


@pytest.fixture
def study(tmp_path):
    """A T1, a T2, a FLAIR that is called T2, a localizer of three slices: one folder, as an archive exports them."""
    write_series(tmp_path / "a", volume(), GRID, SeriesNumber=3, SeriesDescription="Sag 3D (Doe)", **T1_TIMES)
    write_series(tmp_path / "b", volume(), GRID, SeriesNumber=5, SeriesDescription="t2 tse/tra", **T2_TIMES)
    flair = {**T2_TIMES, "InversionTime": 2400.0}
    write_series(tmp_path / "c", volume(), GRID, SeriesNumber=7, SeriesDescription="t2_tirm_dark-fluid", **flair)
    write_series(tmp_path / "d", volume()[:, :, :3], GRID, SeriesNumber=1, SeriesDescription="scout", **T1_TIMES)
    return tmp_path


def test_the_t1_and_the_t2_of_a_study_are_found_by_header_and_belong_together(study):
    first, second = find_scans(study)
    assert (first["modality"], first["case"], first["image"]) == ("t1", "series-3", str(study / "a" / "IM0000"))
    assert (second["modality"], second["case"], second["t1"]) == ("t2", "series-5_t2_tse_tra", first["image"])
    (case,) = find_raw_cases(study)
    assert [scan["modality"] for scan in case["scans"]] == ["t1", "t2"]


def test_no_name_of_a_patient_is_in_a_datalist(study):
    reported = str([{**item, "image": "", "t1": ""} for item in find_scans(study)]).lower()
    assert not any(private in reported for private in ("doe", "jane", "qx1234"))


@pytest.mark.parametrize("series", ["5", 5, "TSE/tra"])
def test_a_series_is_chosen_by_number_or_description(study, series):
    (item,) = find_scans(study, series=series)
    assert item["case"] == "series-5_t2_tse_tra"


def test_a_file_stands_for_its_series(study):
    (item,) = find_scans(study / "b" / "IM0004")
    assert item["modality"] == "t2"
    assert series_of(Path(item["image"])).num_images == 12


def test_a_series_that_is_not_there_is_answered_with_those_that_are(study):
    with pytest.raises(InputError, match=r"there is no DICOM series 'ciss'; there are: .*3 'Sag 3D.*--series followed"):
        find_scans(study, series="ciss")


def test_several_series_of_one_kind_are_listed_with_what_to_type(study):
    write_series(study / "e", volume(), GRID, SeriesNumber=9, SeriesDescription="mprage again", **T1_TIMES)
    message = r"2 series of one study could be the t1 scan: 3 'Sag 3D .*; 9 'mprage again' \(MR, t1, 12 images\)\. Name one: --series"
    with pytest.raises(InputError, match=message):
        find_scans(study)
    assert [item["case"] for item in find_scans(study, series="again")] == ["series-9_mprage_again"]
    assert [item["case"] for item in find_scans(study, modality="t2")] == ["series-5_t2_tse_tra"]


def test_a_flair_is_refused_by_its_inversion_time_unless_the_user_insists(study):
    with pytest.raises(InputError, match=r"the header of series 7 't2_tirm_dark-fluid'.* says FLAIR"):
        find_scans(study, series=7)
    assert find_scans(study, series=7, modality="t2")[0]["modality"] == "t2"


def test_several_studies_are_distinguished_without_names(study):
    write_series(study / "e", volume(), GRID, SeriesNumber=3, StudyInstanceUID="1.2.3.4", **T1_TIMES)
    names = [item["case"] for item in find_scans(study, modality="t1")]
    assert len(set(names)) == 2
    assert all(name.startswith("study-") for name in names)


def test_ct_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"'Routine Brain' is CT; only MR can be analysed.*T1- and T2-weighted"):
        find_scans(EXPORTS / "77654033" / "CT2")


def test_an_export_without_a_whole_brain_is_refused_with_its_list():
    with pytest.raises(InputError, match=r"no series is t1 or t2 by its header; there are: .*'FAST LOCALIZER'"):
        find_scans(EXPORTS / "98892003")


def test_an_enhanced_file_says_its_contrast_by_its_functional_groups(tmp_path):
    path = write_enhanced(tmp_path / "e.dcm", volume(), GRID, list(range(12)))
    assert contrast_of(series_of(path)).modality == "t2"
    assert find_scans(tmp_path)[0]["modality"] == "t2"


@pytest.mark.parametrize(
    ("header", "modality", "other"),
    [
        ({"EchoTime": 12.0, "RepetitionTime": 500.0, "ScanningSequence": "SE"}, "t1", None),
        ({"EchoTime": 15.0, "RepetitionTime": 3000.0, "ScanningSequence": "SE"}, None, "proton density"),
        ({"EchoTime": 25.0, "RepetitionTime": 700.0, "ScanningSequence": "GR"}, None, "T2*"),
        ({**T2_TIMES, "InversionTime": 160.0}, None, "STIR"),
        ({**T2_TIMES, "ScanningSequence": ["EP", "SE"]}, None, "echo-planar"),
        ({**T1_TIMES, "ContrastBolusAgent": "Gadovist"}, None, "contrast agent"),
        ({**T1_TIMES, "ContrastBolusAgent": "NONE"}, "t1", None),
        ({"SeriesDescription": "MPRAGE"}, "t1", None),
        ({"AcquisitionContrast": "FLUID_ATTENUATED"}, None, "FLUID_ATTENUATED"),
        ({"EchoTime": 45.0, "RepetitionTime": 1500.0, "ScanningSequence": "SE"}, None, None),
    ],
)
def test_header_times_say_the_contrast(tmp_path, header, modality, other):
    (path, *_) = write_series(tmp_path, np.zeros((2, 2, 2), np.int16), GRID, **header)
    hint = contrast_of(series_of(path))
    assert (hint.modality, hint.other) == (modality, other)


@pytest.mark.parametrize(("times", "expected"), [(T1_TIMES, "t1"), (T2_TIMES, "t2"), ({}, None)])
def test_a_volume_that_a_host_made_of_a_series_has_the_modality_of_its_header(tmp_path, times, expected):
    write_series(tmp_path / "1.2.3", volume(), grid((1.0, 1.0, 3.0)), **times)
    made = tmp_path / "1.2.3.nii.gz"
    made.touch()
    assert known_modality(made) == expected
    assert known_modality(next((tmp_path / "1.2.3").iterdir())) == expected
    assert known_modality(tmp_path / "1.2.3_T2w.nii.gz") == "t2"  # the name goes first
    assert known_modality(tmp_path / "absent.nii.gz") is None


def test_a_header_of_another_contrast_is_refused_and_two_series_say_nothing(tmp_path):
    write_series(tmp_path / "a", volume(), grid((1.0, 1.0, 3.0)), SeriesDescription="FLAIR", **T2_TIMES)
    with pytest.raises(InputError, match="the DICOM header says "):
        known_modality(tmp_path / "a.nii.gz")
    write_series(tmp_path / "b" / "1", volume(), grid((1.0, 1.0, 3.0)), **T1_TIMES)
    write_series(tmp_path / "b" / "2", volume(), grid((1.0, 1.0, 3.0)), **T2_TIMES)
    assert known_modality(tmp_path / "b.nii.gz") is None
