from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.cli.make_phantom import main
from scripts.data.datalists import load_datalist

ROOT = Path(__file__).resolve().parents[2]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["make_phantom", *arguments])
    main()


def test_command_line_writes_a_folder_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "phantoms"
    with caplog.at_level(logging.INFO):
        run(
            monkeypatch, f"--output_dir={root}", "--shape=8,10,12", "--datasets=IXI,WMH", "--num_folds=1", "--spacing=3"
        )
    # IXI: 7 subjects with t1 and mask, 6 with t2; WMH: 4 cases with t1, mask and seg; IXI has 4 CSV files, WMH 2.
    assert f"{root} holds 32 volumes and 6 CSV files now" in caplog.text
    assert len(load_datalist(root, "WMH", "test")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shape=8",), "`shape` must be a list of 3 (each a whole number), got '8'"),
        (("--datasets=Ixi",), "`dataset` must be one of ATLAS_v2, Brats21"),
        (("--num_val=many",), "`num_val` must be a whole number from 1 to 10000, got 'many'"),
    ],
)
def test_unusable_input_is_logged_and_exits_with_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    root = tmp_path / "phantoms"
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, f"--output_dir={root}", *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not root.exists()


def test_module_refuses_a_full_folder_and_explains_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    command = [sys.executable, "-m", "scripts.cli.make_phantom"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PAGER": "cat"}
    refused = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert refused.returncode == 2
    assert "is not an empty folder" in refused.stderr
    assert "Traceback" not in refused.stderr
    shown = subprocess.run(
        [*command, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "voxels along x, y, z" in shown.stdout + shown.stderr
