"""Find anomalies in brain MRI scans: the bundle's inference under a short name, with a help page."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from typing import Any

import fire
import monai.bundle

from scripts.errors import InputError, end_with_the_reason
from scripts.log import quiet_log
from scripts.paths import bundle_root

__all__ = ["analyze", "main"]


def analyze(
    input: str | Sequence[str],
    output_dir: str = "out",
    *,
    modality: str | None = None,
    series: str | int | None = None,
    t1: str | Sequence[str] | None = None,
    brain_mask: str | Sequence[str] | None = None,
    device: str = "cpu",
    num_samples: int = 10,
    seed: int = 3141,
    threshold: float | None = None,
    min_volume_ml: float = 0.0,
    save: Sequence[str] | str = ("anomaly_map", "lesion_mask"),
    dicom: str | bool = "auto",
    brain_extraction: str = "auto",
    alignment: str = "auto",
    bias_correction: bool = False,
    overwrite: bool = False,
    force: bool = False,
    **more: Any,
) -> None:
    """Find anomalies in T1- or T2-weighted brain MRI; images, result.json and report.html for each scan.

    Research software; not a medical device.

    Args:
        input: a NIfTI or MGH file, a folder, a BIDS folder, a folder of DICOM, a CSV of scans, or a list
            "['a.nii.gz','b.nii.gz']".
        output_dir: a folder for each scan is made in it; several scans add summary.csv, regions.csv and index.html.
        modality: t1 or t2; taken from each scan's name by default.
        series: of a folder of DICOM, the number of the series or a part of its description.
        t1: the T1-weighted scan of the same session, for a T2-weighted one; its brain mask serves both.
        brain_mask: a brain mask on each scan's own grid; one is made by default.
        device: cpu or cuda.
        num_samples: reconstructions of each slice, at least 2; the time grows with it.
        seed: of the noise; the same seed gives the same map.
        threshold: voxels of the anomaly map at or above it are lesion; models/thresholds.json has the default.
        min_volume_ml: smallest candidate region to keep, ml of the scan's own voxels.
        save: images to write: anomaly_map, lesion_mask, mahalanobis_map, reconstruction, uncertainty, brain_mask.
        dicom: DICOM segmentation and parametric map too; auto where the input is DICOM; true; false.
        brain_extraction: auto leaves scans alone that are already skull-stripped; always; never.
        alignment: to MNI152; auto leaves scans alone that are there already; always; never.
        bias_correction: correct the bias field with N4.
        overwrite: do scans again that have a result.
        force: go on with scans that quality control refuses.
        **more: any other key of bundle/configs/inference.yaml, such as --timestep 400 or --score whitened.
    """
    quiet_log()
    end_with_the_reason()
    given = {name: value for name, value in locals().items() if name not in ("more", "given")}
    config_file = f"{bundle_root()}/configs/inference.yaml"
    _check_names(more, config_file)
    given["save"] = [save] if isinstance(save, str) else list(save)
    monai.bundle.run(config_file=config_file, **given, **more)


def _check_names(more: dict[str, Any], config_file: str) -> None:
    known = list(monai.bundle.ConfigParser.load_config_file(config_file))
    for name in more:
        if name.split("#")[0].split("::")[0] not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean --{near[0]}?" if near else "--help lists the options."
            raise InputError(f"there is no option --{name}", fix=hint)


def main() -> None:
    """Run `analyze` from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire(analyze)


if __name__ == "__main__":
    main()
