"""What a user does in one Python session beside the unzipped bundle; prints one line of JSON. Run by test_unzipped_bundle."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import warnings
from pathlib import Path

import torch
from monai.bundle import ckpt_export, create_workflow, load
from torch.jit.frontend import NotSupportedError

BUNDLE = "brain_mri_anomaly_segmentation"


def blocks(document: str) -> list[str]:
    """Return the Python code in a Markdown text."""
    return re.findall(r"^```python\n(.*?)^```$", document, flags=re.DOTALL | re.MULTILINE)


def printed_example() -> dict:
    """Run the examples of docs/python.md as they are printed, but on fewer reconstructions."""
    example, network_example = blocks(Path(BUNDLE, "docs", "python.md").read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(io.StringIO()) as reported:
        names: dict = {}
        exec(example.replace('"inference")', '"inference", num_samples=2)'), names)
        exec(network_example, names)
    scan, network = names["scan"], names["network"]
    weights = torch.load(f"{BUNDLE}/models/model.pt", weights_only=True)
    return {
        "lines": len(example.splitlines()),
        "reported": reported.getvalue(),
        "shapes": {name: list(scan[name].shape) for name in ("image", "anomaly_map", "lesion_mask")},
        "affine": scan["anomaly_map"].affine.tolist(),
        "mask": sorted(set(scan["lesion_mask"].flatten().tolist())),
        "peak": float(scan["anomaly_map"].max()),
        "scripts": sys.modules["scripts"].__file__,
        "missing": names["workflow"].check_properties(),
        "weights": all(torch.equal(value, weights[name]) for name, value in network.state_dict().items()),
    }


def traced_network() -> float:
    """Trace the network with its three inputs, and compare it with the network on other inputs."""
    network = load(BUNDLE, bundle_dir=".", device="cpu").eval()  # by the training config, which is monai's default
    torch.manual_seed(0)
    given = (torch.rand(1, 1, 96, 96), torch.tensor([500]), torch.rand(1, 1, 96, 96))
    others = (torch.rand(3, 1, 96, 96), torch.tensor([10, 500, 900]), torch.rand(3, 1, 96, 96))
    with torch.no_grad():
        torch.jit.trace(network, given).save("traced.ts")
        return float((torch.jit.load("traced.ts")(*others) - network(*others)).abs().max())


def refusals() -> dict[str, str]:
    """Try MONAI's export to TorchScript both ways, and return why each does not work."""
    files = {"meta_file": f"{BUNDLE}/configs/metadata.json", "config_file": f"{BUNDLE}/configs/inference.json"}
    files |= {"net_id": "network_def", "ckpt_file": f"{BUNDLE}/models/model.pt"}
    slices = {"input_shape": [1, 1, 96, 96], "use_trace": True}
    commands = {
        "script": lambda: ckpt_export(filepath="model.ts", **files),
        "trace": lambda: ckpt_export(filepath="model.ts", **files, **slices),
    }
    reported = {}
    for name, command in commands.items():
        try:
            command()
            reported[name] = "it works"
        except (NotSupportedError, RuntimeError, TypeError) as error:
            reported[name] = f"{type(error).__name__}: {error}"
    return reported


def training(dataset_dir: str, overrides: dict) -> list[str] | None:
    """Return what the training workflow lacks of MONAI's properties."""
    config = f"{BUNDLE}/configs/train.json"
    workflow = create_workflow(config_file=config, workflow_type="train", dataset_dir=dataset_dir, **overrides)
    return workflow.check_properties()


def main(dataset_dir: str, overrides: str) -> None:
    """Run everything and print the findings."""
    warnings.simplefilter("ignore")
    found = {"example": printed_example(), "traced": traced_network(), "refusals": refusals()}
    found["training"] = training(dataset_dir, json.loads(overrides))
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
