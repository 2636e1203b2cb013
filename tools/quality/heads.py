"""Lesions set into scans as they came: brain extraction and alignment say where the brain is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from numpy.typing import NDArray

from scripts.brain_extraction import BrainExtractiond
from scripts.registration import AlignToTemplated
from scripts.registration.template import load_template
from scripts.scans.volume import read_notes
from scripts.transforms import NormalizeScansd
from tools.quality.lesions import Kind, Lesion, on_grid, paint, sample_lesion

__all__ = ["find_brain", "sample_on_template", "set_into_scan"]

TEMPLATE_SPACING_MM = 2.0


def find_brain(image: NDArray, affine: NDArray, modality: str) -> dict[Any, Any]:
    """Extract and align the brain of a scan.

    Args:
        image: [H, W, D], with or without skull.
        affine: voxel to world, mm, [4, 4].
        modality: t1 or t2.

    Returns:
        `image` and `brain_mask` [1, H, W, D] on the scan's own grid, with the alignment among the image's notes.
    """
    steps = Compose([NormalizeScansd("image"), BrainExtractiond("image"), AlignToTemplated(["image", "brain_mask"])])
    volume = MetaTensor(torch.from_numpy(image.astype(np.float32))[None], affine=torch.as_tensor(affine))
    return dict(steps({"image": volume, "modality": modality}))


def sample_on_template(
    volume_ml: float, rng: np.random.Generator, *, push_mm: float = 0.0, shape: NDArray[np.bool_] | None = None
) -> Lesion:
    """Sample a lesion in the brain of the template, on its grid; arguments as of `sample_lesion`."""
    brain = load_template().mask > 0.5
    return sample_lesion(brain, TEMPLATE_SPACING_MM, volume_ml=volume_ml, push_mm=push_mm, shape=shape, rng=rng)


def set_into_scan(
    image: NDArray, affine: NDArray, case: dict[Any, Any], lesion: Lesion, *, kind: Kind, modality: str,
    rng: np.random.Generator,
) -> NDArray[np.float32]:  # fmt: skip
    """Set a lesion on the template grid into the brain of a scan, on the scan's grid.

    Args:
        image: [H, W, D], as it came.
        affine: voxel to world, mm, [4, 4].
        case: what `find_brain` returned for it.
        lesion: on the grid of the template.
        kind: its looks.
        modality: t1 or t2.
        rng: source of its exact brightness.
    """
    to_template = np.asarray(read_notes(case)["alignment"]["world_to_template"]) @ affine
    placed = on_grid(lesion, np.linalg.solve(load_template().affine, to_template), image.shape)
    brain = case["brain_mask"][0].numpy() > 0
    to_voxel = np.linalg.inv(to_template[:3, :3])
    return paint(image, brain, to_voxel, placed, kind=kind, modality=modality, rng=rng)
