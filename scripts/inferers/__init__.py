"""Inference: K reconstructions, score maps, and the inferer that joins them."""

from __future__ import annotations

from scripts.inferers.mahalanobis_inferer import OUTPUT_NAMES, MahalanobisInferer, MapOptions, Polarity, ScoreMaps
from scripts.inferers.population_files import PopulationFiles
from scripts.inferers.reconstruction import ReconstructionSampler

__all__ = [
    "OUTPUT_NAMES",
    "MahalanobisInferer",
    "MapOptions",
    "Polarity",
    "PopulationFiles",
    "ReconstructionSampler",
    "ScoreMaps",
]
