"""Seconds from a NIfTI file to an anomaly map on its grid, by part."""

from __future__ import annotations

import cProfile
import inspect
import json
import logging
import pstats
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

from scripts.errors import InputError
from scripts.inferers import MahalanobisInferer
from scripts.networks import ConditionedUNet, load_weights
from scripts.ops import mahalanobis_map, make_noise, postprocess, ssim_map
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.paths import bundle_root
from scripts.scans.volume import save_volume
from tools.benchmark.measure import Measure, seconds_of
from tools.benchmark.memory import measure_peak

__all__ = ["VolumePipeline", "benchmark_volume", "template_case", "volume_memory"]

logger = logging.getLogger(__name__)
_FIELD_OF_VIEW_MM = 192.0  # edge of the paper's crop
_PARTS: dict[str, Callable[..., object]] = {
    "noise": make_noise,
    "encode": ConditionedUNet.encode,
    "reconstructions": ConditionedUNet.forward,
    "mahalanobis_map": mahalanobis_map,
    "ssim": ssim_map,
    "median_and_erosion": postprocess,
}


def template_case(folder: Path) -> dict[str, str]:
    """Write the MNI152 T1 template that nilearn ships (1 mm, brain only) and its brain mask; return their paths."""
    case = {"image": str(folder / "mni152_t1.nii.gz"), "brain_mask": str(folder / "mni152_brain_mask.nii.gz")}
    nib.save(load_mni152_template(resolution=1), case["image"])
    nib.save(load_mni152_brain_mask(resolution=1), case["brain_mask"])
    return case


@dataclass(kw_only=True)
class VolumePipeline:
    """The bundle's own way from a scan to its files, as `configs/inference.yaml` describes it, part by part.

    The scan is a brain on the template: extraction, alignment and quality control are left out, and the pictures, the
    page and the JSON file of the inference workflow too.

    Args:
        num_samples: K.
        num_slices: slices of the working grid.
        size: its height and width in voxels, a multiple of 8; the field of view stays 192 mm.
        output_dir: folder for the maps.
    """

    num_samples: int
    num_slices: int
    size: int
    output_dir: str

    def __post_init__(self) -> None:
        """Build everything from the config."""
        root = Path(bundle_root())
        parser = ConfigParser()
        parser.read_config(str(root / "configs" / "inference.yaml"))
        parser.update(
            {
                "num_samples": self.num_samples,
                "grid_size": [self.size, self.size, self.num_slices],
                "grid_spacing": _FIELD_OF_VIEW_MM / self.size,
                "output_dir": self.output_dir,
                "device": "cpu",
                "brain_extraction": "never",
                "alignment": "never",
                "quality_control": False,
                "progress": False,
            }
        )
        self.preprocessing: Compose = parser.get_parsed_content("preprocessing")
        self.inferer: MahalanobisInferer = parser.get_parsed_content("inferer")
        self.postprocessing: Compose = parser.get_parsed_content("postprocessing")
        self.network: ConditionedUNet = parser.get_parsed_content("network_def").eval()
        load_weights(self.network, root / "models" / "model.pt")

    def infer(self, data: dict) -> torch.Tensor:
        """Return the maps [C, H, W, D] of preprocessed data."""
        return self.inferer(data["image"][None], self.network, data["brain_mask"][None])[0]

    def warm_up(self, data: dict) -> None:
        """Reconstruct two slices from the middle, so that what is compiled or loaded on first use is there."""
        middle = data["image"].shape[-1] // 2
        part = slice(max(middle - 1, 0), middle + 1)
        self.infer({key: data[key][..., part] for key in ("image", "brain_mask")})

    def run(self, case: dict[str, str]) -> dict[str, float]:
        """Do one scan, from file to file, and return the seconds of each part and of the whole.

        The parts inside the inferer are cumulative times of cProfile in the same run; it slows Python code down, but
        what takes the time here is compiled.
        """
        seconds: dict[str, float] = {}
        start = time.perf_counter()
        data = self.preprocessing(dict(case))
        seconds["load_and_preprocess"] = time.perf_counter() - start
        profile = cProfile.Profile()
        maps = profile.runcall(self.infer, data)
        inferred = time.perf_counter()
        seconds |= _part_seconds(profile)
        seconds["rest_of_inferer"] = inferred - start - sum(seconds.values())
        finished = self.postprocessing({**data, "pred": maps})
        for name in ("anomaly_map", "lesion_mask"):
            save_volume(Path(self.output_dir) / f"scan_{name}.nii.gz", finished[name], name=name)
        end = time.perf_counter()
        return seconds | {"back_to_scan_and_write": end - inferred, "end_to_end": end - start}


def benchmark_volume(case: dict[str, str], pipeline: VolumePipeline, *, repeats: int) -> list[Measure]:
    """Time the way from a scan's file to its anomaly map, by part.

    Args:
        case: path of the `image`, and of its `brain_mask` where there is one.
        pipeline: what to run.
        repeats: timed runs, after a warm-up with two slices, whose time is given apart.

    Returns:
        The seconds of each part and of the whole, and what they are for.

    Raises:
        InputError: if the image or the mask does not exist or cannot be used.
    """
    for path in map(Path, case.values()):
        if not path.is_file():
            raise InputError("the file does not exist", path=path, fix="Give the path of a NIfTI file.")
    data = pipeline.preprocessing(dict(case))
    warm_up = seconds_of(lambda: pipeline.warm_up(data)).wall
    runs = []
    for turn in range(repeats):
        logger.info("scan to anomaly map, %d of %d ...", turn + 1, repeats)
        runs.append(pipeline.run(case))
    slices = int((data["brain_mask"][0] > 0).flatten(0, 1).any(dim=0).sum())
    measures = [Measure(f"one scan, {part.replace('_', ' ')}", "s", [run[part] for run in runs]) for part in runs[0]]
    passes = Measure("one scan, forward passes", "slices", [slices * pipeline.num_samples])
    return [*measures, passes, Measure("one scan, compiled and loaded on first use, not in the above", "s", [warm_up])]


def volume_memory(
    image: PathText,
    result: PathText,
    *,
    brain_mask: PathText | None = None,
    num_samples: int = 10,
    num_slices: int = 50,
    size: int = 96,
) -> None:
    """Measure the peak memory of one scan, from file to anomaly map, and write the MiB as JSON.

    Args:
        image: NIfTI file.
        result: file to write.
        brain_mask: NIfTI file; the voxels that are not zero in the image if None.
        num_samples: K.
        num_slices: slices of the working grid.
        size: its height and width in voxels.
    """
    case = {"image": image} if brain_mask is None else {"image": image, "brain_mask": brain_mask}
    with tempfile.TemporaryDirectory() as folder:
        pipeline = VolumePipeline(num_samples=num_samples, num_slices=num_slices, size=size, output_dir=folder)
        peak = measure_peak(lambda: pipeline.run(case))
    Path(result).write_text(json.dumps(peak), encoding="utf-8")


def _part_seconds(profile: cProfile.Profile) -> dict[str, float]:
    """Return the cumulative seconds of each of `_PARTS`."""
    timings = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    seconds = {}
    for part, function in _PARTS.items():
        code = inspect.unwrap(function).__code__
        seconds[part] = timings[code.co_filename, code.co_firstlineno, code.co_name][3]
    return seconds


def main() -> None:
    """Run `volume_memory` from the command line."""
    run_command(volume_memory)


if __name__ == "__main__":
    main()
