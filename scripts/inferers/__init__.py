"""Inference: K reconstructions, score maps, and the inferer that joins them."""

from __future__ import annotations

from scripts.inferers.mahalanobis_inferer import MahalanobisInferer
from scripts.inferers.population_files import PopulationFiles
from scripts.inferers.reconstruction import ReconstructionSampler
from scripts.inferers.score_maps import OUTPUT_NAMES, MapOptions, Polarity, ScoreMaps

__all__ = [
    "OUTPUT_NAMES",
    "MahalanobisInferer",
    "MapOptions",
    "Polarity",
    "PopulationFiles",
    "ReconstructionSampler",
    "ScoreMaps",
]
