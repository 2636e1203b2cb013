"""The commands split what is typed, answer at once, and say what a BIDS App should."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brain_anomaly import command
from brain_anomaly.command import main_bids, scans_and_output
from scripts.report.words import CITATION


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a.nii.gz", "out", "--modality", "t2"], (["a.nii.gz"], "out", ["--modality", "t2"])),
        (["a.nii.gz", "b.nii.gz", "out"], (["a.nii.gz", "b.nii.gz"], "out", [])),
        (["a.nii.gz"], (["a.nii.gz"], None, [])),
        (["--help"], ([], None, ["--help"])),
    ],
)
def test_the_last_word_before_the_options_is_the_output(words, expected):
    assert scans_and_output(words) == expected


def test_the_version_comes_without_loading_torch(root: Path):
    code = (
        "import sys; sys.argv = ['brain-anomaly', '--version']\n"
        "from brain_anomaly.command import main\n"
        "try:\n    main()\nexcept SystemExit:\n    assert 'torch' not in sys.modules\n"
    )
    reported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True).stdout
    assert reported.strip() == json.loads((root / "metadata.json").read_text())["version"]


def test_a_participant_that_is_not_there_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main_bids([str(tmp_path), "out", "participant", "--participant-label", "07"])
    assert "has no sub-07" in capsys.readouterr().err


def test_the_level_is_participant_or_group(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main_bids([str(tmp_path), "out", "both"])
    assert "invalid choice: 'both'" in capsys.readouterr().err


@pytest.fixture
def handed_on(monkeypatch):
    """What the participant level hands on to the analysis."""
    found: list[list[str]] = []
    monkeypatch.setattr(command, "main", found.append)
    return found


@pytest.fixture
def bids(tmp_path):
    """Two subjects, one of two sessions, as empty files; the second T2 has no T1 in its session."""
    names = ("sub-01/ses-a/anat/sub-01_ses-a_T1w", "sub-01/ses-b/anat/sub-01_ses-b_T2w", "sub-02/anat/sub-02_T1w")
    for name in names:
        path = tmp_path / "bids" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True)
        path.touch()
    return tmp_path / "bids"


def test_labels_filters_and_other_options_reach_the_analysis(bids, handed_on):
    words = ["participant", "--participant-label", "01", "--session-label", "a", "ses-b", "--bids-filter-file", "f.json"]
    main_bids([str(bids), "out", *words, "--skip-bids-validation", "--longitudinal"])
    chosen = ["--session_label", "a,ses-b", "--bids_filter_file", "f.json"]
    assert handed_on == [[str(bids / "sub-01"), "out", *chosen, "--longitudinal"]]


def _validator(folder: Path, text: str, status: int) -> None:
    program = folder / "bids-validator"
    program.write_text(f"#!/bin/sh\necho {text}: $1\nexit {status}\n")
    program.chmod(0o755)


def test_a_validator_that_is_installed_is_asked_unless_it_is_skipped(bids, handed_on, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    _validator(tmp_path, "this is not BIDS", 16)
    with pytest.raises(SystemExit) as ended:
        main_bids([str(bids), "out", "participant"])
    assert ended.value.code == 2
    assert f"bids-validator finds errors:\nthis is not BIDS: {bids}" in capsys.readouterr().err
    main_bids([str(bids), "out", "participant", "--skip-bids-validation"])
    _validator(tmp_path, "fine", 0)
    main_bids([str(bids), "out", "participant"])
    assert handed_on == [[str(bids), "out"]] * 2


def test_the_group_level_writes_tables_and_what_to_cite(bids, tmp_path):
    folder = tmp_path / "out" / "sub-01" / "ses-a" / "anat"
    folder.mkdir(parents=True)
    result = {"case": "sub-01_ses-a_T1w", "modality": "t1", "status": "ok", "parameters": {"num_samples": 7, "timestep": 450}}
    (folder / "sub-01_ses-a_space-T1w_desc-anomaly_result.json").write_text(json.dumps(result))
    main_bids([str(bids), str(tmp_path / "out"), "group", "--participant-label", "01", "--skip-bids-validation"])
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"summary.csv", "regions.csv", "index.html", "dataset_description.json"}
    text = (tmp_path / "out" / "logs" / "CITATION.md").read_text()
    assert "1 T1-weighted scan was analysed." in text
    assert "reconstructed each axial slice 7 times" in text
    assert CITATION.strip() in text
    with pytest.raises(SystemExit):
        main_bids([str(bids), str(tmp_path / "out"), "group", "--participant-label", "02", "--skip-bids-validation"])


def test_a_shell_is_offered_options_and_their_values():
    by_name = {name: action for action in command._completed()._actions for name in action.option_strings}
    assert {"--baseline", "--longitudinal", "--num_samples", "--version"} <= by_name.keys()
    assert by_name["--modality"].completer() == ["t1", "t2"]
    assert by_name["--overwrite"].completer() == ["true", "false"]
    assert not hasattr(by_name["--num_samples"], "completer")
    bids = {name for action in command._completed_bids()._actions for name in action.option_strings}
    assert {"--session-label", "--bids-filter-file", "--baseline"} <= bids


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_argcomplete_answers_without_loading_torch(root: Path, tmp_path):
    argcomplete = pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    line = "brain-anomaly scan.nii.gz out --modal"
    code = "import sys; sys.argv = ['brain-anomaly']; from brain_anomaly.command import main; sys.modules['torch'] = None; main()"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": " "}
    places = os.pathsep.join([str(root), str(Path(argcomplete.__file__).parents[1])])
    environment = {**os.environ, **asked, "PYTHONPATH": places, "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, check=False, capture_output=True)
    assert answer.read_text().split() == ["--modality"]
