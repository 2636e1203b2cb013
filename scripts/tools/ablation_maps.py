"""The map of one case with one setting of an ablation."""

from __future__ import annotations

import dataclasses

import torch

from scripts.inferers import Polarity, ScoreMaps
from scripts.ops import postprocess
from scripts.tools.ablation_cases import AblationCase
from scripts.tools.ablation_settings import Setting

__all__ = ["score_map"]


def score_map(case: AblationCase, reconstructions: torch.Tensor, setting: Setting, polarity: Polarity) -> torch.Tensor:
    """Return the map of a case with one setting, as the inferer makes it.

    Several scales of the SSIM are an ensemble: the mean of the maps with each scale, and then the median filter and the
    erosion, once.

    Args:
        case: the scan.
        reconstructions: [K, S, H, W] in [0, 1].
        setting: what to compute.
        polarity: of the lesions, for the map `intensity`.

    Returns:
        [S, H, W] float32, at least 0, higher is more anomalous, zero outside the brain mask.
    """
    name, sigmas = setting.values["map"], setting.ssim_sigmas
    options = [setting.map_options(sigma, polarity=polarity) for sigma in sigmas]
    if len(options) == 1:
        return ScoreMaps(case.image, reconstructions, case.brain_mask, options[0]).get(name).float()
    median_size, erosion = options[0].median_size, options[0].erosion
    raw = [dataclasses.replace(choice, median_size=0, erosion=0) for choice in options]
    maps = [ScoreMaps(case.image, reconstructions, case.brain_mask, choice).get(name) for choice in raw]
    mean = torch.stack(maps).mean(dim=0)
    return postprocess(mean, case.brain_mask, median_size=median_size, erosion=erosion).float()
