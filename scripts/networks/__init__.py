"""Networks: the conditioned diffusion U-Net, the masked autoencoder of its encoder, and strict loading of weights."""

from __future__ import annotations

from scripts.networks.conditioned_unet import (
    ConditionedUNet,
    Conditioning,
    FilmResnetBlock,
    apply_film,
    library_unet,
    recompute_activations,
)
from scripts.networks.masked_autoencoder import Densify, HierarchicalDecoder, MaskedAutoencoder, SparseEncoder
from scripts.networks.weights import ModalityWeights, load_encoder, load_weights, read_checkpoint

__all__ = [
    "ConditionedUNet",
    "Conditioning",
    "Densify",
    "FilmResnetBlock",
    "HierarchicalDecoder",
    "MaskedAutoencoder",
    "ModalityWeights",
    "SparseEncoder",
    "apply_film",
    "library_unet",
    "load_encoder",
    "load_weights",
    "read_checkpoint",
    "recompute_activations",
]
