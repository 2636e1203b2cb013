"""Pure functions on tensors: maps, noise and similarity. The paper's volumes are `[slice, height, width]` here."""

from __future__ import annotations

from scripts.ops.anomaly_map import Residual, anomaly_map, min_max_scale, postprocess, residual_map, smooth
from scripts.ops.covariance import Extent, Shrinkage
from scripts.ops.mahalanobis import Score, mahalanobis_map
from scripts.ops.simplex_noise import NoiseKind, draw_seed, make_noise, simplex_noise
from scripts.ops.ssim import ssim_map

__all__ = [
    "Extent",
    "NoiseKind",
    "Residual",
    "Score",
    "Shrinkage",
    "anomaly_map",
    "draw_seed",
    "mahalanobis_map",
    "make_noise",
    "min_max_scale",
    "postprocess",
    "residual_map",
    "simplex_noise",
    "smooth",
    "ssim_map",
]
