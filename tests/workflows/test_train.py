"""Training through the bundle's command line."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import monai.bundle
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .conftest import TINY_TRAINING, check_refusal, run_command

CONFIG = "bundle/configs/train.yaml"
Trained = tuple[Path, subprocess.CompletedProcess]


def test_training_leaves_the_best_weights_a_checkpoint_and_curves(trained: Trained) -> None:
    folder, done = trained
    weights = torch.load(folder / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert set(checkpoint) == {"network", "ema", "optimizer", "lr_scheduler", "best", "early_stop", "trainer"}
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"train_loss", "val_mean_absolute_error"} <= set(events.Tags()["scalars"])
    assert "training" in done.stderr, "a progress bar is shown"


def test_resuming_goes_on_where_the_run_stopped(root: Path, tree: Path, trained: Trained, tmp_path: Path) -> None:
    folder, _ = trained
    (tmp_path / "checkpoint.pt").write_bytes((folder / "checkpoint.pt").read_bytes())
    options = {**TINY_TRAINING, "max_epochs": 3, "resume": True}
    done = run_command(root, "training", config_file=CONFIG, dataset_dir=tree, output_dir=tmp_path, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "after epoch 2" in done.stderr
    assert "Epoch[3]" in done.stderr
    assert "Epoch[2] Complete" not in done.stderr
    before = torch.load(folder / "checkpoint.pt", weights_only=True)["trainer"]["iteration"]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["trainer"]["iteration"] == before // 2 * 3


def test_two_processes_train_one_network(root: Path, tree: Path, tmp_path: Path) -> None:
    configs = f"['{CONFIG}','bundle/configs/multi_gpu_train.yaml']"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = run_command(
        root, "training", launcher=launcher, config_file=configs, dataset_dir=tree, output_dir=tmp_path, **TINY_TRAINING
    )
    assert done.returncode == 0, done.stderr[-3000:]
    values = re.findall(r"SupervisedEvaluator: Got new best metric of val_mean_absolute_error: ([0-9.]+)", done.stderr)
    assert len(values) >= 2
    assert len(set(values)) == len(values) // 2, "both processes must see the same validation"
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in weights)


def test_mlflow_tracking_is_one_flag(root: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # for monai 1.5.2, as the README says
    options = {**TINY_TRAINING, "max_epochs": 1, "tracking": "mlflow"}
    done = run_command(root, "training", config_file=CONFIG, dataset_dir=tree, output_dir=tmp_path, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    database, folder = tmp_path / "mlruns.db", tmp_path / "mlruns"
    assert database.stat().st_size > 0 if database.is_file() else any(folder.rglob("train_loss"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dataset_dir": "nowhere"}, "nowhere"),
        ({"modality": "flair"}, r"`modality` must be one of .*t1.*flair"),
        ({"fold": 7}, r"fold"),
        ({"datasets": ["IXJ"]}, r"must be one of .*IXI.*got 'IXJ'"),
        ({"resume": True}, "no checkpoint to resume from"),
        ({"init_weights": "none.pt"}, "none.pt: the checkpoint does not exist"),
        ({"network_def#conditioning": "magic"}, r"`conditioning` must be one of .*film.*'magic'"),
        ({"val_timestep": 1000}, r"`timestep` must be .*999, got 1000"),
    ],
)
def test_wrong_options_say_what_is_wrong_and_leave_nothing(
    root: Path, tree: Path, tmp_path: Path, overrides: dict, message: str
) -> None:
    check_refusal(root / CONFIG, tmp_path, message, **{"dataset_dir": str(tree), **TINY_TRAINING, **overrides})


def test_a_failing_command_ends_with_the_reason(root: Path, tmp_path: Path) -> None:
    done = run_command(root, "training", config_file=CONFIG, dataset_dir=tmp_path / "nowhere", output_dir=tmp_path / "run")
    assert done.returncode == 1
    assert re.match("error: .*nowhere", done.stderr.strip().splitlines()[-1])
    assert "Traceback" not in done.stderr


def test_training_stops_when_validation_no_longer_improves(root: Path, tree: Path, tmp_path: Path) -> None:
    options = {**TINY_TRAINING, "max_epochs": 9, "patience": 2, "learning_rate": 0.0, "warmup_steps": 0}
    options |= {"noise": "gaussian", "network_def#conditioning": "none", "ema_ramp": "false", "ema_momentum": 1e-9}
    monai.bundle.run(
        "training", config_file=str(root / CONFIG), dataset_dir=str(tree), output_dir=str(tmp_path), **options
    )
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["trainer"]
    assert state["iteration"] // state["epoch_length"] == 3, "one validation sets the best, two do not beat it"
