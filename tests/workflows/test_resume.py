"""A training that was interrupted and resumed gives the weights of one that was not, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from .conftest import TINY_TRAINING

CONFIG = "bundle/configs/train.yaml"


def _train(root: Path, tree: Path, folder: Path, *, stop_at: int | None = None, **options: object) -> dict:
    """Train, or until an iteration, and return the checkpoint."""
    options = {**TINY_TRAINING, "dataset_dir": str(tree), "output_dir": str(folder), "max_epochs": 4, **options}
    workflow = ConfigWorkflow(str(root / CONFIG), workflow_type="train", run_id="training", **options)
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    if stop_at is not None:

        @trainer.on(Events.ITERATION_COMPLETED(once=stop_at))
        def killed(engine: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            workflow.run()
    else:
        workflow.run()
    workflow.finalize()
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def _assert_same(first: object, second: object, where: str = "") -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            _assert_same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            _assert_same(one, other, f"{where}/{index}")
    else:
        assert first == second, where


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_resumed_training_gives_the_weights_of_an_undisturbed_one(root: Path, tree: Path, tmp_path: Path, num_workers: int) -> None:
    straight = _train(root, tree, tmp_path / "straight", num_workers=num_workers)
    length = straight["trainer"]["epoch_length"]
    assert length > 1
    broken = _train(root, tree, tmp_path / "parts", num_workers=num_workers, stop_at=2 * length + 1)
    assert broken["trainer"]["iteration"] == 2 * length
    resumed = _train(root, tree, tmp_path / "parts", num_workers=num_workers, resume=True)
    for name in ("network", "ema", "optimizer", "lr_scheduler", "early_stop", "trainer"):
        _assert_same(straight[name], resumed[name], name)
    models = [torch.load(tmp_path / part / "model.pt", weights_only=True) for part in ("straight", "parts")]
    _assert_same(*models)


def test_a_resumed_training_keeps_its_patience(root: Path, tree: Path, tmp_path: Path) -> None:
    # no validation is better than the first one where nothing is learnt
    still = {"learning_rate": 1e-30, "ema_momentum": 1e-6, "ema_ramp": False, "patience": 3, "max_epochs": 9}
    straight = _train(root, tree, tmp_path / "straight", **still)
    length = straight["trainer"]["epoch_length"]
    assert straight["trainer"]["iteration"] == 4 * length
    broken = _train(root, tree, tmp_path / "parts", stop_at=3 * length + 1, **still)
    assert broken["early_stop"]["counter"] == 2
    resumed = _train(root, tree, tmp_path / "parts", resume=True, **still)
    assert resumed["trainer"]["iteration"] == 4 * length


ONE_OF_TWO = """
import json, os, signal, sys
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
configs, options, stop_at = json.loads(sys.argv[1])
workflow = ConfigWorkflow(configs, workflow_type="train", run_id="training", **options)
workflow.initialize()
if stop_at is not None:
    trainer = workflow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_STARTED(once=stop_at), lambda: os.kill(os.getpid(), signal.SIGKILL))
workflow.run()
workflow.finalize()
"""


def _train_in_two(root: Path, tree: Path, folder: Path, *, stop_at: int | None = None, **options: object) -> tuple[dict, str]:
    """Train in two processes, each of which kills itself at the iteration `stop_at`; return the checkpoint and the log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    configs = [str(root / name) for name in (CONFIG, "bundle/configs/multi_gpu_train.yaml")]
    options = {**TINY_TRAINING, "dataset_dir": str(tree), "output_dir": str(folder), "max_epochs": 4, **options}
    command = [sys.executable, "-c", ONE_OF_TWO, json.dumps([configs, options, stop_at])]
    shared = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    shared |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    log = folder.with_suffix(".log")
    with log.open("w") as file:
        environments = [{**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
        processes = [subprocess.Popen(command, cwd=root, env=each, stdout=file, stderr=file) for each in environments]
    try:
        for process in processes:
            process.wait(timeout=250)
    finally:
        for process in processes:
            process.kill()
    codes = [process.returncode for process in processes]
    # the one that is killed later may find the other gone before that
    assert codes == [0, 0] if stop_at is None else -signal.SIGKILL in codes, log.read_text()[-3000:]
    return torch.load(folder / "checkpoint.pt", weights_only=True), log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_that_were_killed_go_on_to_the_weights_of_undisturbed_ones(root: Path, tree: Path, tmp_path: Path) -> None:
    straight, _ = _train_in_two(root, tree, tmp_path / "straight")
    length = straight["trainer"]["epoch_length"]
    assert length > 1
    broken, _ = _train_in_two(root, tree, tmp_path / "parts", stop_at=2 * length + 2)
    assert broken["trainer"]["iteration"] == 2 * length
    resumed, log = _train_in_two(root, tree, tmp_path / "parts", resume=True)
    assert log.count("after epoch 2") == 2, "both went on"
    for name in ("network", "ema", "optimizer", "lr_scheduler", "early_stop", "trainer"):
        _assert_same(straight[name], resumed[name], name)
    _assert_same(*(torch.load(tmp_path / part / "model.pt", weights_only=True) for part in ("straight", "parts")))
    one = _train(root, tree, tmp_path / "one")
    assert not torch.equal(next(iter(one["network"].values())), next(iter(straight["network"].values())))  # two took part
