"""Time of the low-rank Mahalanobis map, against a copy of its input and against inverting a P×P matrix."""

from __future__ import annotations

import itertools
import logging
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from scripts.errors import InputError
from scripts.ops import Extent, Score, mahalanobis_map

__all__ = [
    "Seconds",
    "benchmark_dense_inverse",
    "benchmark_low_rank",
    "compare_maps",
    "dense_map",
    "describe_machine",
    "limit_threads",
    "make_cloud",
    "seconds_of",
    "summarize",
]


class Seconds(NamedTuple):
    """Duration of one call.

    Attributes:
        wall: by the clock.
        cpu: spent by all threads of this process. With one thread, what the clock would show on an idle machine.
    """

    wall: float
    cpu: float


def seconds_of(function: Callable[[], object]) -> Seconds:
    """Call a function once and return how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def summarize(values: Sequence[float]) -> dict[str, float | int]:
    """Return median, minimum and maximum of repeated measurements, and how many there were.

    Raises:
        InputError: if there is none.
    """
    if not values:
        raise InputError("`values` must hold at least one measurement, got none")
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "repeats": len(values)}


@contextmanager
def limit_threads(threads: int | None) -> Iterator[int]:
    """Let torch use `threads` threads inside the block (as it finds them if None), and give the number in use."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def describe_machine() -> dict[str, object]:
    """Return what a timing depends on: processor, cores, load of the last minute, threads, versions."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load_average_1min": load,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "blas": "MKL" if torch.backends.mkl.is_available() else "not MKL",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    """Return the processor's name from the kernel, which tells more than `platform` on Linux."""
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def make_cloud(num_samples: int, num_slices: int, size: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Make an image, reconstructions that differ from it in smooth fields, and a brain-sized mask; seeded.

    The mask is a disc of 61 % of a slice: 5,620 pixels at 96×96, as the central slices of a brain on that grid.

    Args:
        num_samples: K.
        num_slices: S.
        size: height and width in pixels, at least 8.
        seed: of the made-up data.

    Returns:
        Image `[S, H, W]` and reconstructions `[K, S, H, W]`, float32 in [0, 1]; mask `[S, H, W]`, bool.
    """
    generator = torch.Generator().manual_seed(seed)

    def smooth_fields(count: int) -> Tensor:
        coarse = torch.randn(count, 1, max(size // 8, 2), max(size // 8, 2), generator=generator)
        return functional.interpolate(coarse, size=(size, size), mode="bicubic")[:, 0]

    image = (0.5 + 0.15 * smooth_fields(num_slices)).clamp_(0, 1)
    reconstructions = torch.empty(num_samples, *image.shape)
    for draw in reconstructions:  # one draw at a time: no second tensor of this size
        draw.copy_(image + 0.05 * smooth_fields(num_slices)).clamp_(0, 1)
    image += 0.02 * torch.randn(image.shape, generator=generator)
    axis = torch.arange(size) - (size - 1) / 2
    disc = axis[:, None].square() + axis[None, :].square() <= 0.61 * size**2 / math.pi
    return image.clamp_(0, 1), reconstructions, disc.expand(num_slices, -1, -1).contiguous()


def dense_map(image: Tensor, reconstructions: Tensor, brain_mask: Tensor, *, regularization: float = 1e-2) -> Tensor:
    """Compute the `reference` score with extent `slice` by `torch.linalg.inv` of each slice's P×P covariance.

    Args:
        image: `[S, H, W]`.
        reconstructions: `[K, S, H, W]`, of the image's dtype, in which everything is computed.
        brain_mask: `[S, H, W]`, bool.
        regularization: λ.

    Returns:
        `[S, H, W]`: √(d ⊙ Σ⁻¹d), NaN where that product is negative and zero outside the mask. O(P³) time and O(P²)
        memory a slice.

    References:
        Behrendt et al. 2024, doi:10.1007/978-3-031-72120-5_37.
    """
    result = torch.zeros_like(image)
    for s, inside in enumerate(brain_mask):
        cloud = reconstructions[:, s, inside]
        mean = cloud.mean(dim=0)
        deviations = cloud - mean
        covariance = deviations.T @ deviations / (len(cloud) - 1)
        covariance.diagonal().add_(regularization)
        difference = image[s, inside] - mean
        result[s, inside] = (difference * (torch.linalg.inv(covariance) @ difference)).sqrt()
    return result


def compare_maps(first: Tensor, second: Tensor) -> dict[str, float | int]:
    """Compare two maps that may hold NaN (the negative terms of the `reference` score).

    Args:
        first: any shape.
        second: the same shape.

    Returns:
        `max_abs` difference where both are numbers, `max_relative` that over the largest value of `second`,
        `nan_in_one` voxels that are NaN in just one of them, `nan_in_both`.
    """
    nan_first, nan_second = first.isnan(), second.isnan()
    both = ~(nan_first | nan_second)
    largest = float((first[both].double() - second[both].double()).abs().max())
    return {
        "max_abs": largest,
        "max_relative": largest / float(second[both].abs().max()),
        "nan_in_one": int((nan_first ^ nan_second).sum()),
        "nan_in_both": int((nan_first & nan_second).sum()),
    }


logger = logging.getLogger(__name__)


def benchmark_low_rank(
    image: Tensor, reconstructions: Tensor, brain_mask: Tensor, *, repeats: int
) -> list[dict[str, object]]:
    """Time the map with every score and extent, each call next to a copy of the reconstructions.

    A round times every combination once, so that a change of the machine's load meets them all. The copy goes into
    memory that is already there (the fastest there is), and the ratio is taken within each pair.

    Args:
        image: `[S, H, W]`.
        reconstructions: `[K, S, H, W]`.
        brain_mask: `[S, H, W]`.
        repeats: timed rounds, after one to warm up.

    Returns:
        One row a combination: `score`, `extent`, and summaries `seconds`, `copy_seconds` and `times_copy`
        by the clock, and the same in CPU time with `cpu_` before the name: other work on the machine makes the map,
        which takes longer, more often wait than the copy, and so spoils the ratio by the clock.
    """
    rows: list[dict[str, object]] = []
    target = torch.empty_like(reconstructions)
    copy = partial(target.copy_, reconstructions)
    combinations = list(itertools.product(Score, Extent))
    calls = [
        partial(mahalanobis_map, image, reconstructions, brain_mask, score=score, extent=extent)
        for score, extent in combinations
    ]
    timings: list[list[tuple[Seconds, Seconds]]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, times in zip(calls, timings, strict=True):
            pair = seconds_of(copy), seconds_of(call)
            if turn:
                times.append(pair)
    for (score, extent), times in zip(combinations, timings, strict=True):
        rows.append(
            {
                "score": score.value,
                "extent": extent.value,
                "seconds": summarize([own.wall for _, own in times]),
                "copy_seconds": summarize([copied.wall for copied, _ in times]),
                "times_copy": summarize([own.wall / copied.wall for copied, own in times]),
                "cpu_seconds": summarize([own.cpu for _, own in times]),
                "cpu_copy_seconds": summarize([copied.cpu for copied, _ in times]),
                "cpu_times_copy": summarize([own.cpu / copied.cpu for copied, own in times]),
            }
        )
    return rows


def benchmark_dense_inverse(
    image: Tensor, reconstructions: Tensor, brain_mask: Tensor, *, dense_slices: int, repeats: int
) -> dict[str, object]:
    """Time the dense inverse and the low-rank map on the same slices, and compare what they give.

    The dense map is timed once (it takes seconds a slice), after a small inverse to warm up. The low-rank map is timed
    on the same slices, and on the whole volume, whose time is then divided by its slices.

    Args:
        image: `[S, H, W]`.
        reconstructions: `[K, S, H, W]`.
        brain_mask: `[S, H, W]`.
        dense_slices: how many slices from the middle of the volume the dense map does.
        repeats: timed calls of the low-rank map, after one to warm up.

    Returns:
        `slices`, `pixels_per_slice`, `dense_seconds_per_slice` and `dense_cpu_seconds_per_slice`, summaries
        `low_rank_seconds_same_slices` and `low_rank_seconds_volume`, the ratios `speedup_same_slices` and
        `speedup_per_slice` (whole volume), both by the clock, and
        `difference` of the two maps, in float32 and in float64 (see `compare_maps`).
    """
    start = (len(image) - dense_slices) // 2
    part = slice(start, start + dense_slices)
    arguments = image[part], reconstructions[:, part].contiguous(), brain_mask[part]
    double = arguments[0].double(), arguments[1].double(), arguments[2]
    torch.linalg.inv(torch.eye(64))
    dense_results: list[Tensor] = []
    logger.info("dense inverse of %d slice(s) ...", dense_slices)
    dense_seconds = seconds_of(lambda: dense_results.append(dense_map(*arguments)))
    same = _repeat(arguments, repeats)
    volume = _repeat((image, reconstructions, brain_mask), repeats)
    dense_each = dense_seconds.wall / dense_slices
    return {
        "slices": dense_slices,
        "pixels_per_slice": float(arguments[2].flatten(1).sum(dim=1).float().mean()),
        "dense_seconds_per_slice": dense_each,
        "dense_cpu_seconds_per_slice": dense_seconds.cpu / dense_slices,
        "low_rank_seconds_same_slices": same,
        "low_rank_seconds_volume": volume,
        "speedup_same_slices": dense_seconds.wall / same["median"],
        "speedup_per_slice": dense_each / (volume["median"] / len(image)),
        "difference": {
            "float32": compare_maps(mahalanobis_map(*arguments), dense_results[0]),
            "float64": compare_maps(mahalanobis_map(*double), dense_map(*double)),
        },
    }


def _repeat(arguments: tuple[Tensor, Tensor, Tensor], repeats: int) -> dict[str, float | int]:
    call = partial(mahalanobis_map, *arguments)
    return summarize([seconds_of(call).wall for _ in range(repeats + 1)][1:])
