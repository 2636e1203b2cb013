"""Inference: K reconstructions, score maps, and the inferer that joins them."""

from __future__ import annotations

from scripts.inferers.healthy_errors import HealthyErrors
from scripts.inferers.mahalanobis_inferer import MahalanobisInferer
from scripts.inferers.reconstruction import ReconstructionSampler
from scripts.inferers.score_maps import OUTPUT_NAMES, MapOptions, Polarity, ScoreMaps

__all__ = [
    "OUTPUT_NAMES",
    "HealthyErrors",
    "MahalanobisInferer",
    "MapOptions",
    "Polarity",
    "ReconstructionSampler",
    "ScoreMaps",
]
