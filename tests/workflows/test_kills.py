"""Commands that are killed at any moment, 40 times: what is there is whole, and the same command goes on to the same end.

`make test-slow`. Two campaigns, one with SIGKILL and one with SIGTERM. Each round kills a process when it has used a share
of the processor time of an undisturbed run that a seed chooses; seconds on the clock would depend on what else runs.
Processes are forked from one that has loaded all modules, so that the kills fall into the work and not into imports.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch

from scripts.data.phantom import phantom_affine, phantom_volume

from .conftest import FAST, TINY_TRAINING

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ROUNDS = 4  # of each of five commands and two signals
CONFIGS = Path("bundle/configs")
SIGNALS = [signal.SIGKILL, signal.SIGTERM]
CHANGING = ("date", "seconds", "steps_seconds", "total_seconds")
Command = list[str]  # the module, and its arguments
Make = Callable[[Path], Command]
# does what `python -m module arguments` does, in a process of its own, for each line that it is sent
FORKING = """
import json, os, runpy, sys
import monai.bundle, scripts.brain_extraction, scripts.handlers, scripts.inferers, scripts.transforms, scripts.workflows.preprocess
for line in sys.stdin:
    command, log = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for reported in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), reported)
        sys.argv = command
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        sys.exit()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def _words(options: dict[str, object]) -> list[str]:
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def _bundle(configs: tuple[str, ...], *run_id: str, **options: object) -> Command:
    files = str([str(CONFIGS / f"{name}.yaml") for name in configs])
    return ["monai.bundle", "run", *run_id, "--config_file", files, *_words(options)]


def _processor_seconds(process: psutil.Process) -> float:
    """Return what a process and those that it started have used so far."""
    seconds = 0.0
    with suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                seconds += sum(one.cpu_times()[:4])  # its own and, of those that have ended, its children's
    return seconds


class Runs:
    """Runs commands, to their ends or until they are killed, and remembers what an undisturbed one gives."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log.txt"
        self.straight: dict[str, tuple[dict[str, object], float]] = {}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
        words = [sys.executable, "-c", FORKING]
        self.forking = subprocess.Popen(words, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _start(self, command: Command) -> psutil.Process:
        self.forking.stdin.write(json.dumps([command, str(self.log)]) + "\n")
        self.forking.stdin.flush()
        return psutil.Process(int(self.forking.stdout.readline()))

    def _status(self) -> int:
        return int(self.forking.stdout.readline())

    def to_its_end(self, command: Command) -> float:
        """Run a command, and return the processor time that it took, in seconds."""
        process, seconds = self._start(command), 0.0
        while process.is_running():
            seconds = max(seconds, _processor_seconds(process))
            time.sleep(0.02)
        assert self._status() == 0, self.log.read_text()[-3000:]
        return seconds

    def kill(self, command: Command, number: int, seconds: float) -> None:
        """Send a signal to a command when it has used so much processor time, if it has not ended before."""
        process = self._start(command)
        while process.is_running() and _processor_seconds(process) < seconds:
            time.sleep(0.005)
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        assert self._status() in (0, -number, 128 + number), self.log.read_text()[-3000:]

    def undisturbed(self, make: Make) -> tuple[dict[str, object], float]:
        """Return the results of a command, and its processor time; the folder of results is gone afterwards."""
        name = make.__name__
        if name not in self.straight:
            seconds = self.to_its_end(make(self.folder / name))
            self.straight[name] = _state(self.folder / name), seconds
            shutil.rmtree(self.folder / name)
        return self.straight[name]


def _plain(content: object) -> object:
    """Drop what differs from run to run, dates and seconds, and make tensors comparable."""
    if isinstance(content, torch.Tensor):
        return content.dtype, content.shape, content.numpy().tobytes()
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items() if key not in CHANGING}
    return [_plain(value) for value in content] if isinstance(content, list | tuple) else content


def _content(path: Path) -> object:
    """Read a result; one that is cut off fails here. Of pages and pictures only that they are there."""
    if path.name.endswith(".nii.gz"):
        image = nib.load(path)
        return image.affine.tobytes(), np.asarray(image.dataobj).tobytes()
    if path.suffix == ".json":
        return _plain(json.loads(path.read_text()))
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [_plain(row) for row in csv.DictReader(file)]
    if path.suffix == ".pt":
        return _plain(torch.load(path, weights_only=True))
    assert path.stat().st_size > 0, path
    return "there"


def _state(folder: Path) -> dict[str, object]:
    """Read every result in a folder."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and path.suffix != ".log" and not any(part.startswith(".") or part == "tensorboard" for part in parts):
            found["/".join(parts)] = _content(path)
    return found


def _campaign(runs: Runs, make: Make, number: int, *, others: tuple[str, ...] = ()) -> None:
    """Kill a command again and again, then let it end, and compare with a run that nobody disturbed."""
    wanted, seconds = runs.undisturbed(make)
    moments = random.Random(f"{make.__name__}{number}")
    folder = runs.folder / make.__name__
    for index in range(ROUNDS):
        runs.kill([*make(folder), *(others if index % 2 else ())], number, seconds * moments.uniform(0.05, 1.0))
        _state(folder)
    runs.to_its_end(make(folder))
    found = _state(folder)
    left = list(folder.rglob(".tmp-*"))
    shutil.rmtree(folder)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert not left, "the next start removes what a killed process left"


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    made = Runs(root, tmp_path_factory.mktemp("kills"))
    yield made
    made.forking.communicate()


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number in range(3):
        volume = np.asarray(phantom_volume((32, 32, 16), number, "t1", lesion=True)[0], dtype=np.float32)
        nib.save(nib.Nifti1Image(volume, phantom_affine((32, 32, 16), 2.0)), folder / f"s{number}_t1.nii.gz")
    return folder


@pytest.fixture(scope="module")
def weights(runs: Runs, tree: Path) -> Path:
    folder = runs.folder / "weights"
    runs.to_its_end(_bundle(("train",), "training", **TINY_TRAINING, dataset_dir=tree, output_dir=folder))
    return folder / "model.pt"


@pytest.mark.parametrize("number", SIGNALS)
def test_analyze(runs: Runs, weights: Path, scans: Path, number: int) -> None:
    def analyze(folder: Path) -> Command:
        options = {**FAST, "checkpoint": weights, "input": scans, "output_dir": folder, "picture": False}
        return _bundle(("inference",), **options)

    _campaign(runs, analyze, number, others=("--overwrite", "true", "--seed", "77"))


@pytest.mark.parametrize("number", SIGNALS)
def test_preprocess(runs: Runs, scans: Path, number: int) -> None:
    steps = {"brain_extraction": "never", "alignment": "never", "quality_control": False, "progress": False, "grid": "2mm"}

    def preprocess(folder: Path) -> Command:
        return _bundle(("preprocess",), input=scans, dataset="Mine", dataset_dir=folder, **steps)

    _campaign(runs, preprocess, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_train(runs: Runs, tree: Path, number: int) -> None:
    def train(folder: Path) -> Command:
        resume = (folder / "checkpoint.pt").is_file()
        options = {**TINY_TRAINING, "max_epochs": 6, "num_workers": 1, "dataset_dir": tree, "output_dir": folder, "resume": resume}
        return _bundle(("train",), "training", **options)

    _campaign(runs, train, number)


EVALUATION = {key: value for key, value in FAST.items() if key not in ("modality", "brain_extraction", "alignment", "quality_control")}
EVALUATION |= {"num_bootstrap": 100, "panels": 0, "outputs": ["anomaly_map", "reconstruction"]}


@pytest.mark.parametrize("number", SIGNALS)
def test_evaluate(runs: Runs, tree: Path, weights: Path, number: int) -> None:
    def evaluate(folder: Path) -> Command:
        options = {**EVALUATION, "datasets": ["Brats21"], "checkpoint": weights, "dataset_dir": tree, "output_dir": folder, "split": "test"}
        return _bundle(("inference", "evaluate"), **options)

    _campaign(runs, evaluate, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_run_folds(runs: Runs, tree: Path, number: int) -> None:
    training = {key: value for key, value in TINY_TRAINING.items() if key != "datasets"}

    def run_folds(folder: Path) -> Command:
        options = {"output_dir": folder, "dataset_dir": tree, "train_datasets": "IXI", "datasets": "Brats21", "folds": "[0]"}
        return ["tools.run_folds", *_words({**options, "train_options": training, "evaluate_options": EVALUATION})]

    _campaign(runs, run_folds, number)
