"""A new data set becomes usable: splits in the published columns, a record, and a training run with both."""

from __future__ import annotations

import csv
import logging
import re
import sys
from itertools import combinations
from pathlib import Path

import monai.bundle
import nibabel as nib
import pytest

from scripts.cli.make_splits import main, make_splits
from scripts.data import load_datalist, load_record, load_splits
from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError
from tests.leaks import find_leaks
from tests.tiny import TINY_NETWORK

SHAPE = (32, 32, 16)
PUBLISHED = ["img_name", "age", "sex", "label", "img_path", "mask_path", "seg_path"]
TINY = {
    **TINY_NETWORK,
    "grid_size": list(SHAPE),
    "num_workers": 0,
    "slices_per_volume": 2,
    "batch_size": 2,
    "max_epochs": 1,
    "val_interval": 1,
    "warmup_steps": 1,
}


def write(path: Path, seed: int, modality: str = "t1") -> None:
    image, mask, label = phantom_volume(SHAPE, seed, "t2" if modality == "t2" else "t1", lesion=modality == "seg")
    volume = {"mask": mask, "seg": label}.get(modality, image)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, phantom_affine(SHAPE)), path)


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight subjects in two sessions each, the last without a T2; no brain masks."""
    root = tmp_path_factory.mktemp("raw") / "ds9"
    lines = ["participant_id\tage\tgender\tdiagnosis"]
    for subject in range(8):
        for session in (1, 2):
            stem = f"sub-{subject:02d}_ses-{session}"
            folder = root / f"sub-{subject:02d}" / f"ses-{session}" / "anat"
            write(folder / f"{stem}_T1w.nii.gz", subject)
            if subject < 7:
                write(folder / f"{stem}_T2w.nii.gz", subject, "t2")
        lines.append(f"sub-{subject:02d}\t{20 + 5 * subject}\t{'F' if subject % 2 else 'n/a'}\tcontrol")
    (root / "participants.tsv").write_text("\n".join(lines))
    return root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def options(tmp_path: Path) -> dict:
    return {"output_dir": str(tmp_path / "data"), "record": str(tmp_path / "ds9.yaml"), "num_folds": 2}


def test_bids_tree_gets_splits_that_keep_people_together(bids: Path, tmp_path: Path) -> None:
    make_splits(str(bids), **options(tmp_path), test_share=0.25)
    data = tmp_path / "data"
    names = [f"ds9_{split}_fold{fold}.csv" for split in ("train", "val") for fold in range(2)]
    assert sorted(path.name for path in (data / "splits").iterdir()) == sorted([*names, "ds9_test.csv"])
    test = rows(data / "splits" / "ds9_test.csv")
    assert list(test[0])[:7] == PUBLISHED
    assert len(test) == 4, "two subjects with two sessions"
    for fold in range(2):
        parts = [rows(data / "splits" / f"ds9_{split}_fold{fold}.csv") for split in ("train", "val")] + [test]
        subjects = [{row["subject"] for row in part} for part in parts]
        assert not any(first & second for first, second in combinations(subjects, 2))
        assert sum(map(len, subjects)) == 8
        assert sum(map(len, parts)) == 16
    row = next(row for row in [*test, *parts[0], *parts[1]] if row["img_name"] == "sub-01_ses-2_T1w.nii.gz")
    assert (row["age"], row["sex"], row["group"], row["session"], row["label"]) == ("25", "f", "control", "ses-2", "0")
    assert row["img_path"] == "/Train/ds9/sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"
    assert row["t2_path"] == "/Train/ds9/sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz"


def test_the_record_makes_every_split_of_both_modalities_load(bids: Path, tmp_path: Path) -> None:
    record = make_splits(str(bids), **options(tmp_path), citation="Nobody 2026")
    assert load_record(tmp_path / "ds9.yaml") == record
    assert (record.modalities, record.brain_mask, record.citation) == (("t1", "t2"), "nonzero", "Nobody 2026")
    counts = {}
    for modality in record.modalities:
        lists = load_splits(tmp_path / "data", record, modality=modality)
        assert not find_leaks(lists)
        counts[modality] = sum(map(len, lists.values()))
        assert all(item["image"].endswith(f"_{modality.upper()}w.nii.gz") for item in lists["train"])
    assert counts == {"t1": 16, "t2": 14}


def test_a_training_run_uses_the_new_set_at_once(bids: Path, tmp_path: Path, root: Path) -> None:
    make_splits(str(bids), **options(tmp_path))
    monai.bundle.run(
        "training",
        config_file=str(root / "bundle" / "configs" / "train.yaml"),
        dataset_dir=str(tmp_path / "data"),
        datasets=[str(tmp_path / "ds9.yaml")],
        modality="t2",
        output_dir=str(tmp_path / "run"),
        **TINY,
    )
    assert (tmp_path / "run" / "model.pt").is_file()


def test_a_folder_of_preprocessed_lesion_scans_gets_validation_and_test(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "Test" / "Clinic"
    for number in range(6):
        for kind in ("t1", "mask", "seg"):
            write(folder / kind / f"IXI{number}-Guys-{kind}_{kind}.nii.gz".replace(f"-{kind}_", "_"), number, kind)
    record = make_splits(str(folder), record=str(tmp_path / "Clinic.yaml"), val_share=0.34)
    assert (record.role, record.folder, record.brain_mask) == ("lesion", "Test/Clinic", "file")
    val, test = (load_datalist(tmp_path / "data", record, split) for split in ("val", "test"))
    assert (len(val), len(test)) == (2, 4)
    assert all(item["label"].endswith(f"Test/Clinic/seg/{item['case']}_seg.nii.gz") for item in [*val, *test])


def test_the_person_may_be_found_by_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "Train" / "Sites"
    for number in range(5):
        for visit in "ab":
            write(folder / "t1" / f"IXI{number:03d}-{visit}_t1.nii.gz", number)
    named = {"record": str(tmp_path / "Sites.yaml"), "num_folds": 2, "test_share": 0.2, "subject_pattern": "IXI([0-9]+)"}
    make_splits(str(folder), **named)
    assert {row["subject"] for row in rows(tmp_path / "data" / "splits" / "Sites_test.csv")} < {f"{n:03d}" for n in range(5)}
    assert len(rows(tmp_path / "data" / "splits" / "Sites_test.csv")) == 2
    with pytest.raises(InputError, match=r"`subject_pattern` 'x\+' finds no subject in the name 'IXI000-a'"):
        make_splits(str(folder), **{**named, "subject_pattern": "x+", "overwrite": True})


def test_nothing_is_overwritten_unless_reported(bids: Path, tmp_path: Path) -> None:
    make_splits(str(bids), **options(tmp_path))
    before = (tmp_path / "data" / "splits" / "ds9_test.csv").read_text()
    with pytest.raises(InputError, match=r"there already: .*ds9_test\.csv.*Give another --name, or --overwrite true"):
        make_splits(str(bids), **options(tmp_path), seed=1)
    assert (tmp_path / "data" / "splits" / "ds9_test.csv").read_text() == before
    with pytest.raises(InputError, match=r"there already: .*IXI\.yaml"):
        make_splits(str(bids), output_dir=str(tmp_path / "data"), name="IXI")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": "ill"}, "`role` must be one of healthy, lesion, got 'ill'"),
        ({"role": "lesion"}, r"16 case\(s\) of a lesion set have no label, such as sub-00_ses-1\. Put sub-00_ses-1_seg"),
        ({"name": "a b"}, "`name` must be of letters, digits, - and _, got 'a b'"),
        ({"output_dir": None}, "lies in no DATA_DIR/Train or DATA_DIR/Test. Give --output_dir"),
        ({"num_folds": 99}, "too few for 99 folds"),
        ({"participants": "none.tsv"}, "none.tsv: the table of participants cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named_and_leaves_nothing(bids: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_splits(str(bids), **{**options(tmp_path), **changes})
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "ds9.yaml").exists()


def test_missing_masks_and_unknown_people_are_reported(bids: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "other.csv").write_text("participant_id,age\nsub-77,30\n")
    with caplog.at_level(logging.WARNING):
        make_splits(str(bids), **options(tmp_path), participants=str(tmp_path / "other.csv"))
    assert "16 of 16 cases have no brain mask" in caplog.text
    assert "the table of participants knows none of the subjects, such as sub-00" in caplog.text


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["make_splits", *arguments])
    main()


def test_command_line_writes_the_splits_and_tells_what_is_in_them(
    bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flags = [f"--{name}={value}" for name, value in options(tmp_path).items()]
    with caplog.at_level(logging.INFO):
        run(monkeypatch, str(bids), *flags, "--name=named")
    assert re.search(r"named_val_fold1\.csv: \d subjects, \d scans, mean age \d\d\.\d, \d+ % female", caplog.text)
    assert (tmp_path / "data" / "Train" / "named").resolve() == bids.resolve()


def test_command_line_ends_with_2_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, str(tmp_path))
    assert stop.value.code == 2
    assert "holds no NIfTI or MGH scan" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--help")
    assert stop.value.code == 0
    assert "folder of the set" in "".join(capsys.readouterr())


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A preprocessed set of four subjects, its record and its table of published splits."""
    folder = tmp_path / "data" / "Train" / "pub"
    for subject in "abcd":
        write(folder / "t1" / f"{subject}_t1.nii.gz", ord(subject))
        write(folder / "mask" / f"{subject}_mask.nii.gz", ord(subject), "mask")
    record = tmp_path / "PUB.yaml"
    record.write_text(
        "name: PUB\nfolder: Train/pub\nrole: healthy\nmodalities: [t1, t2]\n"
        "splits: {train: 'PUB_train_fold{fold}.csv', val: 'PUB_val_fold{fold}.csv', test: PUB_test.csv}\n"
    )
    table = tmp_path / "participants.csv"
    rows = ["participant_id,age,published_splits", "a,30,train_fold0 val_fold1", "b,40,val_fold0 train_fold1", "c,50,test"]
    table.write_text("\n".join([*rows, "d,60,", "gone,70,test"]) + "\n")
    return folder, record, table


def test_published_splits_are_taken_as_they_are_and_the_record_stays(published: tuple[Path, Path, Path]) -> None:
    folder, record, table = published
    before = record.read_bytes()
    make_splits(str(folder), record=str(record), published=str(table), participants=str(table))
    assert record.read_bytes() == before
    root = folder.parents[1]
    found = {
        (split, fold): [item["case"] for item in load_datalist(root, str(record), split, fold=fold)]
        for split, fold in (("train", 0), ("val", 0), ("train", 1), ("val", 1), ("test", 0))
    }
    assert found == {("train", 0): ["a"], ("val", 0): ["b"], ("train", 1): ["b"], ("val", 1): ["a"], ("test", 0): ["c"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("participant_id,age\na,3\n", "has no column `published_splits`"),
        ("participant_id,published_splits\na,training\n", "must be test, train_fold0, val_fold0, …, got 'training' of a"),
        ("participant_id,published_splits\nz,test\n", "knows none of the subjects here"),
    ],
)
def test_a_table_without_published_splits_is_refused(
    published: tuple[Path, Path, Path], text: str, message: str
) -> None:
    folder, record, table = published
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        make_splits(str(folder), record=str(record), published=str(table))
    assert not (folder.parents[1] / "splits").exists()
