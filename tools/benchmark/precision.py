"""How far maps in bfloat16 are from those in float32: `python -m tools.benchmark.precision --help`."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from scripts.options.command import run_command
from scripts.options.fields import PathText, Text

if TYPE_CHECKING:
    import torch

    from tools.benchmark.volume import VolumePipeline

__all__ = ["compare_types", "main"]

logger = logging.getLogger(__name__)


def compare_types(
    *,
    output_dir: PathText = "runs/precision",
    dataset_dir: PathText,
    dataset: Text = "SyntheticStroke",
    limit: Annotated[int, Field(ge=1, le=10_000)] = 4,
    num_samples: Annotated[int, Field(ge=2, le=10_000)] = 10,
    size: Annotated[int, Field(ge=16, le=4096)] = 96,
    num_slices: Annotated[int, Field(ge=1, le=4096)] = 80,
    threads: Annotated[int, Field(ge=1, le=1024)] = 1,
) -> None:
    """Make the anomaly map of T1-weighted scans with the shipped weights, in bfloat16 and in float32.

    Writes precision.json after each scan: Dice of the candidate regions in the two types, and with the scan's label of
    each; the correlation of the maps over the brain, their largest difference over the maximum, and seconds.

    Args:
        output_dir: folder of the file.
        dataset_dir: DATA_DIR.
        dataset: a set of it, whose test scans are taken.
        limit: number of scans, from the top of the list.
        num_samples: K.
        size: height and width of the working grid in voxels, a multiple of 8.
        num_slices: its slices.
        threads: of torch.
    """
    from scripts.data.datalists import load_datalist
    from scripts.report.tables import write_json
    from tools.benchmark.measure import describe_machine, limit_threads
    from tools.benchmark.volume import VolumePipeline

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, limit_threads(threads):
        machine = describe_machine()
        pipeline = VolumePipeline(num_samples=num_samples, num_slices=num_slices, size=size, output_dir=folder)
        for item in load_datalist(dataset_dir, dataset, "test", limit=limit):
            case = {key: item[key] for key in ("image", "brain_mask", "label") if key in item}
            rows.append({"case": item["case"], **_compare(pipeline, case)})
            logger.info("%s", rows[-1])
            write_json(Path(output_dir) / "precision.json", {"machine": machine, "scans": rows})


def _compare(pipeline: VolumePipeline, case: dict[str, str]) -> dict[str, Any]:
    import torch

    from tools.benchmark.measure import seconds_of

    data = pipeline.preprocessing(dict(case))
    label = data.pop("label", None)
    maps: dict[str, torch.Tensor] = {}
    regions, seconds = {}, {}
    for kind, dtype in (("bfloat16", "bfloat16"), ("float32", None)):
        pipeline.network.autocast_dtype = dtype

        def infer(kind: str = kind) -> None:
            maps[kind] = pipeline.infer(data)

        seconds[kind] = seconds_of(infer).wall
        regions[kind] = pipeline.postprocessing({**data, "pred": maps[kind].clone()})["lesion_mask"].as_tensor() > 0
    brain = data["brain_mask"][0].as_tensor() > 0
    half, full = (one[0].as_tensor()[brain].double() for one in maps.values())
    found: dict[str, Any] = {
        "dice": _dice(*regions.values()),
        "voxels": {kind: int(region.sum()) for kind, region in regions.items()},
        "correlation": float(torch.corrcoef(torch.stack([half, full]))[0, 1]),
        "largest_difference": float((half - full).abs().max() / full.abs().max()),
        "seconds": seconds,
    }
    if label is not None:
        from monai.transforms import LoadImage

        truth = LoadImage(ensure_channel_first=True, image_only=True)(case["label"]).as_tensor() > 0
        found["dice_with_label"] = {kind: _dice(region, truth) for kind, region in regions.items()}
    return found


def _dice(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the Dice coefficient of two masks, 1 where both are empty."""
    both = int(first.sum()) + int(second.sum())
    return 2 * int((first & second.reshape(first.shape)).sum()) / both if both else 1.0


def main() -> None:
    """Run `compare_types` from the command line."""
    run_command(compare_types)


if __name__ == "__main__":
    main()
