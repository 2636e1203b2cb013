"""Time and memory of some training steps in this process: what `tools.benchmark.training` starts for each variant."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.paths import bundle_root
from tools.benchmark.memory import measure_peak

__all__ = ["main", "training_run"]

_WARM_UP = 3


def training_run(
    result: PathText,
    *,
    dataset_dir: PathText,
    steps: int,
    source: Literal["memory", "loader"] = "memory",
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
    network: Literal["shipped", "reference"] = "shipped",
    compiled: bool = False,
    channels_last: bool = False,
    checkpointing: bool = False,
    quick: bool = False,
) -> None:
    """Train for some steps and write `samples_a_second`, `peak_mib` of a step and `batch_size` as JSON.

    Args:
        result: file to write; the first process writes it.
        dataset_dir: DATA_DIR with ds002748.
        steps: timed ones, after three to warm up.
        source: where batches come from: the config's loader, or a few that were loaded before.
        dtype: of convolutions and products.
        network: that of train.yaml, or the paper's.
        compiled: through torch.compile.
        channels_last: keep images with their channels last.
        checkpointing: compute activations again in the backward pass.
        quick: small slices and batches.
    """
    distributed = torch.distributed.is_torchelastic_launched()
    parser = _parser(network, distributed=distributed)
    parser.update({
        "dataset_dir": str(dataset_dir), "datasets": ["ds002748"], "device": "cpu", "train#handlers": [],
        "autocast_dtype": None if dtype == "float32" else dtype, "activation_checkpointing": checkpointing,
        "max_epochs": 1,
    })  # fmt: skip
    if quick:
        parser.update({"grid_size": [32, 32, 16], "batch_size": 2})
    parser.parse(reset=True)
    if distributed:
        torch.distributed.init_process_group("gloo")
    loader = parser.get_parsed_content("train#dataloader")
    trainer = parser.get_parsed_content("train#trainer")
    if channels_last:
        trainer.network = trainer.network.to(memory_format=torch.channels_last)
    if compiled:
        trainer.network = torch.compile(trainer.network)
    batches = _endless(loader) if source == "loader" else cycle(list(islice(_endless(loader), 2)))
    rate, peak = _measure(trainer, batches, steps)
    world = torch.distributed.get_world_size() if distributed else 1
    figures = {"samples_a_second": rate * loader.batch_size * world, "peak_mib": peak, "batch_size": loader.batch_size}
    if not distributed or torch.distributed.get_rank() == 0:
        Path(result).write_text(json.dumps(figures), encoding="utf-8")
    if distributed:
        torch.distributed.destroy_process_group()


def _parser(network: str, *, distributed: bool) -> ConfigParser:
    names = ["train", *(["network_reference"] if network == "reference" else [])]
    names += ["multi_gpu_train"] if distributed else []
    parser = ConfigParser()
    parser.read_config([str(Path(bundle_root()) / "configs" / f"{name}.yaml") for name in names])
    return parser


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def _measure(trainer: Any, batches: Iterator[Any], steps: int) -> tuple[float, float]:
    """Return steps a second, and how far memory rises in one step, MiB."""
    times: list[float] = []

    def note(_: Engine) -> None:
        times.append(time.perf_counter())

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.data_loader = batches
    trainer.state.epoch_length = _WARM_UP + steps
    trainer.run()
    rate = steps / (times[-1] - times[-1 - steps])
    batch = next(batches)
    trainer.optimizer.zero_grad()
    peak = measure_peak(lambda: trainer._iteration(trainer, batch))
    return rate, peak


def main() -> None:
    """Run `training_run` from the command line."""
    run_command(training_run)


if __name__ == "__main__":
    main()
