"""Networks: the conditioned diffusion U-Net, the masked autoencoder of its encoder, and strict loading of weights."""

from __future__ import annotations

from scripts.networks.conditioned_unet import ConditionedUNet, Conditioning
from scripts.networks.film import FilmResnetBlock, apply_film
from scripts.networks.hierarchical_decoder import Densify, HierarchicalDecoder
from scripts.networks.masked_autoencoder import MaskedAutoencoder
from scripts.networks.sparse_encoder import SparseEncoder
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
    "load_encoder",
    "load_weights",
    "read_checkpoint",
]
