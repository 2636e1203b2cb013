"""Many scans in one command: what one of them does must not harm the others."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError, reason
from scripts.scans import ScanReader
from scripts.workflows import ScanSteps

from .conftest import FAST, run_command

CONFIG = "bundle/configs/inference.yaml"


def _save(path: Path, volume: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume.astype(np.float32), phantom_affine((32, 32, 16), 2.0)), path)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three scans, the second of which is constant."""
    for number in (1, 3):
        _save(tmp_path / "scans" / f"s{number}_t1.nii.gz", np.asarray(phantom_volume((32, 32, 16), number, "t1")[0]))
    _save(tmp_path / "scans" / "s2_t1.nii.gz", np.ones((32, 32, 16)))
    return tmp_path / "scans"


@pytest.fixture
def infer(root: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path):
    def run(scans: Path | str | list, **options: object) -> Path:
        options = {**FAST, "checkpoint": str(trained[0] / "model.pt"), **options}
        monai.bundle.run(config_file=str(root / CONFIG), input=scans, output_dir=str(tmp_path / "out"), **options)
        return tmp_path / "out"

    return run


def test_a_bad_scan_does_not_stop_the_others(infer, scans: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((RuntimeError, InputError)) as caught:
        infer(str(scans))
    assert str(reason(caught.value)).startswith("1 of 3 scans have no anomaly map: s2_t1")
    out = tmp_path / "out"
    assert (out / "s1_t1" / "result.json").is_file()
    assert (out / "s3_t1" / "report.html").is_file()
    assert not (out / "s2_t1").exists()
    with (out / "summary.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert [rows[name]["status"] for name in ("s1_t1", "s2_t1", "s3_t1")] == ["ok", "failed", "ok"]
    assert "constant" in rows["s2_t1"]["reasons"]
    assert str(tmp_path) not in rows["s2_t1"]["reasons"]
    assert (out / "regions.csv").read_text().startswith("case,modality,rank,place")
    page = (out / "index.html").read_text()
    assert "s1_t1/report.html" in page
    assert "s2_t1" in page
    log = capfd.readouterr().err
    assert "3 scans: 2 ok, 1 failed" in log
    assert log.strip().splitlines()[-1].endswith(f"Report: {out / 'index.html'}")


def test_the_command_ends_with_the_count_and_status_one(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], scans: Path, tmp_path: Path
) -> None:
    options = {**FAST, "checkpoint": trained[0] / "model.pt", "report": False, "picture": False}
    done = run_command(root, config_file=CONFIG, input=scans, output_dir=tmp_path / "out", **options)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: 1 of 3 scans have no anomaly map: s2_t1")
    for noise in ("Traceback", "FutureWarning", "step/s", "scan/s", "it/s"):
        assert noise not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "s2_t1: failed: " in line]) == 1


def test_finished_scans_are_skipped_unless_asked_otherwise(
    infer, scans: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scan = str(scans / "s1_t1.nii.gz")
    result = infer(scan) / "s1_t1" / "result.json"
    stamp = result.stat().st_mtime_ns
    infer(scan)
    assert result.stat().st_mtime_ns == stamp
    assert "s1_t1: skipped, has a result; --overwrite true does it again" in capfd.readouterr().err
    infer(scan, overwrite="true")
    assert result.stat().st_mtime_ns != stamp


def test_an_image_that_is_missing_is_made_again(infer, scans: Path) -> None:
    scan = str(scans / "s1_t1.nii.gz")
    folder = infer(scan) / "s1_t1"
    (folder / "s1_t1_lesion_mask.nii.gz").unlink()
    infer(scan)
    assert (folder / "s1_t1_lesion_mask.nii.gz").is_file()


def test_an_interrupted_run_leaves_no_half_written_file_and_goes_on_later(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], infer, scans: Path, tmp_path: Path
) -> None:
    (scans / "s2_t1.nii.gz").unlink()
    options = {**FAST, "checkpoint": trained[0] / "model.pt", "input": scans, "output_dir": tmp_path / "out", "num_samples": 40}
    flags = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", CONFIG, *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        command, cwd=root, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # which a shell's background jobs ignore
    )  # fmt: skip
    first = tmp_path / "out" / "s1_t1" / "result.json"
    for _ in range(2400):
        if first.is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, reported = process.communicate(timeout=60)
    assert process.returncode != 0, reported
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [path for path in files if path.name.startswith(".")], "no temporary file is left"
    for path in files:
        if path.name.endswith(".nii.gz"):
            assert np.isfinite(nib.load(path).get_fdata()).all()
    assert json.loads(first.read_text())["status"] == "ok"
    stamp = first.stat().st_mtime_ns
    infer(str(scans), num_samples=40, report=True, picture=True)
    assert first.stat().st_mtime_ns == stamp, "what was finished is kept"
    assert (tmp_path / "out" / "s3_t1" / "result.json").is_file()


def test_results_that_were_removed_meanwhile_count_as_failed(infer, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scans / "s2_t1.nii.gz").unlink()
    analyze = ScanSteps._analyze

    def removing(self: ScanSteps, item: dict) -> dict:
        shutil.rmtree(tmp_path / "out" / "s1_t1", ignore_errors=True)
        return analyze(self, item)

    monkeypatch.setattr(ScanSteps, "_analyze", removing)
    with pytest.raises((RuntimeError, InputError)) as caught:
        infer(str(scans))
    assert "1 of 2 scans have no anomaly map: s1_t1" in str(reason(caught.value))
    assert "its result was removed while the others were made" in (tmp_path / "out" / "summary.csv").read_text()


def test_what_cannot_be_written_is_reported_before_the_scan_is_read(
    infer, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScanReader, "get_data", lambda *_: pytest.fail("the scan was read"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "s1_t1").write_text("in the way")
    with pytest.raises((RuntimeError, InputError)) as caught:
        infer(str(scans / "s1_t1.nii.gz"))
    assert "s1_t1: a file is where the folder for results should be" in str(reason(caught.value))
    long = (scans / "s1_t1.nii.gz").rename(scans / f"{'n' * 244}_t1.nii.gz")
    with pytest.raises((RuntimeError, InputError)) as caught:
        infer(str(long))
    assert "a result's name is 266 bytes long, more than 255" in str(reason(caught.value))


def test_a_file_name_that_is_no_utf8_gets_a_readable_result(infer, scans: Path) -> None:
    odd = scans / b"caf\xe9_t1.nii.gz".decode("utf-8", "surrogateescape")
    (scans / "s1_t1.nii.gz").rename(odd)
    folder = infer(str(odd)) / "caf\xe9_t1"
    assert json.loads((folder / "result.json").read_text())["input"] == "caf\xe9_t1.nii.gz"
    assert (folder / "panel.png").is_file()
    assert "caf\xe9" in (folder / "report.html").read_text()
