"""Commands that are killed at any moment, 40 times: what is there is whole, and the same command goes on to the same end.

`make test-slow`. Each round kills a process somewhere between its start and its end, at moments that a seed chooses.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.data.phantom import phantom_affine, phantom_volume

from .conftest import FAST, TINY_TRAINING

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ROUNDS = 4  # of each of five commands and two signals
CONFIGS = Path("bundle/configs")
SIGNALS = [signal.SIGKILL, signal.SIGTERM]
TIMES = ("seconds", "steps_seconds", "total_seconds")


def _words(options: dict[str, object]) -> list[str]:
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def _bundle(configs: tuple[str, ...], *run_id: str, **options: object) -> list[str]:
    files = str([str(CONFIGS / f"{name}.yaml") for name in configs])
    return [sys.executable, "-m", "monai.bundle", "run", *run_id, "--config_file", files, *_words(options)]


def _start(command: list[str], root: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _to_its_end(command: list[str], root: Path) -> float:
    """Run a command and return the seconds that it took."""
    began = time.monotonic()
    process = _start(command, root)
    _, told = process.communicate()
    assert process.returncode == 0, told[-3000:]
    return time.monotonic() - began


def _kill(command: list[str], root: Path, number: int, delay: float) -> None:
    process = _start(command, root)
    try:
        process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        process.communicate()


def _plain(content: object) -> object:
    """Drop what differs from run to run, the seconds."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items() if key not in TIMES}
    return [_plain(value) for value in content] if isinstance(content, list) else content


def _state(folder: Path) -> dict[str, object]:
    """Read every result in a folder; a file that is cut off fails here."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name, parts = path.relative_to(folder).as_posix(), path.relative_to(folder).parts
        if not path.is_file() or any(part.startswith(".") or part == "tensorboard" for part in parts):
            continue
        if path.name.endswith(".nii.gz"):
            found[name] = np.asarray(nib.load(path).dataobj).tobytes()
        elif path.suffix == ".json":
            found[name] = _plain(json.loads(path.read_text()))
        elif path.suffix == ".csv":
            found[name] = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(path.open())]
        elif path.suffix == ".pt":
            state = torch.load(path, weights_only=True)
            found[name] = [(key, value.numpy().tobytes()) for key, value in state.items() if isinstance(value, torch.Tensor)]
    return found


def _campaign(root: Path, make: Callable[[Path, bool], list[str]], tmp_path: Path, number: int, *, others: list[str] | None = None) -> None:
    """Kill a command again and again, then let it end, and compare with a run that nobody disturbed."""
    straight, disturbed = tmp_path / "straight", tmp_path / "disturbed"
    seconds = _to_its_end(make(straight, False), root)
    moments = random.Random(f"{make.__name__}{number}")
    for index in range(ROUNDS):
        command = make(disturbed, (disturbed / "checkpoint.pt").is_file())
        _kill(command + (others or [] if index % 2 else []), root, number, seconds * moments.uniform(0.4, 1.05))
        if disturbed.is_dir():
            _state(disturbed)
    if not (disturbed / "checkpoint.pt").is_file() or not _is_finished(disturbed, straight):
        _to_its_end(make(disturbed, (disturbed / "checkpoint.pt").is_file()), root)
    wanted, found = _state(straight), _state(disturbed)
    wanted.pop("checkpoint.pt", None)
    found.pop("checkpoint.pt", None)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    left = [path for path in disturbed.rglob(".tmp-*")]
    assert not left, "the next start removes what a killed process left"


def _is_finished(disturbed: Path, straight: Path) -> bool:
    states = [torch.load(folder / "checkpoint.pt", weights_only=True)["trainer"] for folder in (disturbed, straight)]
    return states[0]["iteration"] == states[1]["iteration"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number in range(3):
        volume = np.asarray(phantom_volume((32, 32, 16), number, "t1", lesion=True)[0], dtype=np.float32)
        nib.save(nib.Nifti1Image(volume, phantom_affine((32, 32, 16), 2.0)), folder / f"s{number}_t1.nii.gz")
    return folder


@pytest.mark.parametrize("number", SIGNALS)
def test_analyze(root: Path, trained: tuple[Path, subprocess.CompletedProcess], scans: Path, tmp_path: Path, number: int) -> None:
    def analyze(folder: Path, _: bool) -> list[str]:
        options = {**FAST, "checkpoint": trained[0] / "model.pt", "input": scans, "output_dir": folder, "picture": False}
        return _bundle(("inference",), **options)

    _campaign(root, analyze, tmp_path, number, others=["--overwrite", "true", "--seed", "77"])


@pytest.mark.parametrize("number", SIGNALS)
def test_preprocess(root: Path, scans: Path, tmp_path: Path, number: int) -> None:
    steps = {"brain_extraction": "never", "alignment": "never", "quality_control": False, "progress": False, "grid": "2mm"}

    def preprocess(folder: Path, _: bool) -> list[str]:
        return _bundle(("preprocess",), input=scans, dataset="Mine", dataset_dir=folder, **steps)

    _campaign(root, preprocess, tmp_path, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_train(root: Path, tree: Path, tmp_path: Path, number: int) -> None:
    def train(folder: Path, resume: bool) -> list[str]:
        options = {**TINY_TRAINING, "max_epochs": 6, "dataset_dir": tree, "output_dir": folder, "resume": resume}
        return _bundle(("train",), "training", **options)

    _campaign(root, train, tmp_path, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_evaluate(root: Path, tree: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path, number: int) -> None:
    fast = {key: value for key, value in FAST.items() if key not in ("modality", "brain_extraction", "alignment", "quality_control")}
    few = {"num_bootstrap": 100, "panels": 0, "outputs": ["anomaly_map", "reconstruction"], "datasets": ["Brats21"]}

    def evaluate(folder: Path, _: bool) -> list[str]:
        options = {**fast, **few, "checkpoint": trained[0] / "model.pt", "dataset_dir": tree, "output_dir": folder, "split": "test"}
        return _bundle(("inference", "evaluate"), **options)

    _campaign(root, evaluate, tmp_path, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_run_folds(root: Path, tree: Path, tmp_path: Path, number: int) -> None:
    fast = {key: value for key, value in FAST.items() if key not in ("modality", "brain_extraction", "alignment", "quality_control")}
    evaluation = {**fast, "num_bootstrap": 100, "panels": 0, "outputs": ["anomaly_map", "reconstruction"]}
    training = {key: value for key, value in TINY_TRAINING.items() if key != "datasets"}

    def run_folds(folder: Path, _: bool) -> list[str]:
        options = {"output_dir": folder, "dataset_dir": tree, "train_datasets": "IXI", "datasets": "Brats21", "folds": "[0]"}
        return [sys.executable, "-m", "tools.run_folds", *_words({**options, "train_options": training, "evaluate_options": evaluation})]

    _campaign(root, run_folds, tmp_path, number)
