"""From raw scans to the layout of DATA_DIR, through the bundle."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from scipy.ndimage import affine_transform, center_of_mass

from scripts.cli.make_splits import make_splits
from scripts.data import find_raw_cases, load_datalist
from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError, reason
from scripts.registration.template import load_template
from scripts.workflows import preprocess_case

from .conftest import run_command

CONFIG = "bundle/configs/preprocess.yaml"
SHAPE, SPACING = (44, 52, 36), 4.0
# Phantoms lie on the template, and no extractor knows them.
FAST = {"brain_extraction": "never", "alignment": "never", "quality_control": False, "grid": "2mm", "progress": False}


def save(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, affine), path)


def write_scan(path: Path, seed: int, modality: str = "t1", *, lesion: bool = False) -> np.ndarray:
    """Write a phantom that lies in the file as the scanner would leave it: axes turned, values in the thousands."""
    image, _, label = phantom_volume(SHAPE, seed, modality, lesion=lesion)
    affine = phantom_affine(SHAPE, SPACING) @ [[-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    save(path, (image[::-1] * 3000).astype(np.int16), affine)
    return label[::-1]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three subjects, the first with a T2; the file of the second is cut off."""
    folder = tmp_path / "raw"
    for subject, modality in (("01", "t1"), ("01", "t2"), ("02", "t1"), ("03", "t1")):
        write_scan(folder / f"sub-{subject}" / "anat" / f"sub-{subject}_{modality.upper()}w.nii.gz", int(subject), modality)
    bad = folder / "sub-02" / "anat" / "sub-02_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    (folder / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t40\nsub-03\t50\n")
    return folder


def preprocess(root: Path, raw: Path, data: Path, **options: Any) -> None:
    everything = {"input": str(raw), "dataset": "Mine", "dataset_dir": str(data), **FAST, **options}
    monai.bundle.run(config_file=str(root / CONFIG), **everything)


def refused(root: Path, raw: Path, data: Path, **options: Any) -> str:
    with pytest.raises((RuntimeError, ValueError)) as caught:
        preprocess(root, raw, data, **options)
    return str(reason(caught.value))


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "quality" / "preprocessing.csv").open(newline="") as file:
        return {(row["case"], row["modality"]): row for row in csv.DictReader(file)}


def test_a_bad_scan_is_named_and_the_others_are_there_and_not_done_again(root: Path, raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "Train" / "Mine"
    message = refused(root, raw, tmp_path / "data")
    assert re.search(r"1 of 4 scans were left out: sub-02 \(t1\)\. The reasons .*preprocessing\.csv", message)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.nii.gz")}
    assert names == {f"{kind}/sub-{p}_{kind}.nii.gz" for p, kinds in (("01", "t1 t2 mask"), ("03", "t1 mask")) for kind in kinds.split()}
    for name in names:
        image = nib.load(folder / name)
        assert image.shape == (96, 96, 80)
        np.testing.assert_array_equal(image.affine, load_template().affine)
    t1, t2, mask = (np.asarray(nib.load(folder / f"{k}/sub-01_{k}.nii.gz").dataobj) for k in ("t1", "t2", "mask"))
    assert not t1[mask == 0].any()
    assert not t2[mask == 0].any()
    assert np.percentile(t1[mask == 1], 99.9) == pytest.approx(4095, abs=1)
    found = rows(folder)
    assert {key: row["status"] for key, row in found.items()} == {
        ("sub-01", "t1"): "ok", ("sub-01", "t2"): "ok", ("sub-02", "t1"): "failed", ("sub-03", "t1"): "ok",
    }  # fmt: skip
    assert "sub-02_T1w.nii.gz" in found["sub-02", "t1"]["reasons"]
    assert found["sub-01", "t2"]["files"] == "t2/sub-01_t2.nii.gz"
    page = (folder / "quality" / "index.html").read_text()
    assert page.count("data:image/png") == 3
    assert "sub-02" in page
    assert (folder / "participants.tsv").read_text() == (raw / "participants.tsv").read_text()
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nii.gz")}
    write_scan(raw / "sub-02" / "anat" / "sub-02_T1w.nii.gz", 2)
    preprocess(root, raw, tmp_path / "data")
    assert {path: path.stat().st_mtime_ns for path in written} == written, "finished cases are left alone"
    assert all(row["status"] == "ok" for row in rows(folder).values())
    assert not list(folder.rglob(".*"))


def test_volumes_that_were_removed_meanwhile_count_as_failed(root: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, data = preprocess_case.CaseSteps.run, tmp_path / "data"

    def removing(self: Any, case: Any) -> Any:
        shutil.rmtree(data / "Train" / "Mine" / "t1", ignore_errors=True)
        return run(self, case)

    monkeypatch.setattr(preprocess_case.CaseSteps, "run", removing)
    shutil.rmtree(raw / "sub-02")
    assert "1 of 3 scans were left out: sub-01 (t1)" in refused(root, raw, data)
    assert "removed while the others were made" in rows(data / "Train" / "Mine")["sub-01", "t1"]["reasons"]


def test_a_run_that_ended_between_a_volume_and_its_record_goes_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    write_scan(raw / "x_T1w.nii.gz", 5)
    write, count = preprocess_case.write_volume, []

    def killed(path: Path, *args: Any) -> None:
        write(path, *args)
        count.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocess_case, "write_volume", killed)
    with pytest.raises(KeyboardInterrupt):
        preprocess(root, raw, data)
    assert len(count) == 1
    assert count[0].is_file()
    monkeypatch.setattr(preprocess_case, "write_volume", write)
    preprocess(root, raw, data)
    folder = data / "Train" / "Mine"
    assert rows(folder)["x", "t1"]["status"] == "ok"
    assert sorted(path.name for path in folder.rglob("*.nii.gz")) == ["x_mask.nii.gz", "x_t1.nii.gz"]


def test_a_case_is_done_again_for_other_bytes_or_settings_and_never_for_another_path(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    write_scan(raw / "x_T1w.nii.gz", 5)
    preprocess(root, raw, data)
    volume = data / "Train" / "Mine" / "t1" / "x_t1.nii.gz"
    stamp = volume.stat().st_mtime_ns
    raw.rename(tmp_path / "moved")
    preprocess(root, tmp_path / "moved", data)
    assert volume.stat().st_mtime_ns == stamp
    write_scan(tmp_path / "moved" / "x_T1w.nii.gz", 6)
    preprocess(root, tmp_path / "moved", data)
    assert volume.stat().st_mtime_ns != stamp
    stamp = volume.stat().st_mtime_ns
    preprocess(root, tmp_path / "moved", data, interpolation="nearest")
    assert volume.stat().st_mtime_ns != stamp
    texts = [path.read_text() for path in (data / "Train").rglob("*") if path.suffix in (".json", ".csv", ".html")]
    assert texts
    assert not any(str(tmp_path) in text for text in texts), "no path of this machine stands in the data set"


def test_what_is_written_is_a_data_set_for_make_splits(root: Path, raw: Path, tmp_path: Path) -> None:
    write_scan(raw / "sub-02" / "anat" / "sub-02_T1w.nii.gz", 2)
    preprocess(root, raw, tmp_path / "data", modality="t1")
    folder = tmp_path / "data" / "Train" / "Mine"
    record = make_splits(str(folder), record=str(tmp_path / "Mine.yaml"), num_folds=2, test_share=0.3)
    items = [item for split in record.splits for item in load_datalist(tmp_path / "data", record, split)]
    assert sorted(item["case"] for item in items) == ["sub-01", "sub-02", "sub-03"]
    assert {item["attributes"]["age"] for item in items} == {"30", "40", "50"}


def test_lesion_labels_come_along_where_they_lie(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    label = write_scan(raw / "x_T1w.nii.gz", 5, lesion=True)
    affine = nib.load(raw / "x_T1w.nii.gz").affine
    save(raw / "x_seg.nii.gz", label.copy(), affine)
    preprocess(root, raw, tmp_path / "data", grid="1mm")
    written = nib.load(tmp_path / "data" / "Test" / "Mine" / "seg" / "x_seg.nii.gz")
    values = np.asarray(written.dataobj)
    assert values.shape == (182, 218, 182)
    np.testing.assert_array_equal(written.affine[:3], [[1, 0, 0, -91], [0, 1, 0, -126], [0, 0, 1, -72]])
    assert set(np.unique(values)) == {0, 1}
    centres = [nib.affines.apply_affine(a, center_of_mass(v)) for a, v in ((affine, label), (written.affine, values))]
    # Linear interpolation and a threshold of one half: half a voxel of 4 mm at most, and rounded corners.
    np.testing.assert_allclose(centres[1], centres[0], atol=0.5)
    assert int(values.sum()) == pytest.approx(int(label.sum()) * 64, rel=0.1)


@pytest.mark.parametrize("kind", ["t1", "mask"])
def test_files_from_elsewhere_are_not_overwritten(root: Path, tmp_path: Path, kind: str) -> None:
    write_scan(tmp_path / "raw" / "x_T1w.nii.gz", 1)
    published = tmp_path / "data" / "Train" / "Mine" / kind / f"x_{kind}.nii.gz"
    published.parent.mkdir(parents=True)
    published.write_bytes(b"published")
    for _ in range(2):  # the record of the first run makes nobody's file ours
        refused(root, tmp_path / "raw", tmp_path / "data")
        row = rows(tmp_path / "data" / "Train" / "Mine")["x", "t1"]
        assert "exists already, and not from this command" in row["reasons"]
        assert published.read_bytes() == b"published"


def test_the_table_keeps_the_cases_of_earlier_runs(root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scan(tmp_path / name / f"{name}_T1w.nii.gz", 1)
        (tmp_path / name / "participants.tsv").write_text(f"participant_id\tage\n{name}\t30\n")
        preprocess(root, tmp_path / name, tmp_path / "data")
    folder = tmp_path / "data" / "Train" / "Mine"
    assert list(rows(folder)) == [("a", "t1"), ("b", "t1")]
    assert (folder / "participants.tsv").read_text() == "participant_id\tage\na\t30\nb\t30\n"


def test_a_table_of_participants_that_cannot_be_read_is_reported_and_costs_no_scan(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "raw" / "a_T1w.nii.gz", 1)
    (tmp_path / "raw" / "participants.tsv").write_text("age\n30\n")
    preprocess(root, tmp_path / "raw", tmp_path / "data")
    assert "The table of participants was not taken over" in capfd.readouterr().err
    assert not (tmp_path / "data" / "Train" / "Mine" / "participants.tsv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "nowhere"}, "nowhere"),
        ({"input": None}, "no scan is named"),
        ({"dataset": None}, "`dataset` must be a name of letters, digits, - and _, got None"),
        ({"dataset": "../x"}, "`dataset` must be a name"),
        ({"grid": "3mm"}, "`grid` must be one of 1mm, 2mm, got '3mm'"),
        ({"role": "ill"}, "`role` must be one of healthy, lesion, got 'ill'"),
        ({"alignment": "often"}, "`mode` must be one of .*'often'"),
    ],
)
def test_wrong_options_say_what_is_wrong(root: Path, raw: Path, tmp_path: Path, options: dict, message: str) -> None:
    assert re.search(message, refused(root, raw, tmp_path / "data", **options))
    assert not (tmp_path / "data").exists()


def test_the_command_ends_with_the_reason_and_1(root: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x_T1w.nii.gz").write_bytes(b"no image")
    done = run_command(root, config_file=CONFIG, input=tmp_path / "raw", dataset="Mine", dataset_dir=tmp_path, **FAST)
    assert done.returncode == 1
    assert re.match(r"error: 1 of 1 scans were left out: x \(t1\)", done.stderr.strip().splitlines()[-1])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_several_processes_write_the_same_files(root: Path, raw: Path, tmp_path: Path) -> None:
    assert "1 of 4 scans were left out: sub-02 (t1)" in refused(root, raw, tmp_path / "two", num_workers=2)
    refused(root, raw, tmp_path / "one")
    folders = [tmp_path / name / "Train" / "Mine" for name in ("one", "two")]
    names = [sorted(path.relative_to(folder) for path in folder.rglob("*.nii.gz")) for folder in folders]
    assert names[0] == names[1]
    assert len(names[0]) == 5
    for name in names[0]:
        first, second = (np.asarray(nib.load(folder / name).dataobj) for folder in folders)
        assert np.array_equal(first, second)


def turned(volume: np.ndarray, affine: np.ndarray, degrees: float, shift: float) -> np.ndarray:
    """Return a head that moved in the scanner by a turn about z and a shift along x, on the same grid."""
    angle = np.deg2rad(degrees)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[0, 3] = shift
    to_voxels = np.linalg.inv(affine) @ motion @ affine
    return affine_transform(volume.astype(np.float32), to_voxels, order=1)


def test_a_t2_goes_the_way_of_its_t1(root: Path, tmp_path: Path) -> None:
    """Both scans of the template as a head that lies askew, and moved between the scans, overlay afterwards."""
    template = load_template()
    inverted = np.where(template.mask > 0.5, 1.2 - template.image, 0)
    save(tmp_path / "raw" / "x_T1w.nii.gz", turned(template.image, template.affine, 8, 12), template.affine)
    save(tmp_path / "raw" / "x_T2w.nii.gz", turned(inverted, template.affine, 2, 5), template.affine)
    preprocess(root, tmp_path / "raw", tmp_path / "data", alignment="always")
    folder = tmp_path / "data" / "Train" / "Mine"
    t1, t2, mask = (np.asarray(nib.load(folder / f"{k}/x_{k}.nii.gz").dataobj) for k in ("t1", "t2", "mask"))
    inside = (mask == 1) & (template.mask > 0.9)
    # Interpolated twice here: 0.99 for the T1; a shift by one voxel (2 mm) gives 0.85.
    assert np.corrcoef(t1[inside], template.image[inside])[0, 1] > 0.93
    assert np.corrcoef(t2[inside], t1[inside])[0, 1] < -0.9
    assert rows(folder)["x", "t2"]["alignment"] == "affine through the t1"


def test_the_config_opens_with_its_command_and_keeps_expressions_short(root: Path) -> None:
    lines = (root / CONFIG).read_text().splitlines()
    assert lines[0].startswith("# ")
    assert "monai.bundle run --config_file bundle/configs/preprocess.yaml" in lines[1]
    assert max(len(line) for line in lines) <= 130
    parser = ConfigParser()
    parser.read_config(str(root / CONFIG))
    assert parser.get_parsed_content("output_grid")["size"] == (182, 218, 182)


def test_cases_of_the_real_raw_scans(data_dir: Path) -> None:
    cases = {case["case"]: [scan["modality"] for scan in case["scans"]] for case in find_raw_cases(data_dir / "raw") if not case["case"].startswith("IXI")}
    assert cases == {"patient04_study1": ["t1"], "patient12_study1": ["t1", "t2"], "sub-02": ["t1"], "sub-12": ["t1", "t2"]}


def test_a_scan_that_cannot_be_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no scan is named"):
        find_raw_cases(None)
