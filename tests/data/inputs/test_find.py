"""Files, folders and lists on the command line become items; no image is opened."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripts.data import find_raw_cases
from scripts.data.inputs.find import find_scans
from scripts.errors import InputError


@pytest.fixture
def make(tmp_path):
    """Factory: empty files in a temporary folder; returns the folder."""

    def _make(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return _make


def test_a_file_becomes_one_item_of_text(make):
    path = make("Case 1_t1.nii.gz") / "Case 1_t1.nii.gz"
    assert find_scans(str(path), dataset="mine") == [
        {
            "image": str(path),
            "case": "Case 1_t1",
            "modality": "t1",
            "folder": "Case 1_t1",
            "stem": "Case 1_t1",
            "dataset": "mine",
        }
    ]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ", ".mgz", ".MGH"])
def test_every_format_loses_its_whole_suffix(make, suffix):
    path = make(f"a.b_t1{suffix}") / f"a.b_t1{suffix}"
    assert find_scans(path)[0]["case"] == "a.b_t1"


@pytest.mark.parametrize("kind", [list, tuple, lambda paths: f"{paths}", lambda paths: f"[{','.join(paths)}]"])
def test_lists_keep_their_order_however_they_are_written(make, kind):
    folder = make("b_t1.nii", "a_t1.nii")
    names = [str(folder / "b_t1.nii"), str(folder / "a_t1.nii")]
    assert [item["image"] for item in find_scans(kind(names))] == names


def test_the_home_folder_may_be_abbreviated(make, monkeypatch):
    monkeypatch.setenv("HOME", str(make("a_t1.nii")))
    assert Path(find_scans("~/a_t1.nii")[0]["image"]).is_file()


def test_folders_are_searched_for_scans_only(make, caplog):
    folder = make(
        "b_t1.nii.gz", "a/x_t1.nii", "a/T1.mgz", ".hidden/h_t1.nii", "._b_t1.nii.gz",
        "notes.txt", "b_t1_brain_mask.nii.gz", "b_t1_seg.nii", "mask/c_t1.nii", "derivatives/f/c_t1.nii", "b_t1-dseg.nii",
        "out/b_t1/b_t1_anomaly_map.nii.gz", "out/b_t1/b_t1_reconstruction.nii.gz", "out/b_t1/b_t1_uncertainty.nii.gz",
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        items = find_scans(folder)
    assert [Path(item["image"]).relative_to(folder).as_posix() for item in items] == [
        "a/T1.mgz", "a/x_t1.nii", "b_t1.nii.gz",
    ]  # fmt: skip
    assert len(caplog.records) == 1
    assert "left out 8 file(s) that are no scans by name: b_t1-dseg.nii, b_t1_brain_mask.nii.gz, b_t1_seg.nii," in caplog.text
    assert "and 3 more" in caplog.text


def test_linked_folders_are_searched_once_and_loops_end(make, tmp_path):
    folder = make("data/s1/a_t1.nii", "elsewhere/b_t1.nii") / "data"
    (folder / "loop").symlink_to(folder)
    (folder / "s2").symlink_to(tmp_path / "elsewhere")
    assert [item["case"] for item in find_scans(folder)] == ["a_t1", "b_t1"]


def test_links_to_files_that_are_not_here_are_reported(make, caplog):
    folder = make("a_t1.nii")
    (folder / "b_t1.nii").symlink_to(folder / "annexed")
    assert [item["case"] for item in find_scans(folder)] == ["a_t1"]
    assert "left out 1 link(s) to files that are not here: b_t1.nii" in caplog.text
    with pytest.raises(InputError, match=r"b_t1\.nii: the scan is a link to a file that is not here. .*datalad get"):
        find_scans(folder / "b_t1.nii")


@pytest.mark.parametrize(
    ("names", "cases"),
    [
        (("s1/T1.nii", "s2/T1.nii", "c_t1.nii"), ["c_t1", "s1_T1", "s2_T1"]),
        (("s1/anat/T1.nii", "s2/anat/T1.nii"), ["s1_T1", "s2_T1"]),
        (("s1/v1/T1.nii", "s1/v2/T1.nii", "s2/v1/T1.nii"), ["s1_v1_T1", "s1_v2_T1", "s2_v1_T1"]),
        (("T1.nii", "s2/T1.nii"), ["T1", "s2_T1"]),
    ],
)
def test_scans_of_the_same_name_are_distinguished_by_their_folders(make, names, cases):
    items = find_scans(make(*names))
    assert sorted(item["case"] for item in items) == cases
    assert all(item["case"] == item["folder"] == item["stem"] for item in items)


def test_scans_of_one_name_get_names_of_their_own(make):
    folder = make("p1/anat/T1.nii", "p2/anat/T1.nii", "p2/other/t1.nii", "p1_anat_T1.nii", "T2.nii")
    names = ("p1/anat/T1.nii", "p2/anat/T1.nii", "p2/other/t1.nii", "p1_anat_T1.nii", "T2.nii")
    items = find_scans([folder / name for name in names])
    assert [item["case"] for item in items] == ["p1_anat_2_T1", "p2_anat_T1", "p2_other_t1", "p1_anat_T1", "T2"]
    assert all(item["case"] == item["folder"] == item["stem"] for item in items)
    same = make("q/a_t1.nii", "q/a_t1.mgz")
    assert [item["case"] for item in find_scans([same / "q/a_t1.nii", same / "q/a_t1.mgz"])] == ["1_a_t1", "2_a_t1"]


def test_a_scan_that_is_named_twice_is_refused(make):
    folder = make("a/T1.nii")
    with pytest.raises(InputError, match=r"T1\.nii: the scan is named twice\. Name each scan once"):
        find_scans([folder / "a/T1.nii", folder / "a" / ".." / "a" / "T1.nii"])


def test_a_compressed_file_is_taken_before_the_plain_one_beside_it(make, caplog):
    folder = make("x_t1.nii", "x_t1.nii.gz", "y_t1.mgz", "y_t1.nii")
    assert [Path(item["image"]).name for item in find_scans(folder)] == ["x_t1.nii.gz", "y_t1.nii"]
    assert "x_t1.nii: left out, as x_t1.nii.gz lies beside it" in caplog.text
    assert "y_t1.mgz: left out, as y_t1.nii lies beside it" in caplog.text


@pytest.mark.parametrize("name", ["..", ".", "/", "a/..", "../..", "...", "_t1.nii.gz", ".nii.gz", "a\x07b", "..\\.."])
def test_a_name_in_a_table_that_is_no_name_for_a_folder_is_refused(make, name):
    folder = make("a_t1.nii")
    (folder / "scans.csv").write_text(f"img_path,img_name\na_t1.nii,{name}\n")
    for find in (find_scans, find_raw_cases):
        with pytest.raises(InputError, match=r"scans\.csv: `img_name` must be a name for the scan's results, got '.+'\. Give a"):
            find(folder / "scans.csv")


@pytest.mark.parametrize("name", ["/etc/x", "../../x", "deep/er/x", "C:\\scans\\x", "/x_t1.nii.gz"])
def test_folders_in_a_name_of_a_table_are_left_out(make, name):
    folder = make("a_t1.nii")
    (folder / "scans.csv").write_text(f"img_path,img_name\na_t1.nii,{name}\n")
    (item,) = find_scans(folder / "scans.csv")
    assert item["case"] == item["folder"] == item["stem"] == "x"
    assert find_raw_cases(folder / "scans.csv")[0]["case"] == "x"


def test_a_modality_selects_from_folders_and_fills_in_for_files(make):
    folder = make("a_t1.nii", "a_t2.nii", "plain.nii")
    assert [item["case"] for item in find_scans(folder, modality="t2")] == ["a_t2", "plain"]
    assert {item["modality"] for item in find_scans(folder, modality="t2")} == {"t2"}
    assert find_scans(folder / "plain.nii", modality="t1")[0]["modality"] == "t1"
    with pytest.raises(InputError, match=r"plain\.nii: the name does not say .* --modality t1 or --modality t2"):
        find_scans(folder)
    with pytest.raises(InputError, match="`modality` must be one of t1, t2, got 'flair'"):
        find_scans(folder, modality="flair")


def test_masks_and_t1_scans_go_to_the_scans_in_order(make):
    folder = make("a_t2.nii", "b_t2.nii", "a_t1.nii", "b_t1.nii", "ma.nii", "mb.nii")
    scans, masks, t1 = ([folder / f"{name}.nii" for name in names] for names in (("a_t2", "b_t2"), ("ma", "mb"), ("a_t1", "b_t1")))
    items = find_scans(scans, brain_mask=masks, t1=t1)
    assert [Path(item["brain_mask"]).name for item in items] == ["ma.nii", "mb.nii"]
    assert [Path(item["t1"]).name for item in items] == ["a_t1.nii", "b_t1.nii"]
    assert "t1" not in find_scans(scans, brain_mask=masks)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"brain_mask": ["a_t2.nii"] * 2}, "`brain_mask` must name one brain mask for each of 1 scans, got 2"),
        ({"t1": ["a_t1.nii"] * 2}, "`t1` must name one T1-weighted scan for each of 1 T2-weighted scans, got 2"),
        ({"brain_mask": "none.nii"}, r"none\.nii: the brain mask does not exist"),
        ({"t1": "none.nii"}, r"none\.nii: the T1-weighted scan does not exist"),
    ],
)
def test_masks_and_t1_scans_that_do_not_fit_are_refused(make, monkeypatch, options, message):
    monkeypatch.chdir(make("a_t2.nii", "a_t1.nii"))
    with pytest.raises(InputError, match=message):
        find_scans("a_t2.nii", **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "no scan is named"),
        ("[]", "no scan is named"),
        ("none.nii", r"none\.nii: the scan does not exist"),
        ("s.txt", r"s\.txt: the name must end in \.nii\.gz or \.nii \(or \.mgz, \.mgh\)"),
        (".nii", r"\.nii: the name must end in"),
        ("empty", "empty: the folder holds no NIfTI or MGH scan"),
        ("masks_only", "masks_only: the folder holds no NIfTI or MGH scan, only 1 that are masks, results or not here"),
        ("none.csv", r"none\.csv: cannot be read"),
    ],
)
def test_what_is_no_scan_is_refused(make, monkeypatch, name, message):
    monkeypatch.chdir(make("s.txt", ".nii", "empty/readme.txt", "masks_only/a_mask.nii"))
    with pytest.raises(InputError, match=message):
        find_scans(name)
