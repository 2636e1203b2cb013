"""Networks: the conditioned diffusion U-Net and strict loading of its weights."""

from __future__ import annotations

from scripts.networks.conditioned_unet import ConditionedUNet, Conditioning
from scripts.networks.film import FilmResnetBlock, apply_film
from scripts.networks.modality_weights import ModalityWeights
from scripts.networks.weights import load_weights, read_checkpoint

__all__ = [
    "ConditionedUNet",
    "Conditioning",
    "FilmResnetBlock",
    "ModalityWeights",
    "apply_film",
    "load_weights",
    "read_checkpoint",
]
