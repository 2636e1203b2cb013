"""The short command."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.cli.analyze import analyze
from scripts.errors import InputError


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(root), "PAGER": "cat", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "scripts.cli.analyze", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_help_tells_every_option_and_that_this_is_no_medical_device(root: Path) -> None:
    told = " ".join((_run(root, "--help").stdout + _run(root, "--help").stderr).split())
    for name in inspect.signature(analyze).parameters:
        assert name == "more" or name in told or name.upper() in told, f"--{name} is not in the help page"
    assert "not a medical device" in told


def test_each_option_is_a_key_of_the_config_with_the_same_default(root: Path) -> None:
    config = yaml.safe_load((root / "bundle" / "configs" / "inference.yaml").read_text())
    for name, parameter in inspect.signature(analyze).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD or name == "input":
            continue
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        given = str(config[name])
        found = config["displayable_configs"][given.split("#")[1]] if given.startswith("@") else config[name]
        assert (None if found == "auto" and default is None else found) == default, f"--{name}"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("num_sample", "there is no option --num_sample. Did you mean --num_samples?"),
        ("zzz", "there is no option --zzz. --help lists the options."),
    ],
)
def test_an_unknown_option_is_refused_before_anything_runs(tmp_path: Path, option: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        analyze("scan_t1.nii.gz", str(tmp_path / "out"), **{option: 3})
    assert str(caught.value) == message
    assert not (tmp_path / "out").exists()


def test_a_wrong_input_ends_with_one_line_and_status_one(root: Path, tmp_path: Path) -> None:
    done = _run(root, str(tmp_path / "absent_t1.nii.gz"), str(tmp_path / "out"))
    assert done.returncode == 1
    assert "absent_t1.nii.gz" in done.stderr.strip().splitlines()[-1]
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
