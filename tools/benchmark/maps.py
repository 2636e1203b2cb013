"""Time of the low-rank Mahalanobis map, against a copy of its input and against inverting a P×P matrix."""

from __future__ import annotations

import itertools
import logging
import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from scripts.ops import Extent, Score, mahalanobis_map
from tools.benchmark.measure import RATIO, Measure, Seconds, seconds_of

__all__ = ["benchmark_dense_inverse", "benchmark_low_rank", "compare_maps", "dense_map", "make_cloud"]

logger = logging.getLogger(__name__)


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
    for one in reconstructions:  # one at a time: no second tensor of this size
        one.copy_(image + 0.05 * smooth_fields(num_slices)).clamp_(0, 1)
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


def compare_maps(first: Tensor, second: Tensor) -> tuple[float, int]:
    """Compare two maps that may hold NaN (the negative terms of the `reference` score).

    Args:
        first: any shape.
        second: the same shape.

    Returns:
        The largest difference where both are numbers, over the largest value of `second`, and the number of voxels that
        are NaN in just one of them.
    """
    both = ~(first.isnan() | second.isnan())
    largest = (first[both].double() - second[both].double()).abs().max() / second[both].abs().max()
    return float(largest), int((first.isnan() ^ second.isnan()).sum())


def benchmark_low_rank(image: Tensor, reconstructions: Tensor, brain_mask: Tensor, *, repeats: int) -> list[Measure]:
    """Time the map with every score and extent, each call next to a copy of the reconstructions.

    A round times every combination once, so that a change of the machine's load meets them all. The copy goes into
    memory that is already there (the fastest there is), and the ratio is taken within each pair, in CPU time: other
    work on the machine makes the map, which takes longer, more often wait than the copy.

    Args:
        image: `[S, H, W]`.
        reconstructions: `[K, S, H, W]`.
        brain_mask: `[S, H, W]`.
        repeats: timed rounds, after one to warm up.

    Returns:
        For each combination the ratio, and the map's seconds.
    """
    target = torch.empty_like(reconstructions)
    cloud = (image, reconstructions, brain_mask)
    calls = {
        f"map {score} {extent}": partial(mahalanobis_map, *cloud, score=score, extent=extent)
        for score, extent in itertools.product(Score, Extent)
    }
    timings: dict[str, list[tuple[Seconds, Seconds]]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            pair = seconds_of(partial(target.copy_, reconstructions)), seconds_of(call)
            timings[name] += [pair] if turn else []
    measures = []
    for name, times in timings.items():
        ratios = [own.cpu / copied.cpu for copied, own in times]
        measures.append(Measure(f"{name}, CPU time over a copy's", RATIO, ratios))
        measures.append(Measure(name, "CPU s", [own.cpu for _, own in times]))
    return measures


def benchmark_dense_inverse(
    image: Tensor, reconstructions: Tensor, brain_mask: Tensor, *, dense_slices: int, repeats: int
) -> list[Measure]:
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
        Seconds a slice by the clock, how many times faster the low-rank map is, and how the maps differ.
    """
    start = (len(image) - dense_slices) // 2
    part = slice(start, start + dense_slices)
    arguments = image[part], reconstructions[:, part].contiguous(), brain_mask[part]
    double = arguments[0].double(), arguments[1].double(), arguments[2]
    torch.linalg.inv(torch.eye(64))
    dense_results: list[Tensor] = []
    logger.info("dense inverse of %d slice(s) ...", dense_slices)
    dense = seconds_of(lambda: dense_results.append(dense_map(*arguments))).wall / dense_slices
    same = Measure("low-rank map, a slice, the same slices", "s", _repeat(arguments, repeats))
    volume = Measure("low-rank map, a slice of the volume", "s", _repeat((image, reconstructions, brain_mask), repeats))
    measures = [
        Measure("dense inverse, a slice", "s", [dense]),
        same,
        volume,
        Measure("dense inverse over low-rank map, same slices", "times", [dense / same.median]),
        Measure("dense inverse over low-rank map, a slice of the volume", "times", [dense / volume.median]),
    ]
    pairs = {"float32": dense_results[0], "float64": dense_map(*double)}
    for (kind, other), given in zip(pairs.items(), (arguments, double), strict=True):
        difference, alone = compare_maps(mahalanobis_map(*given), other)
        measures.append(Measure(f"largest difference of the two maps, {kind}", "of the maximum", [difference]))
        measures.append(Measure(f"NaN in one of the two maps alone, {kind}", "voxels", [alone]))
    return measures


def _repeat(arguments: tuple[Tensor, Tensor, Tensor], repeats: int) -> list[float]:
    """Return the seconds a slice of each call, after one to warm up."""
    call = partial(mahalanobis_map, *arguments)
    return [seconds_of(call).wall / len(arguments[0]) for _ in range(repeats + 1)][1:]
