"""What the engines need beyond MONAI's own."""

from __future__ import annotations

from scripts.engines.denoising import DenoisingPrepareBatch
from scripts.engines.masking import MaskedPatchLoss, MaskingPrepareBatch

__all__ = ["DenoisingPrepareBatch", "MaskedPatchLoss", "MaskingPrepareBatch"]
