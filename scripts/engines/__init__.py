"""What the engines need beyond MONAI's own."""

from scripts.engines.prepare_batch import DenoisingPrepareBatch

__all__ = ["DenoisingPrepareBatch"]
