"""MONAI Label's command, where torchvision was built for another torch than the one installed as well.

    python tools/monai_label/start.py start_server --app APP --studies FOLDER

PyPI's torchvision is built for CUDA. Beside a CPU build of torch its compiled part cannot be loaded, and `import
torchvision` ends with "operator torchvision::nms does not exist". MONAI Label imports it for two helpers that draw
grids of pictures, which need none of the compiled operators: it is enough that their names are known. Where torchvision
works, this is `monailabel`, nothing else. It is run as a file, so that no `scripts` but the bundle's can be imported.
"""

from __future__ import annotations

import sys
from typing import Any

_OPERATORS = ("nms", "qnms")


def make_torchvision_usable() -> Any:
    """Tell torch the operators' names where torchvision cannot.

    Returns:
        What holds the names, to be kept as long as they are needed; None where nothing had to be done.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        return None
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    else:
        return None
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def main() -> None:
    """Run `monailabel` with the arguments of this process."""
    operators = make_torchvision_usable()
    from monailabel.main import Main

    Main().run()
    del operators


if __name__ == "__main__":
    main()
