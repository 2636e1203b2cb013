"""What a name says about a scan's contrast, and who wins where the user says something else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripts.data.inputs.modality import choose_modality, contrast_agent_of, modality_of, select_modality
from scripts.errors import InputError, check_choice
from scripts.options.choices import Modality

T1_NAMES = [
    "sub-01_ses-1_acq-flair_T1w.nii.gz", "IXI002-Guys-0828-T1.nii.gz", "patient04_study1_T1W.nii.gz", "x_mprage.nii",
    "BraTS-GLI-00000-000-t1n.nii.gz", "T1.mgz", "T1w_acpc_dc_restore_brain.nii.gz", "MP-RAGE_1.nii", "sub01T1w.mgh",
    "pd_patient_t1.nii.gz", "t1/scan.nii.gz", "T1w/deeper/scan.nii.gz", "t2/scan_t1.nii.gz", "t1/t1_and_t2.nii.gz",
]  # fmt: skip
T2_NAMES = ["sub-12_inplaneT2.nii.gz", "sub-01_T2w.nii", "BraTS-GLI-00000-000-t2w.nii.gz", "t2.NII.GZ", "T2/a.nii", "t1/b_t2.nii"]
UNKNOWN_NAMES = ["scan.nii.gz", "t1_in_t2_space.nii", "orig.mgz", "sub-01_UNIT1.nii.gz", "T12.nii", "subt1.nii", "t1_study/x.nii"]
OTHER_NAMES = {
    "sub-01_FLAIR.nii.gz": "FLAIR", "x_t2_flair.nii": "FLAIR", "T2FLAIR.nii.gz": "FLAIR", "a-t2f.nii.gz": "FLAIR",
    "x_t2star.nii": "T2STAR", "flair/x.nii.gz": "FLAIR", "sub-01_T1map.nii": "T1MAP", "IXI002-Guys-0828-PD.nii.gz": "PD",
    "dwi.nii": "DWI", "x_swi.nii": "SWI", "acq-dark-fluid_T2w.nii": "FLAIR", "x_t2_darkFluid.nii": "FLAIR",
    "sub-01_acq-flair_T2w.nii.gz": "FLAIR", "t2_tirm_tra.nii": "FLAIR",
}  # fmt: skip
AGENT_NAMES = {
    "x-t1c.nii.gz": "t1c", "t1ce.nii": "t1ce", "T1_POST.nii.gz": "post", "T1+C.nii": "+C", "x_gad_t1.nii": "gad",
    "t1_postcontrast.nii": "postcontrast", "sub-01_acq-gad_T1w.nii.gz": "gad", "T1Gd.nii": "t1gd",
    "sub-01_ce-gadolinium_T1w.nii.gz": "ce", "T1_SAG+C.nii": "+C", "t1_contrast.nii": "contrast", "t1ce/scan.nii": "t1ce",
}  # fmt: skip
NATIVE_NAMES = [*T1_NAMES, *T2_NAMES, "sub-01_ses-post_T1w.nii.gz", "t1_pre_contrast.nii", "t1ce/t1.nii", "t1_no_contrast.nii"]


@pytest.mark.parametrize(
    ("name", "modality"), [*((n, "t1") for n in T1_NAMES), *((n, "t2") for n in T2_NAMES), *((n, None) for n in UNKNOWN_NAMES)]
)
def test_a_name_says_the_modality_or_nothing(name, modality):
    assert modality_of(f"/data/study/{name}") == modality


@pytest.mark.parametrize(("name", "contrast"), OTHER_NAMES.items())
def test_other_contrasts_are_refused_unless_the_user_says_otherwise(name, contrast, caplog):
    with pytest.raises(InputError, match=f"{contrast} is not supported, only T1- and T2-weighted scans") as error:
        modality_of(Path("/data/study", name))
    assert "--modality" in error.value.fix
    assert choose_modality(Path("/data/study", name), Modality.T1) is Modality.T1
    assert "taken as t1, as --modality says" in caplog.text


@pytest.mark.parametrize(("name", "word"), AGENT_NAMES.items())
def test_scans_after_a_contrast_agent_are_t1_and_known_as_such(name, word):
    assert contrast_agent_of(f"/data/study/{name}") == word
    assert modality_of(f"/data/study/{name}") == "t1"
    assert choose_modality(f"/data/study/{name}", None) is Modality.T1


@pytest.mark.parametrize("name", NATIVE_NAMES)
def test_other_names_say_no_contrast_agent(name):
    assert contrast_agent_of(f"/data/study/{name}") is None


def test_selecting_takes_scans_after_a_contrast_agent_only_where_there_are_no_others():
    native, enhanced = Path("/d/a_t1.nii"), Path("/d/a_t1ce.nii")
    assert list(select_modality([native, enhanced], None, source=Path("/d"))) == [native]
    assert select_modality([enhanced], None, source=Path("/d")) == {enhanced: "t1"}
    after_surgery = [Path("/d/pre_t1.nii"), Path("/d/post_t1.nii")]
    assert list(select_modality(after_surgery, None, source=Path("/d"))) == after_surgery


def test_a_scan_that_says_nothing_needs_the_modality():
    with pytest.raises(InputError, match=r"scan\.nii: the name does not say .* Give --modality t1 or --modality t2"):
        choose_modality("/data/scan.nii", None)
    assert choose_modality("/data/scan.nii", Modality.T2) is Modality.T2


def test_a_bids_suffix_is_never_overruled_but_a_word_is(caplog):
    with pytest.raises(InputError, match=r"sub-01_T1w\.nii: `modality` is t2, but the name says that the scan is t1"):
        choose_modality("sub-01_T1w.nii", Modality.T2)
    assert not caplog.records
    assert choose_modality("mprage.nii", Modality.T2) is Modality.T2
    assert "mprage.nii: taken as t2, as --modality says, although its name says t1" in caplog.text


def test_selecting_keeps_what_fits_and_names_the_rest(caplog):
    paths = [Path("/d", name) for name in ("a_t1.nii", "a_t2.nii", "a_flair.nii", "b_mprage.nii")]
    with caplog.at_level(logging.INFO):
        both = select_modality(paths, None, source=Path("/d"))
    assert both == {paths[0]: "t1", paths[1]: "t2", paths[3]: "t1"}
    assert "/d: left out 1 scan(s) that are not t1 or t2 by name: a_flair.nii" in caplog.text
    with caplog.at_level(logging.INFO):
        assert list(select_modality(paths, Modality.T2, source=Path("/d"))) == paths[1:2]
    assert "left out 3 scan(s) that are not t2 by name: a_t1.nii, a_flair.nii, b_mprage.nii" in caplog.text


def test_selecting_gives_the_modality_to_names_that_say_nothing():
    paths = [Path("/d/a.nii"), Path("/d/b.nii"), Path("/d/c_t1.nii")]
    assert select_modality(paths, Modality.T2, source=Path("/d")) == dict.fromkeys(paths[:2], "t2")
    with pytest.raises(InputError, match=r"/d/a\.nii: the name does not say .* \(nor do 1 other names\)"):
        select_modality(paths, None, source=Path("/d"))


def test_selecting_nothing_is_an_error():
    with pytest.raises(InputError, match=r"/d: none of its 1 scans is t2 by name: a_t1\.nii"):
        select_modality([Path("/d/a_t1.nii")], Modality.T2, source=Path("/d"))


@pytest.mark.parametrize("value", ["flair", "T1", "", 1])
def test_a_modality_that_is_neither_is_refused(value):
    with pytest.raises(InputError, match=f"`modality` must be one of t1, t2, got {value!r}"):
        check_choice(Modality, value, "modality")
