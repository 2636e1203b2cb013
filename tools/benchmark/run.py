"""Measure speed and memory of the map and of a whole scan: `python -m tools.benchmark --help`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from scripts.errors import InputError
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.report.tables import markdown_table, write_json, write_text

if TYPE_CHECKING:
    from scripts.ops import Score

__all__ = ["benchmark", "main", "markdown_report"]


def markdown_report(results: Mapping[str, Any]) -> str:
    """Return the figures of `benchmark.json` as Markdown, with what they were measured on.

    Args:
        results: content of `benchmark.json`; the parts that were skipped may be missing.
    """
    machine, options = results["machine"], results["options"]
    sections = [
        "# Benchmark",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} thread(s), 1-minute load "
        f"{machine['load_average_1min']:.1f} at the start, torch {machine['torch']}, Python {machine['python']}.",
        f"K = {options['num_samples']} reconstructions of {options['num_slices']} slices of {options['size']}×"
        f"{options['size']}, float32, {results['pixels_per_slice']:.0f} brain pixels a slice. Median "
        "(minimum–maximum) of repeats after a warm-up; ratios within one run.",
        "## Low-rank map of the volume, against a copy of the reconstructions",
        _map_table(results["low_rank"]),
    ]
    if "dense" in results:
        sections += ["## Low-rank map against a dense inverse (score reference, extent slice)"]
        sections += [_dense_table(results["dense"])]
    sections += ["## Peak memory", _memory_table(results["memory"]), results["memory_method"]]
    if "end_to_end" in results:
        sections += ["## From scan to anomaly map", *_volume_sections(results["end_to_end"])]
        sections += ["## The network", _network_table(results["network"])]
    if "cohort" in results:
        sections += ["## Several scans, processes with one thread", _cohort_table(results["cohort"], options)]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _spread(summary: Mapping[str, float], *, scale: float = 1.0, digits: int = 1) -> str:
    low, middle, high = (f"{summary[name] * scale:.{digits}f}" for name in ("min", "median", "max"))
    return f"{middle} ({low}–{high})"


def _map_table(rows: list[Mapping[str, Any]]) -> str:
    lines = [
        [row["score"], row["extent"]]
        + [_spread(row[kind + "seconds"], scale=1e3) for kind in ("", "cpu_")]
        + [_spread(row[kind + "times_copy"]) for kind in ("", "cpu_")]
        for row in rows
    ]
    header = ["score", "extent", "ms", "CPU ms", "times a copy", "times a copy, CPU time"]
    return markdown_table(header, lines)


def _dense_table(dense: Mapping[str, Any]) -> str:
    single, double = dense["difference"]["float32"], dense["difference"]["float64"]
    rows = [
        [f"dense inverse, s a slice ({dense['slices']} measured)", f"{dense['dense_seconds_per_slice']:.2f}"],
        ["dense inverse, CPU s a slice", f"{dense['dense_cpu_seconds_per_slice']:.2f}"],
        ["low-rank, the same slices alone, ms", _spread(dense["low_rank_seconds_same_slices"], scale=1e3, digits=2)],
        ["low-rank, the whole volume, ms", _spread(dense["low_rank_seconds_volume"], scale=1e3, digits=1)],
        ["times faster, same slices", f"{dense['speedup_same_slices']:,.0f}"],
        ["times faster, per slice of the volume", f"{dense['speedup_per_slice']:,.0f}"],
        ["largest difference, float32 (of the maximum)", f"{single['max_abs']:.1e} ({single['max_relative']:.1e})"],
        ["NaN in one map alone, float32", str(single["nan_in_one"])],
        ["largest difference, float64 (of the maximum)", f"{double['max_abs']:.1e} ({double['max_relative']:.1e})"],
        ["NaN in one map alone, float64", str(double["nan_in_one"])],
    ]
    return markdown_table(["figure", "value"], rows)


def _memory_table(memory: Mapping[str, Mapping[str, float]]) -> str:
    rows = [[name, f"{one['peak_mib']:.1f}", f"{one['process_peak_mib']:.0f}"] for name, one in memory.items()]
    return markdown_table(["part", "MiB above the start", "MiB of the process"], rows)


def _network_table(network: Mapping[str, Any]) -> str:
    rows = [
        [
            f"a slice, {network['dtype']}, batches of {network['batch_size']}, ms",
            _spread(network["slice_seconds"], scale=1e3, digits=2),
        ],
        ["arithmetic of a slice, GFLOP", f"{network['gflop_a_slice']:.2f}"],
        ["a matrix product of that type, GFLOP/s", _spread(network["product_gflops"], digits=0)],
        ["what the network reaches of it, best of each", f"{100 * network['share_of_product']:.0f} %"],
    ]
    return markdown_table(["figure", "value"], rows)


def _cohort_table(rows: list[Mapping[str, float]], options: Mapping[str, int]) -> str:
    lines = [
        [f"{row['num_workers']:g}", f"{row['seconds']:.0f}", f"{row['scans_an_hour']:.0f}", f"{row['growth']:.2f}"]
        for row in rows
    ]
    header = ["num_workers", f"s for {options['num_scans']} scans, from the start", "scans an hour", "times the first"]
    return markdown_table(header, lines)


def _volume_sections(volume: Mapping[str, Any]) -> list[str]:
    total = volume["seconds"]["end_to_end"]["median"]
    rows = [
        [part.replace("_", " "), _spread(summary, digits=2), f"{100 * summary['median'] / total:.0f} %"]
        for part, summary in volume["seconds"].items()
    ]
    shapes = ["×".join(map(str, volume[name])) for name in ("input_shape", "working_grid")]
    return [
        f"{volume['input']}, {shapes[0]} voxels, working grid {shapes[1]}, {volume['slices_with_brain']} slices with "
        f"brain, {volume['forward_passes']} forward passes, {volume['network_parameters'] / 1e6:.2f} M parameters "
        f"(weights: {volume['weights']}). What is compiled and loaded on first use took "
        f"{volume['warm_up_seconds']:.1f} s and is not part of the table.",
        markdown_table(["part", "s", "share"], rows),
    ]


logger = logging.getLogger(__name__)
_QUICK = {
    "num_samples": 4, "num_slices": 4, "size": 32, "repeats": 2, "volume_repeats": 1, "dense_slices": 1, "num_scans": 2,
}  # fmt: skip
_LEAST = {
    "num_samples": 3, "num_slices": 1, "size": 16, "repeats": 1, "volume_repeats": 1, "dense_slices": 1, "num_scans": 2,
}  # fmt: skip


def benchmark(
    *,
    output_dir: PathText = "runs/benchmark",
    input: PathText | None = None,
    brain_mask: PathText | None = None,
    num_samples: int = 10,
    num_slices: int = 50,
    size: int = 96,
    repeats: int = 15,
    volume_repeats: int = 3,
    dense_slices: int = 1,
    num_scans: int = 4,
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None,
    skip_dense: bool = False,
    skip_end_to_end: bool = False,
    skip_cohort: bool = False,
    table: PathText | None = None,
    quick: bool = False,
) -> None:
    """Measure the map against a copy and a dense inverse, the network, one scan by part, several scans, and memory.

    Writes benchmark.json and benchmark.md and logs the tables; nothing is downloaded.

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
    options = {
        "num_samples": num_samples,
        "num_slices": num_slices,
        "size": size,
        "repeats": repeats,
        "volume_repeats": volume_repeats,
        "dense_slices": dense_slices,
        "num_scans": num_scans,
    }
    _check_options(options)
    if quick:
        options = {name: min(value, _QUICK[name]) for name, value in options.items()}
    case = _case(input, brain_mask)
    from scripts.data.folders import check_writable
    from scripts.ops import Score
    from tools.benchmark.maps import describe_machine, limit_threads

    check_writable(output_dir)
    with limit_threads(threads):
        results: dict[str, object] = {"machine": describe_machine(), "options": {**options, "quick": quick}}
        scores = (Score.REFERENCE,) if quick else tuple(Score)
        results |= _map_results(options, skip_dense=skip_dense, memory_scores=scores)
        if not skip_end_to_end:
            _add_volume_results(results, options, case, skip_cohort=skip_cohort)
    report = markdown_report(results)
    folder = Path(output_dir)
    write_json(folder / "benchmark.json", results)
    write_text(folder / "benchmark.md", report)
    if table is not None and not quick:
        from tools.benchmark.table import append_measures

        logger.info("%s: %d lines more", table, append_measures(table, results))
    logger.info("%s\nwritten to %s", report, folder.absolute())


def _check_options(options: dict[str, int]) -> None:
    """Raise `InputError` for a number that is out of its range."""
    for name, least in _LEAST.items():
        if isinstance(options[name], bool) or not isinstance(options[name], int) or options[name] < least:
            raise InputError(f"`{name}` must be a whole number of at least {least}, got {options[name]!r}")
    if options["size"] % 8:
        raise InputError(f"`size` must be a multiple of 8 for the network, got {options['size']}")
    if options["dense_slices"] > options["num_slices"]:
        raise InputError(
            f"`dense_slices` must be at most `num_slices` ({options['num_slices']}), got {options['dense_slices']}"
        )


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


def _map_results(options: dict[str, int], *, skip_dense: bool, memory_scores: tuple[Score, ...]) -> dict[str, object]:
    """Return time and memory of the map, on a made-up cloud of brain size."""
    from tools.benchmark.maps import benchmark_dense_inverse, benchmark_low_rank, make_cloud
    from tools.benchmark.memory import MEMORY_METHOD

    cloud = make_cloud(options["num_samples"], options["num_slices"], options["size"])
    logger.info("low-rank map ...")
    results: dict[str, object] = {
        "pixels_per_slice": float(cloud[2].sum()) / options["num_slices"],
        "low_rank": benchmark_low_rank(*cloud, repeats=options["repeats"]),
    }
    if not skip_dense:
        results["dense"] = benchmark_dense_inverse(
            *cloud, dense_slices=options["dense_slices"], repeats=options["repeats"]
        )
    logger.info("peak memory ...")
    parts = {"copy of the reconstructions": "copy"}
    parts |= {f"low-rank map, {score}": score.value for score in memory_scores}
    parts |= {} if skip_dense else {"dense inverse, one slice": "dense"}
    results["memory_method"] = MEMORY_METHOD
    results["memory"] = {name: _memory("memory", options, "--part", part) for name, part in parts.items()}
    return results


def _add_volume_results(
    results: dict[str, object], options: dict[str, int], case: dict[str, str] | None, *, skip_cohort: bool
) -> None:
    """Add what the network reaches, time and memory of a whole scan, and scans an hour to the results."""
    from tools.benchmark.cohort import benchmark_cohort
    from tools.benchmark.network import benchmark_network
    from tools.benchmark.volume import VolumePipeline, benchmark_volume, template_case

    sizes = {name: options[name] for name in ("num_samples", "num_slices", "size")}
    with tempfile.TemporaryDirectory() as folder:
        scan = case or template_case(Path(folder))
        results["network"] = benchmark_network(size=options["size"], repeats=options["repeats"])
        pipeline = VolumePipeline(**sizes, output_dir=str(Path(folder) / "maps"))
        results["end_to_end"] = benchmark_volume(scan, pipeline, repeats=options["volume_repeats"])
        paths = [f"--{key}={path}" for key, path in scan.items()]
        memory = _memory("volume", options, *paths)
        results["memory"] = {**results["memory"], "scan to anomaly map": memory}  # type: ignore[dict-item]
        if not skip_cohort:
            logger.info("several scans ...")
            results["cohort"] = benchmark_cohort(
                scan, num_scans=options["num_scans"], num_samples=options["num_samples"]
            )


def _memory(module: str, options: dict[str, int], *arguments: str) -> dict[str, float]:
    from tools.benchmark.memory import measure_memory

    sizes = [f"--{name}={options[name]}" for name in ("num_samples", "num_slices", "size")]
    return measure_memory(f"tools.benchmark.{module}", *arguments, *sizes)


def main() -> None:
    """Run `benchmark` from the command line."""
    run_command(benchmark)


if __name__ == "__main__":
    main()
