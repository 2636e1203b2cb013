"""Pretraining through the bundle's command line, and the training that takes its encoder."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import matplotlib.image
import monai.bundle
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.errors import reason

from .conftest import TINY_TRAINING, check_refusal, run_command

CONFIGS = "'bundle/configs/train.yaml','bundle/configs/pretrain.yaml'"
TINY = {
    "datasets": ["IXI"],
    "grid_size": [64, 64, 16],
    "network_def#encoder#block_inplanes": [4, 4, 8, 8],
    "num_workers": 0,
    "slices_per_volume": 8,
    "batch_size": 8,
    "max_epochs": 2,
    "val_interval": 1,
    "val_slices": 4,
    "warmup_steps": 2,
}
Pretrained = tuple[Path, subprocess.CompletedProcess]


def _paths(root: Path) -> list[str]:
    return [str(root / "bundle" / "configs" / name) for name in ("train.yaml", "pretrain.yaml")]


@pytest.fixture(scope="module")
def pretrained(root: Path, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    folder = tmp_path_factory.mktemp("pretrained")
    done = run_command(root, "training", config_file=f"[{CONFIGS}]", dataset_dir=tree, output_dir=folder, **TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


def test_pretraining_leaves_the_best_encoder_a_checkpoint_curves_and_a_picture(pretrained: Pretrained) -> None:
    folder, done = pretrained
    state = torch.load(folder / "encoder.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state.values())
    assert {"conv1.weight", "bn1.running_mean", "layer4.0.downsample.1.weight"} <= set(state)
    assert not any(name.startswith(("fc.", "encoder.", "decoder.")) for name in state)
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert set(checkpoint) == {"network", "optimizer", "lr_scheduler", "best", "trainer"}
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"train_loss", "val_masked_patch_loss"} <= set(events.Tags()["scalars"])
    assert matplotlib.image.imread(folder / "reconstructed.png").std() > 0.05
    assert "pretraining" in done.stderr, "a progress bar is shown"
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == ["checkpoint.pt", "encoder.pt", "reconstructed.png", "tensorboard"]


def test_resuming_goes_on_where_the_run_stopped(root: Path, tree: Path, pretrained: Pretrained, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes((pretrained[0] / "checkpoint.pt").read_bytes())
    options = {**TINY, "max_epochs": 3, "resume": True}
    monai.bundle.run("training", config_file=_paths(root), dataset_dir=str(tree), output_dir=str(tmp_path), **options)
    before = torch.load(pretrained[0] / "checkpoint.pt", weights_only=True)
    after = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert after["trainer"]["iteration"] == before["trainer"]["iteration"] // 2 * 3
    assert after["lr_scheduler"]["last_epoch"] == before["lr_scheduler"]["last_epoch"] // 2 * 3


def test_training_starts_from_the_encoder_also_beside_other_weights(
    root: Path, tree: Path, trained: Pretrained, pretrained: Pretrained, tmp_path: Path
) -> None:
    # a rate of zero leaves the weights; the running statistics of batch norm move with every step all the same
    options = {**TINY_TRAINING, "max_epochs": 1, "learning_rate": 0.0, "init_weights": str(trained[0] / "model.pt")}
    options |= {"encoder_path": str(pretrained[0] / "encoder.pt")}
    monai.bundle.run(
        "training", config_file=str(root / "bundle/configs/train.yaml"), dataset_dir=str(tree), output_dir=str(tmp_path), **options
    )
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    encoder = torch.load(pretrained[0] / "encoder.pt", weights_only=True)
    rest = torch.load(trained[0] / "model.pt", weights_only=True)
    for name, value in state.items():
        own = name.removeprefix("encoder.")
        if not re.search(r"running_|num_batches", name):
            # the moving average of equal weights is equal up to a rounding error of each step
            torch.testing.assert_close(value, encoder.get(own, rest[name]) if own != name else rest[name], rtol=1e-6, atol=1e-7)


def test_two_processes_pretrain_one_encoder(root: Path, tree: Path, tmp_path: Path) -> None:
    configs = f"[{CONFIGS},'bundle/configs/multi_gpu_pretrain.yaml']"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = run_command(
        root, "training", launcher=launcher, config_file=configs, dataset_dir=tree, output_dir=tmp_path, **TINY | {"max_epochs": 1}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    values = re.findall(r"SupervisedEvaluator: Got new best metric of val_masked_patch_loss: ([0-9.]+)", done.stderr)
    assert len(values) == 2
    assert values[0] == values[1], "both processes must see the same validation"
    names = torch.load(tmp_path / "encoder.pt", weights_only=True)
    assert "conv1.weight" in names
    assert (tmp_path / "reconstructed.png").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"grid_size": [100, 96, 80]}, r"multiple of the patch of 32 pixels in height and width, got 100×96\. .*`grid_size`.*96×96"),
        ({"grid_size": [32, 32, 16]}, r"must leave a patch visible and mask one, got 0.65 of 1×1 patches"),
        ({"mask_ratio": 1.2}, r"`mask_ratio` must be above 0 and below 1, got 1.2"),
        ({"loss_target": "sharp"}, r"`target` must be one of per_patch, plain, got 'sharp'"),
        ({"network_def#encoder#spatial_dims": 3}, r"must be a monai.networks.nets.ResNet in 2D"),
        ({"resume": True}, "no checkpoint to resume from"),
    ],
)
def test_wrong_options_say_what_is_wrong_and_leave_nothing(
    root: Path, tree: Path, tmp_path: Path, overrides: dict, message: str
) -> None:
    check_refusal(_paths(root), tmp_path, message, dataset_dir=str(tree), **TINY | overrides)


def test_an_encoder_of_another_size_ends_training_with_what_does_not_fit(
    root: Path, tree: Path, pretrained: Pretrained, tmp_path: Path
) -> None:
    options = {**TINY_TRAINING, "network_def#encoder#block_inplanes": [4, 4, 4, 8], "encoder_path": str(pretrained[0] / "encoder.pt")}
    with pytest.raises((RuntimeError, ValueError)) as caught:
        monai.bundle.run(
            "training", config_file=str(root / "bundle/configs/train.yaml"), dataset_dir=str(tree), output_dir=str(tmp_path), **options
        )
    assert re.search(r"encoder\.pt: the weights do not fit.*layer3\.0\.conv1\.weight.*`network_def#encoder`", str(reason(caught.value)))
