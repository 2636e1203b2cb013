"""What the engines need beyond MONAI's own."""

from __future__ import annotations

from scripts.engines.masked_patch_loss import MaskedPatchLoss
from scripts.engines.masking_prepare_batch import MaskingPrepareBatch
from scripts.engines.prepare_batch import DenoisingPrepareBatch

__all__ = ["DenoisingPrepareBatch", "MaskedPatchLoss", "MaskingPrepareBatch"]
