"""Measure speed and memory of the map and of a whole scan: `python -m tools.benchmark --help`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from scripts.errors import InputError
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.report.tables import write_json, write_text

if TYPE_CHECKING:
    from scripts.ops import Score
    from tools.benchmark.measure import Measure

__all__ = ["benchmark", "main", "markdown_report"]


def markdown_report(results: Mapping[str, Any]) -> str:
    """Return machine, options and measures of a benchmark as Markdown.

    Args:
        results: `machine`, `options` and `measures`.
    """
    from tools.benchmark.measure import measures_table
    from tools.benchmark.memory import MEMORY_METHOD

    machine, options = results["machine"], results["options"]
    return (
        f"# Benchmark\n\n{machine['cpu']}, {machine['cores']} cores, {machine['threads']} thread(s), 1-minute load "
        f"{machine['load']} at the start, torch {machine['torch']}, Python {machine['python']}. K = "
        f"{options['num_samples']} reconstructions of {options['num_slices']} slices of {options['size']} × "
        f"{options['size']} pixels, float32; {options['num_scans']} scans. Repeats come after a warm-up; ratios are "
        f"taken within one run.\n\n{measures_table(results['measures'])}\n{MEMORY_METHOD}\n"
    )


logger = logging.getLogger(__name__)
_QUICK = {
    "num_samples": 4, "num_slices": 4, "size": 32, "repeats": 2, "volume_repeats": 1, "dense_slices": 1, "num_scans": 2,
}  # fmt: skip
_Positive = Annotated[int, Field(ge=1, le=100_000)]


def benchmark(
    *,
    output_dir: PathText = "runs/benchmark",
    input: PathText | None = None,
    brain_mask: PathText | None = None,
    num_samples: Annotated[int, Field(ge=3, le=10_000)] = 10,
    num_slices: _Positive = 50,
    size: Annotated[int, Field(ge=16, le=4096)] = 96,
    repeats: _Positive = 15,
    volume_repeats: _Positive = 3,
    dense_slices: _Positive = 1,
    num_scans: Annotated[int, Field(ge=2, le=10_000)] = 4,
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None,
    skip_dense: bool = False,
    skip_end_to_end: bool = False,
    skip_cohort: bool = False,
    table: PathText | None = None,
    quick: bool = False,
) -> None:
    """Measure the map against a copy and a dense inverse, the network, one scan by part, several scans, and memory.

    Writes benchmark.json and benchmark.md and logs the table; nothing is downloaded.

    Args:
        output_dir: folder of the two files.
        input: NIfTI file for the way from scan to anomaly map; by default nilearn's MNI152 T1 template at 1 mm.
        brain_mask: NIfTI file with its brain mask; by default the voxels of the input that are not zero.
        num_samples: K, the reconstructions, at least 3.
        num_slices: slices of a volume.
        size: height and width of a slice in pixels, a multiple of 8.
        repeats: timed calls of each map.
        volume_repeats: timed runs from scan to anomaly map.
        dense_slices: slices that the dense inverse does, each in seconds and, at 96×96, 0.4 GB; it is timed once, and
            its time a slice is what the low-rank map's time a slice is compared with.
        num_scans: copies of the scan that one and two processes analyse.
        threads: threads of torch; its own choice if None.
        skip_dense: leave the dense inverse out.
        skip_end_to_end: leave the whole scan, several scans and the network out.
        skip_cohort: leave several scans out.
        table: CSV file that gets a line for each measure; not of a quick run.
        quick: cap all sizes and repeats so that it takes seconds, to see that it works; the figures mean nothing.

    Raises:
        InputError: if a number is out of its range, or the input does not exist or cannot be used.
    """
    given = locals()
    options: dict[str, int] = {name: given[name] for name in _QUICK}
    if size % 8:
        raise InputError(f"`size` must be a multiple of 8 for the network, got {size}")
    if dense_slices > num_slices:
        raise InputError(f"`dense_slices` must be at most `num_slices` ({num_slices}), got {dense_slices}")
    if quick:
        options = {name: min(value, _QUICK[name]) for name, value in options.items()}
    case = _case(input, brain_mask)
    from scripts.data.folders import check_writable
    from scripts.ops import Score
    from tools.benchmark.measure import append_measures, describe_machine, limit_threads

    check_writable(output_dir)
    with limit_threads(threads):
        machine = describe_machine()
        measures = _map_measures(options, skip_dense=skip_dense, memory_scores=(Score.REFERENCE,) if quick else Score)
        if not skip_end_to_end:
            measures += _volume_measures(options, case, skip_cohort=skip_cohort)
    about: dict[str, Any] = {"machine": machine, "options": {**options, "quick": quick}}
    report = markdown_report({**about, "measures": measures})
    folder = Path(output_dir)
    write_json(folder / "benchmark.json", {**about, "measures": [measure.row() for measure in measures]})
    write_text(folder / "benchmark.md", report)
    if table is not None and not quick:
        append_measures(table, measures, machine)
        logger.info("%s: %d lines more", table, len(measures))
    logger.info("%s\nwritten to %s", report, folder.absolute())


def _case(image: PathText | None, brain_mask: str | None) -> dict[str, str] | None:
    """Return the paths of the given scan, None where the template is to be used; check them before anything runs."""
    if image is None:
        if brain_mask is not None:
            raise InputError("`brain_mask` must come with its `input`, got a mask alone")
        return None
    case = {"image": str(image)} if brain_mask is None else {"image": str(image), "brain_mask": str(brain_mask)}
    for path in case.values():
        if not Path(path).is_file():
            raise InputError("the file does not exist", path=path, fix="Give the path of a NIfTI file.")
    return case


def _map_measures(options: dict[str, int], *, skip_dense: bool, memory_scores: Iterable[Score]) -> list[Measure]:
    """Return time and memory of the map."""
    from tools.benchmark.maps import benchmark_dense_inverse, benchmark_low_rank, make_cloud

    repeats = options["repeats"]
    logger.info("map ...")
    cloud = make_cloud(options["num_samples"], options["num_slices"], options["size"])
    measures = benchmark_low_rank(*cloud, repeats=repeats)
    parts = {"copy of the reconstructions": "copy"}
    parts |= {f"low-rank map, {score}": score.value for score in memory_scores}
    if not skip_dense:
        measures += benchmark_dense_inverse(*cloud, dense_slices=options["dense_slices"], repeats=repeats)
        parts["dense inverse, one slice"] = "dense"
    logger.info("peak memory ...")
    return measures + [_memory(name, "memory", options, "--part", part) for name, part in parts.items()]


def _volume_measures(options: dict[str, int], case: dict[str, str] | None, *, skip_cohort: bool) -> list[Measure]:
    """Return what the network reaches, time and memory of a whole scan, and scans an hour."""
    from tools.benchmark.cohort import benchmark_cohort
    from tools.benchmark.network import benchmark_network
    from tools.benchmark.volume import VolumePipeline, benchmark_volume, template_case

    sizes = {name: options[name] for name in ("num_samples", "num_slices", "size")}
    with tempfile.TemporaryDirectory() as folder:
        scan = case or template_case(Path(folder))
        measures = benchmark_network(size=options["size"], repeats=options["repeats"])
        pipeline = VolumePipeline(**sizes, output_dir=str(Path(folder) / "maps"))
        measures += benchmark_volume(scan, pipeline, repeats=options["volume_repeats"])
        paths = [f"--{key}={path}" for key, path in scan.items()]
        measures.append(_memory("scan to anomaly map", "volume", options, *paths))
        if not skip_cohort:
            logger.info("several scans ...")
            measures += benchmark_cohort(scan, num_scans=options["num_scans"], num_samples=options["num_samples"])
    return measures


def _memory(name: str, module: str, options: dict[str, int], *arguments: str) -> Measure:
    from tools.benchmark.measure import Measure
    from tools.benchmark.memory import measure_apart

    sizes = [f"--{name}={options[name]}" for name in ("num_samples", "num_slices", "size")]
    return Measure(f"peak memory, {name}", "MiB", [measure_apart(f"tools.benchmark.{module}", *arguments, *sizes)])


def main() -> None:
    """Run `benchmark` from the command line."""
    run_command(benchmark)


if __name__ == "__main__":
    main()
