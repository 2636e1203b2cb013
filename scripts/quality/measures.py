"""The numbers of quality control, from a brain-only scan and the affine that takes it to the template."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scripts.quality.image_quality import (
    brain_extents,
    brightness_span,
    end_sections,
    noise_ratio,
    nonuniformity,
    saturated_share,
    spike_ratio,
    voxel_edges,
)
from scripts.quality.tissue_fit import TissueFit, tissue_fit
from scripts.registration.brain_scan import MIN_VOXELS, place, prepare_scan
from scripts.registration.fit import placed_quality
from scripts.registration.template import load_template, load_tissues

__all__ = ["MIN_VOXELS", "measure_on_template", "measure_scan"]

_MAX_COUNTED = 500_000
_MOSTLY = 0.9  # share of white matter from which on a voxel counts as such


def measure_scan(image: NDArray, mask: NDArray, affine: NDArray) -> dict[str, float]:
    """Measure voxels, brightness and brain mask on the scan's own grid.

    Args:
        image: [H, W, D], any real type.
        mask: [H, W, D], bool.
        affine: voxel to the scan's own world, [4, 4], mm.

    Returns:
        Numbers by the names of `BOUNDS`; those of the brightness are missing if the mask is empty.
    """
    edges = voxel_edges(affine)
    volume_mm3 = np.count_nonzero(mask) * abs(float(np.linalg.det(np.asarray(affine)[:3, :3])))
    numbers = {
        "voxel_edge_mm": float(edges.max()),
        "voxel_anisotropy": float(edges.max() / edges.min()),
        "num_slices": float(min(brain_extents(mask))),
        "brain_volume_ml": volume_mm3 / 1000,
        "brain_cut_share": float(end_sections(mask).max()),
    }
    if not mask.any():
        return numbers
    box = _box(mask)
    brain, inside = np.asarray(image[box], dtype=np.float32), mask[box]
    values = brain[inside]
    return {
        **numbers,
        # Every n-th value is enough to tell a mask from a scan, and sorting all of them takes a second.
        "distinct_values": float(len(np.unique(values[:: 1 + len(values) // _MAX_COUNTED]))),
        "saturated_share": saturated_share(values),
        "negative_share": float(np.mean(values < 0)),
        "spike_ratio": spike_ratio(values),
        "brightness_span": brightness_span(values),
        "noise_ratio": noise_ratio(brain, inside, edges),
    }


def measure_on_template(
    image: NDArray, mask: NDArray, affine: NDArray, world_to_template: NDArray
) -> tuple[dict[str, float], TissueFit | None]:
    """Measure how well a scan lies on the template and how bright its tissues are.

    Args:
        image: [H, W, D], any real type.
        mask: [H, W, D], bool, at least 1000 voxels.
        affine: voxel to the scan's own world, [4, 4], mm.
        world_to_template: that world to MNI world, [4, 4], mm.

    Returns:
        Numbers by the names of `BOUNDS`; how brightness follows the tissues, None where there is too little brain.

    Raises:
        InputError: if the mask is too small or the brain constant.
    """
    scan, template, tissues = prepare_scan(image, mask, affine), load_template(), load_tissues()
    at_template = place(scan, world_to_template, template.affine, template.image.shape)
    placed, quality = at_template.brain, placed_quality(at_template)
    brain = (placed.mask > 0.5) & (template.mask > 0.5)
    stretches = np.linalg.svd(world_to_template[:3, :3], compute_uv=False)
    fit = tissue_fit(placed.image, brain, fluid=tissues.fluid, grey=tissues.grey)
    numbers = {
        "template_coverage": quality.seen_share,
        "template_overlap": quality.overlap,
        "template_stretch": float(stretches[0] / stretches[-1]) if stretches[-1] > 0 else float("inf"),
        "template_similarity": fit.similarity if fit else 0.0,
        "nonuniformity": nonuniformity(placed.image, brain, (tissues.white > _MOSTLY) & brain),
    }
    return numbers, fit


def _box(mask: NDArray) -> tuple[slice, ...]:
    spans = []
    for axis in range(3):
        held = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        spans.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(spans)
