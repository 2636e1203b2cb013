"""The benchmark's figures as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.report.tables import markdown_table

__all__ = ["markdown_report"]


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
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _spread(summary: Mapping[str, float], *, scale: float = 1.0, digits: int = 1) -> str:
    low, middle, high = (f"{summary[name] * scale:.{digits}f}" for name in ("min", "median", "max"))
    return f"{middle} ({low}–{high})"


def _map_table(rows: list[Mapping[str, Any]]) -> str:
    lines = [
        [row["score"], row["extent"], row["shrinkage"]]
        + [_spread(row[kind + "seconds"], scale=1e3) for kind in ("", "cpu_")]
        + [_spread(row[kind + "times_copy"]) for kind in ("", "cpu_")]
        for row in rows
    ]
    header = ["score", "extent", "shrinkage", "ms", "CPU ms", "times a copy", "times a copy, CPU time"]
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
