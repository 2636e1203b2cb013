"""How time and memory of the map grow with brain voxels P and reconstructions K: `python -m tools.benchmark.growth`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import Field

from scripts.options.command import run_command
from scripts.options.fields import PathText

__all__ = ["main", "map_growth"]

logger = logging.getLogger(__name__)
_GIB = 2**30
_GRIDS = ((96, 10), (96, 50), (136, 70), (192, 80))  # pixels of a slice's edge, slices: up to a brain of 1 mm
_SAMPLES = (5, 10, 20)


def map_growth(
    *,
    output_dir: PathText = "runs/growth",
    repeats: Annotated[int, Field(ge=1, le=1000)] = 3,
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None,
    quick: bool = False,
) -> None:
    """Measure the map with its default score on made-up clouds of up to a brain's size at 1 mm, K = 10 and others.

    Writes growth.json, growth.md and growth.png. Beside each stands what the dense form would need: P×P numbers of
    float64 for each slice or volume.

    Args:
        output_dir: folder of the three files.
        repeats: timed calls, after one to warm up.
        threads: threads of torch; its own choice if None.
        quick: small clouds, to see that it works; the figures mean nothing.
    """
    from scripts.data.folders import check_writable
    from scripts.report.tables import write_json, write_text
    from tools.benchmark.measure import describe_machine, limit_threads

    check_writable(output_dir)
    grids, samples = (((16, 2), (24, 4)), (3, 4)) if quick else (_GRIDS, _SAMPLES)
    middle = samples[len(samples) // 2]
    sizes = [(size, slices, middle) for size, slices in grids] + [(*grids[-2], count) for count in samples]
    with limit_threads(threads):
        machine = describe_machine()
        rows = [row for size in dict.fromkeys(sizes) for row in _measure(*size, repeats=repeats)]
    folder = Path(output_dir)
    write_json(folder / "growth.json", {"machine": machine, "rows": rows})
    report = _report(machine, rows)
    write_text(folder / "growth.md", report)
    _plot(folder / "growth.png", rows, samples=middle)
    logger.info("%s\nwritten to %s", report, folder.absolute())


def _measure(size: int, slices: int, count: int, *, repeats: int) -> list[dict[str, Any]]:
    from scripts.ops import Extent, Score, mahalanobis_map
    from tools.benchmark.maps import make_cloud
    from tools.benchmark.measure import seconds_of
    from tools.benchmark.memory import measure_peak

    image, reconstructions, mask = make_cloud(count, slices, size)
    pixels, rows = int(mask[0].sum()), []
    logger.info("P = %s, K = %d ...", f"{pixels * slices:,}", count)
    for extent in Extent:

        def run(extent: Extent = extent) -> None:
            mahalanobis_map(image, reconstructions, mask, score=Score.CONDITIONAL, extent=extent)

        peak = measure_peak(run)
        edge = pixels * (slices if extent == Extent.VOLUME else 1)
        rows.append({
            "extent": extent.value, "voxels": pixels * slices, "num_samples": count, "peak_mib": peak,
            "cloud_mib": reconstructions.numel() * 4 / 2**20, "dense_matrix_gib": edge**2 * 8 / _GIB,
            "seconds": [seconds_of(run).wall for _ in range(repeats)],
        })  # fmt: skip
    return rows


def _report(machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    from scripts.report.tables import markdown_table

    head = [
        "extent",
        "P, brain voxels",
        "K",
        "s, median",
        "MiB beside the cloud",
        "cloud, MiB",
        "one dense matrix, GiB",
    ]
    lines = [
        [
            row["extent"], f"{row['voxels']:,}", str(row["num_samples"]), f"{median(row['seconds']):.2f}",
            f"{row['peak_mib']:.0f}", f"{row['cloud_mib']:.0f}", f"{row['dense_matrix_gib']:,.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    about = f"{machine['cpu']}, {machine['threads']} thread(s), load {machine['load']}, score conditional."
    return f"# Growth of the map\n\n{about}\n\n{markdown_table(head, lines)}\n"


def _plot(path: Path, rows: Sequence[Mapping[str, Any]], *, samples: int) -> None:
    from matplotlib.figure import Figure

    from scripts.files import replacing

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for extent in dict.fromkeys(row["extent"] for row in rows):
        own = [row for row in rows if row["extent"] == extent and row["num_samples"] == samples]
        voxels = [row["voxels"] for row in own]
        (line,) = axes[0].loglog(voxels, [median(row["seconds"]) for row in own], marker="o", label=extent)
        look: dict[str, Any] = {"color": line.get_color()}
        axes[1].loglog(voxels, [row["peak_mib"] / 1024 for row in own], marker="o", label=extent, **look)
        dense = [row["dense_matrix_gib"] for row in own]
        axes[1].loglog(voxels, dense, linestyle=":", label=f"{extent}, one dense matrix", **look)
    for axis, label in zip(axes, ("s", "GiB"), strict=True):
        axis.set(xlabel=f"brain voxels P, K = {samples}", ylabel=label)
        axis.legend(fontsize="x-small")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def main() -> None:
    """Run `map_growth` from the command line."""
    run_command(map_growth)


if __name__ == "__main__":
    main()
