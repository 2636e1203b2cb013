"""Pure functions on tensors: maps, noise and similarity. The paper's volumes are `[slice, height, width]` here."""

from __future__ import annotations

from scripts.ops.anomaly_map import Residual, anomaly_map, postprocess, residual_map, scan_score, ssim_map
from scripts.ops.covariance import Extent
from scripts.ops.mahalanobis import Score, mahalanobis_map
from scripts.ops.masked_patches import (
    PatchTarget,
    gather_visible,
    hide_masked,
    masked_patch_loss,
    patch_grid,
    patch_statistics,
    reconstruct_slices,
    resize_patch_mask,
    sample_patch_mask,
    scatter_visible,
)
from scripts.ops.population import (
    PopulationFit,
    PopulationStatistics,
    check_components,
    fill_from_nearest,
    fit_to_brain,
)
from scripts.ops.simplex_noise import NoiseKind, make_noise, simplex_noise

__all__ = [
    "Extent",
    "NoiseKind",
    "PatchTarget",
    "PopulationFit",
    "PopulationStatistics",
    "Residual",
    "Score",
    "anomaly_map",
    "check_components",
    "fill_from_nearest",
    "fit_to_brain",
    "gather_visible",
    "hide_masked",
    "mahalanobis_map",
    "make_noise",
    "masked_patch_loss",
    "patch_grid",
    "patch_statistics",
    "postprocess",
    "reconstruct_slices",
    "residual_map",
    "resize_patch_mask",
    "sample_patch_mask",
    "scan_score",
    "scatter_visible",
    "simplex_noise",
    "ssim_map",
]
