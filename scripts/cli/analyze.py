"""Find anomalies in brain MRI scans: the bundle's inference under a short name, with a help page."""

from __future__ import annotations

from typing import Any

from scripts.options.fields import Paths, PathText
from scripts.options.values import as_literal
from scripts.options.workflows import InferenceOptions
from scripts.paths import bundle_root

__all__ = ["analyze", "main"]


def analyze(input: Paths, output_dir: PathText = "out", **options: Any) -> None:
    """Find anomalies in T1- or T2-weighted brain MRI; images, result.json and report.html for each scan.

    Research software; not a medical device.

    Args:
        input: a NIfTI or MGH file, a folder, a BIDS folder, a folder of DICOM, a CSV of scans, or a list
            "['a.nii.gz','b.nii.gz']".
        output_dir: a folder for each scan is made in it; several scans add summary.csv, regions.csv and index.html.
        **options: any other key of bundle/configs/inference.yaml, such as timestep=400 or score="whitened".

    Raises:
        InputError: if an option does not exist or cannot be used, before anything runs; ScansFailedError at the end, if
            scans have no result.

    Examples:
        >>> analyze("scan.nii.gz", num_samples=1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        scripts.errors.InputError: `num_samples` must be a whole number from 2 to 10000, got 1. For...
    """
    given = InferenceOptions.check({"input": input, "output_dir": output_dir, **options})
    import monai.bundle
    from scripts.log import quiet_log

    quiet_log()
    monai.bundle.run(config_file=_config_file(), **{_key(name): as_literal(value) for name, value in given.items()})


def _config_file() -> str:
    return f"{bundle_root()}/configs/inference.yaml"


def _defaults() -> dict[str, Any]:
    """Return the defaults that the config has for the options."""
    import yaml

    with open(_config_file(), encoding="utf-8") as file:
        config = yaml.safe_load(file)
    return {**config["displayable_configs"], **{k: v for k, v in config.items() if not _refers(v)}}


def _refers(value: Any) -> bool:
    return isinstance(value, dict) or str(value)[:1] in ("$", "@")


def _key(name: str) -> str:
    """Return where an option stands in the config: on its own, or in `map`."""
    from monai.bundle import ConfigParser

    return name if name in ConfigParser.load_config_file(_config_file()) else f"map#{name}"


def main() -> None:
    """Run `analyze` from the command line."""
    from scripts.options.command import run_command

    run_command(analyze, model=InferenceOptions, defaults=_defaults)


if __name__ == "__main__":
    main()
