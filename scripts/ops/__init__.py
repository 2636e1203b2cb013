"""Pure functions on tensors: maps, noise and similarity. The paper's volumes are `[slice, height, width]` here."""

from __future__ import annotations

from scripts.ops.anomaly_map import (
    Residual,
    anomaly_map,
    min_max_scale,
    postprocess,
    residual_map,
    scan_score,
    smooth,
    ssim_map,
)
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
    Spread,
    check_components,
    fill_from_nearest,
    fit_to_brain,
)
from scripts.ops.simplex_noise import NoiseKind, make_noise, sample_seed, simplex_noise

__all__ = [
    "Extent",
    "NoiseKind",
    "PatchTarget",
    "PopulationFit",
    "PopulationStatistics",
    "Residual",
    "Score",
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
