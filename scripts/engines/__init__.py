"""What the engines need beyond MONAI's own."""

from __future__ import annotations

from scripts.engines.prepare_batch import DenoisingPrepareBatch

__all__ = ["DenoisingPrepareBatch"]
