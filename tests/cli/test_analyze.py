"""The short command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import monai.bundle
import pytest

from scripts.cli.analyze import analyze
from scripts.errors import InputError
from scripts.options.values import literal


@pytest.fixture
def handed_on(monkeypatch: pytest.MonkeyPatch) -> dict:
    found: dict = {}
    monkeypatch.setattr(monai.bundle, "run", lambda **options: found.update(options))
    return found


def test_what_is_typed_reaches_the_config_as_it_is(handed_on: dict, tmp_path: Path) -> None:
    analyze("$x#1.nii", str(tmp_path / "2024"), num_samples="3", smoothing_sigma="2", save="anomaly_map,brain_mask")
    assert literal(handed_on["input"]["text"]) == "$x#1.nii"
    assert handed_on["output_dir"] == str(tmp_path / "2024")
    assert (handed_on["num_samples"], handed_on["smoothing_sigma"]) == (3, 2.0)
    assert handed_on["save"] == ["anomaly_map", "brain_mask"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"num_sample": 3}, "there is no option --num_sample. Did you mean --num_samples?"),
        ({"zzz": 3}, "there is no option --zzz. --help lists the options."),
        ({"erosion": 100}, "`erosion` must be a whole number from 0 to 20 (voxels), got 100. For example --erosion 0"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(handed_on: dict, option: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        analyze("scan_t1.nii.gz", "out", **option)
    assert str(caught.value) == message
    assert not handed_on


def test_a_wrong_input_ends_with_one_line_and_status_two(root: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "scripts.cli.analyze", str(tmp_path / "absent_t1.nii.gz"), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "absent_t1.nii.gz" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "eval()" not in done.stderr
