"""Time of the low-rank Mahalanobis map, against a copy of its input and against a dense inverse."""

from __future__ import annotations

import itertools
import logging
from functools import partial

import torch
from torch import Tensor

from scripts.ops import Extent, Score, Shrinkage, mahalanobis_map
from scripts.tools.benchmark_dense import compare_maps, dense_map
from scripts.tools.benchmark_timing import Seconds, seconds_of, summarize

__all__ = ["benchmark_dense_inverse", "benchmark_low_rank"]

logger = logging.getLogger(__name__)


def benchmark_low_rank(
    image: Tensor, reconstructions: Tensor, brain_mask: Tensor, *, repeats: int
) -> list[dict[str, object]]:
    """Time the map with every score, extent and shrinkage, each call next to a copy of the reconstructions.

    A round times every combination once, so that a change of the machine's load meets them all. The copy goes into
    memory that is already there (the fastest there is), and the ratio is taken within each pair.

    Args:
        image: `[S, H, W]`.
        reconstructions: `[K, S, H, W]`.
        brain_mask: `[S, H, W]`.
        repeats: timed rounds, after one to warm up.

    Returns:
        One row a combination: `score`, `extent`, `shrinkage`, and summaries `seconds`, `copy_seconds` and `times_copy`
        by the clock, and the same in CPU time with `cpu_` before the name: other work on the machine makes the map,
        which takes longer, more often wait than the copy, and so spoils the ratio by the clock.
    """
    rows: list[dict[str, object]] = []
    target = torch.empty_like(reconstructions)
    copy = partial(target.copy_, reconstructions)
    combinations = list(itertools.product(Score, Extent, Shrinkage))
    calls = [
        partial(mahalanobis_map, image, reconstructions, brain_mask, score=score, extent=extent, shrinkage=shrinkage)
        for score, extent, shrinkage in combinations
    ]
    timings: list[list[tuple[Seconds, Seconds]]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, times in zip(calls, timings, strict=True):
            pair = seconds_of(copy), seconds_of(call)
            if turn:
                times.append(pair)
    for (score, extent, shrinkage), times in zip(combinations, timings, strict=True):
        rows.append(
            {
                "score": score.value,
                "extent": extent.value,
                "shrinkage": shrinkage.value,
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
