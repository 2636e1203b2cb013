"""A phantom tree, a tiny network trained on it through the bundle, and a way to call the bundle."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import monai.bundle
import pytest

from scripts.data.phantom import write_phantom_tree
from scripts.errors import reason
from tests.tiny import TINY_NETWORK

TINY_TRAINING = {
    **TINY_NETWORK,
    "datasets": ["IXI"],
    "num_workers": 0,
    "slices_per_volume": 8,
    "batch_size": 4,
    "max_epochs": 2,
    "val_interval": 1,
    "warmup_steps": 2,
    "ema_momentum": 0.2,
}

# Phantoms lie on the template grid of their own, and no extractor knows them.
FAST = {
    **TINY_NETWORK,
    "num_samples": 2,
    "erosion": 0,
    "median_size": 0,
    "progress": False,
    "modality": "t1",
    "brain_extraction": "never",
    "alignment": "never",
    "quality_control": False,
}


def run_command(root: Path, *arguments: str, launcher: tuple[str, ...] = (), **overrides: object) -> subprocess.CompletedProcess:
    """Run `python -m monai.bundle run …` (or with torchrun) as a person would, from the repository."""
    flags = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, *launcher, "-m", "monai.bundle", "run", *arguments, *flags]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)


def check_refusal(config: Path | list[str], folder: Path, message: str, **options: object) -> None:
    """Check that a training with these options fails for the reason that `message` matches, and leaves no weights."""
    with pytest.raises((RuntimeError, ValueError)) as caught:
        monai.bundle.run("training", config_file=config if isinstance(config, list) else str(config), output_dir=str(folder / "run"), **options)
    assert re.search(message, str(reason(caught.value)))
    assert not list(folder.rglob("*.pt"))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms in the layout of the published data sets."""
    return write_phantom_tree(tmp_path_factory.mktemp("tree"), datasets=("IXI", "Brats21"), shape=(32, 32, 16))


@pytest.fixture(scope="session")
def trained(root: Path, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """The folder of a finished tiny training run, and what the command printed."""
    folder = tmp_path_factory.mktemp("trained")
    config = "bundle/configs/train.yaml"
    done = run_command(root, "training", config_file=config, dataset_dir=tree, output_dir=folder, **TINY_TRAINING)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


@pytest.fixture
def models(trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path) -> Path:
    """A folder of models with the weights of that run."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(trained[0] / "model.pt", folder)
    return folder
