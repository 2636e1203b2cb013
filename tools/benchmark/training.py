"""Samples a second of a training, and what a step takes: `python -m tools.benchmark.training --help`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from scripts.options.command import run_command
from scripts.options.fields import PathText, Text, list_of

if TYPE_CHECKING:
    from tools.benchmark.measure import Measure

__all__ = ["main", "training_speed"]

logger = logging.getLogger(__name__)
_PLAIN: dict[str, Any] = {"source": "memory", "dtype": "bfloat16", "network": "shipped"}
# name -> how it differs from the plain run: the shipped network in bfloat16 on batches that are in memory
_VARIANTS: dict[str, dict[str, Any]] = {
    "batches in memory": {},
    "loader": {"source": "loader"},
    "float32": {"dtype": "float32"},
    "torch.compile": {"compiled": True},
    "channels last": {"channels_last": True},
    "activation checkpointing": {"checkpointing": True},
    "two processes, loader": {"source": "loader", "processes": 2},
    "paper's network": {"network": "reference", "dtype": "float32"},
    "paper's network, bfloat16": {"network": "reference"},
    "paper's network, activation checkpointing": {"network": "reference", "checkpointing": True},
}
_OVER = {"two processes, loader": "loader", "paper's network, bfloat16": "paper's network"}
_OVER["paper's network, activation checkpointing"] = "paper's network, bfloat16"
_PAPER_SHARE = 10  # the paper's network gets a tenth of the steps: one takes some twenty times as long


def training_speed(
    *,
    output_dir: PathText = "runs/training_speed",
    dataset_dir: PathText | None = None,
    variants: list_of(Text) | None = None,  # type: ignore[valid-type]
    steps: Annotated[int, Field(ge=2, le=100_000)] = 60,
    rounds: Annotated[int, Field(ge=1, le=100)] = 2,
    table: PathText | None = None,
    quick: bool = False,
) -> None:
    """Time training steps of train.yaml, each variant in a fresh process with one thread, in turns.

    Writes training.json and training.md after each run, and the lines of the table after the last one of each variant:
    what ends it leaves what was measured. The loader's rate over that of batches in memory says whether the loader is
    the limit (it has a process of its own and needs a second core).

    Args:
        output_dir: folder of the two files.
        dataset_dir: DATA_DIR with ds002748; phantoms if None.
        variants: which to run, by the names in the table; all by default.
        steps: timed ones a variant and round, after three to warm up; of the paper's network a tenth.
        rounds: times that each variant is run.
        table: CSV file that gets a line for each measure; not of a quick run.
        quick: two steps on small phantoms, to see that it works; the figures mean nothing.

    Raises:
        InputError: if a variant is unknown.
    """
    from scripts.data.folders import check_writable
    from scripts.data.phantom import write_phantom_tree
    from scripts.errors import InputError
    from tools.benchmark.measure import append_measures, describe_machine

    wanted = variants or list(_VARIANTS)
    unknown = [name for name in wanted if name not in _VARIANTS]
    if unknown:
        raise InputError(f"`variants` must be out of {', '.join(_VARIANTS)}, got {', '.join(unknown)}")
    chosen = [name for name in _VARIANTS if name in wanted]  # what others are compared with comes before them
    check_writable(output_dir)
    machine: dict[str, Any] = {**describe_machine(), "threads": 1}
    found: dict[str, list[dict[str, float]]] = {}
    last = 1 if quick else rounds
    with tempfile.TemporaryDirectory() as folder:
        data = dataset_dir or str(write_phantom_tree(Path(folder) / "data", datasets=["ds002748"], num_train=8))
        for turn, name in product(range(1, last + 1), chosen):
            logger.info("%s, round %d of %d ...", name, turn, last)
            count = max(steps // (_PAPER_SHARE if name.startswith("paper") else 1), 2)
            figures = _run({**_PLAIN, **_VARIANTS[name]}, data, steps=2 if quick else count, quick=quick)
            found.setdefault(name, []).append(figures)
            report = _write(Path(output_dir), found, machine)
            if table is not None and turn == last and not quick:
                append_measures(table, list(_measures(name, found)), machine)
    logger.info("%s\nwritten to %s", report, Path(output_dir).absolute())


def _write(folder: Path, found: Mapping[str, list[dict[str, float]]], machine: Mapping[str, Any]) -> str:
    """Write what was measured so far, and return it as Markdown."""
    from scripts.report.tables import write_json, write_text
    from tools.benchmark.measure import measures_table

    measures = [measure for name in found for measure in _measures(name, found)]
    report = (
        f"# Training speed\n\n{machine['cpu']}, {machine['cores']} cores, one thread a process, "
        f"load {machine['load']} at the start, torch {machine['torch']}.\n\n{measures_table(measures)}"
    )
    write_json(folder / "training.json", {"machine": machine, "measures": [one.row() for one in measures]})
    write_text(folder / "training.md", report)
    return report


def _run(variant: Mapping[str, Any], dataset_dir: str, *, steps: int, quick: bool) -> dict[str, float]:
    from tools.benchmark.memory import measure_apart

    options = [f"--{name}={value}" for name, value in variant.items() if name != "processes"]
    options += [f"--dataset_dir={dataset_dir}", f"--steps={steps}", f"--quick={quick}"]
    module, processes = "tools.benchmark.training_run", variant.get("processes", 1)
    if processes == 1:
        return measure_apart(module, *options)
    launch = ["--standalone", f"--nproc_per_node={processes}", "-m", module]
    return measure_apart("torch.distributed.run", *launch, *options)


def _measures(name: str, found: Mapping[str, list[dict[str, float]]]) -> Iterator[Measure]:
    from tools.benchmark.measure import Measure

    rates = [one["samples_a_second"] for one in found[name]]
    yield Measure(f"training, {name}, batches of {found[name][0]['batch_size']}", "samples a second", rates)
    yield Measure(f"training, {name}, peak of a step", "MiB", [one["peak_mib"] for one in found[name]])
    other = _OVER.get(name, "batches in memory")
    if other in found and other != name:
        pairs = zip(rates, found[other], strict=False)  # the rounds so far
        ratios = [rate / one["samples_a_second"] for rate, one in pairs]
        yield Measure(f"training, {name} over {other}", "times", ratios)


def main() -> None:
    """Run `training_speed` from the command line."""
    run_command(training_speed)


if __name__ == "__main__":
    main()
