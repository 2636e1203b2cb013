"""The commands split what is typed, answer at once, and say what a BIDS App should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from brain_anomaly.command import main_bids, scans_and_output


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
