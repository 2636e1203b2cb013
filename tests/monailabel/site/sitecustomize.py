"""Make a torchvision usable that was built for another torch than the one installed.

PyPI's torchvision is built for CUDA. Beside a CPU build of torch its compiled part cannot be loaded, and `import
torchvision` ends with "operator torchvision::nms does not exist". MONAI Label imports it for two helpers that draw
grids of pictures, which need none of the compiled operators: it is enough that their names are known.
Python runs this file at its start if its folder is in PYTHONPATH. Where torchvision works, nothing changes.
"""

from __future__ import annotations

import sys

import torch

_OPERATORS = ("nms", "qnms")


def _torchvision_works() -> bool:
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        return True  # none is installed, so there is nothing to mend
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        return False
    return True


if not _torchvision_works():
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # kept: the names go when it does
    for operator in _OPERATORS:
        LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
