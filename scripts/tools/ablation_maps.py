"""The map of one case with one setting of an ablation."""

from __future__ import annotations

import torch

from scripts.inferers import Polarity, ScoreMaps
from scripts.ops import PopulationStatistics
from scripts.tools.ablation_cases import AblationCase
from scripts.tools.ablation_settings import Setting

__all__ = ["score_map"]


def score_map(
    case: AblationCase,
    reconstructions: torch.Tensor,
    setting: Setting,
    polarity: Polarity,
    population: PopulationStatistics | None = None,
) -> torch.Tensor:
    """Return the map of a case with one setting, as the inferer makes it.

    Args:
        case: the scan.
        reconstructions: [K, S, H, W] in [0, 1].
        setting: what to compute.
        polarity: of the lesions, for the map `intensity`.
        population: statistics of healthy subjects, for a setting that uses them.

    Returns:
        [S, H, W] float32, at least 0, higher is more anomalous, zero outside the brain mask.
    """
    options = setting.map_options(polarity=polarity)
    maps = ScoreMaps(case.image, reconstructions, case.brain_mask, options, population)
    return maps.get(setting.values["map"]).float()
