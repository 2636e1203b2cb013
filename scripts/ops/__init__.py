"""Pure functions on tensors: maps, noise and similarity. The paper's volumes are `[slice, height, width]` here."""

from __future__ import annotations

from scripts.ops.anomaly_map import Residual, anomaly_map, min_max_scale, postprocess, residual_map, smooth
from scripts.ops.covariance import Extent, Shrinkage
from scripts.ops.mahalanobis import Score, mahalanobis_map
from scripts.ops.masked_patches import (
    PatchTarget,
    masked_patch_loss,
    patch_grid,
    patch_statistics,
    reconstruct_slices,
    resize_patch_mask,
    sample_patch_mask,
)
from scripts.ops.population import (
    PopulationFit,
    PopulationStatistics,
    Spread,
    check_components,
    fill_from_nearest,
    fit_to_brain,
)
from scripts.ops.scan_score import scan_score
from scripts.ops.simplex_noise import NoiseKind, make_noise, sample_seed, simplex_noise
from scripts.ops.ssim import ssim_map
from scripts.ops.visible_positions import gather_visible, hide_masked, scatter_visible

__all__ = [
    "Extent",
    "NoiseKind",
    "PatchTarget",
    "PopulationFit",
    "PopulationStatistics",
    "Residual",
    "Score",
    "Shrinkage",
    "Spread",
    "anomaly_map",
    "check_components",
    "fill_from_nearest",
    "fit_to_brain",
    "gather_visible",
    "hide_masked",
    "mahalanobis_map",
    "make_noise",
    "masked_patch_loss",
    "min_max_scale",
    "patch_grid",
    "patch_statistics",
    "postprocess",
    "reconstruct_slices",
    "residual_map",
    "resize_patch_mask",
    "sample_patch_mask",
    "sample_seed",
    "scan_score",
    "scatter_visible",
    "simplex_noise",
    "smooth",
    "ssim_map",
]
