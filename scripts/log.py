"""What the log of a command leaves out."""

from __future__ import annotations

import logging
import warnings

__all__ = ["quiet_log"]


def quiet_log() -> None:
    """Leave warnings out of a command's log that its user can do nothing about; all others stay.

    These are: MONAI's remark that a bundle's config is evaluated, about the config that came with the command, that an
    optional decoder of pictures is absent, and what monai-generative says of a PyTorch to come.
    """
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader", category=UserWarning)
    warnings.filterwarnings("ignore", message="parsing config_file", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"generative\.")
