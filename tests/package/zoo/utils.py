"""Stands in for `ci/unit_tests/utils.py` of Project-MONAI/model-zoo: the one function that our tests there call."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from monai.bundle import ConfigParser


def export_config_and_run_mgpu_cmd(
    config_file: Sequence[str], meta_file: str, override_dict: dict, output_path: str, logging_file: str, ngpu: int
) -> None:
    """Merge the configs and the overrides into one file, and run it in `ngpu` processes with the bundle on the path."""
    content = ConfigParser()
    content.read_config(config_file)
    content.update(override_dict)
    ConfigParser.export_config_file(content.config, output_path)
    files = ["--config_file", output_path, "--meta_file", meta_file, "--logging_file", logging_file]
    command = ["torchrun", "--standalone", f"--nproc_per_node={ngpu}", "-m", "monai.bundle", "run", *files]
    subprocess.check_call(command, env={**os.environ, "PYTHONPATH": override_dict["bundle_root"]})
