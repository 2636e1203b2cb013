"""Commands as users call them, with what they cannot use: one line that says what and what to do, and the status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = "{root}/bundle/configs"
INFERENCE = f"{CONFIGS}/inference.yaml"
# module, words, status, the last line
ROWS = [
    ("scripts.cli.analyze", "scan.nii.gz out --num_sample 3", r"there is no option --num_sample\. Did you mean --num_samples\?"),
    ("scripts.cli.analyze", "scan.nii.gz --erosion 100", "`erosion` must be a whole number from 0 to 20"),
    ("scripts.cli.analyze", "", r"`input` is missing\. Give --input"),
    ("scripts.cli.analyze", "nowhere.nii.gz", r"nowhere\.nii\.gz: the scan does not exist"),
    ("scripts.cli.make_phantom", "out --shape abc", "`shape` must be"),
    ("scripts.cli.make_phantom", "out --shape 99,99,9999", "`shape` must be at most 512 voxels along each axis"),
    ("scripts.cli.make_phantom", "out --spacing 0", "`spacing` must be one or three lengths in mm above 0"),
    ("scripts.cli.make_splits", "nowhere", "nowhere: "),
    ("scripts.cli.demo", "--num_samples x", "`num_samples` must be a whole number"),
    ("tools.run_folds", "out --train_options abc", "`train_options` must be a mapping"),
    ("tools.run_folds", "out --folds x", "`folds` must be"),
    ("tools.compare_runs", "nowhere nowhere", r"nowhere: no cases\.csv is there"),
    ("tools.make_synthetic_lesions", "shapes.nii out --dataset IXI --per_scan 0", "`per_scan` must be a whole number from 1 to 1000"),
    ("tools.ablation", "grid.yaml --modality t3", "`modality` must be"),
    ("tools.benchmark", "--size 36", "`size` must be a multiple of 8"),
    ("tools.quality", "nowhere", "`shapes` is missing"),
    ("tools.quality", "nowhere --shapes nowhere.nii", r"nowhere\.nii: the shapes cannot be read"),
    ("tools.quality.invariance", "scan.nii.gz --num_samples 0", "`num_samples` must be a whole number from 1"),
    ("tools.release.package_bundle", "--bundle_dir nowhere", "nowhere: the bundle has no LICENSE"),
    ("tools.release.check_bundle", "nowhere", "nowhere: there is no such folder"),
    ("monai.bundle", f"run training --config_file {CONFIGS}/train.yaml --learning_rate 0", "`learning_rate` must be a number above 0"),
    ("monai.bundle", f"run --config_file {CONFIGS}/preprocess.yaml --dataset ../x", "`dataset` must be a name of letters"),
    ("monai.bundle", f"run --config_file ['{INFERENCE}','{CONFIGS}/evaluate.yaml'] --split tset", "`split` must be one of train, val, test"),
    ("monai.bundle", f"run --config_file ['{INFERENCE}','{CONFIGS}/calibrate.yaml'] --rates [2]", "`rates` must be a list"),
]  # fmt: skip
TOOLS = sorted({module for module, *_ in ROWS if module != "monai.bundle"})
_HELP = """
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module("{module}", run_name="__main__", alter_sys=True)
except SystemExit as end:
    loaded = {{"torch", "monai", "scipy", "matplotlib", "SimpleITK"}} & set(sys.modules)
    sys.exit(f"needs {{sorted(loaded)}}" if loaded else end.code)
"""


def run(root: Path, folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.parametrize(("module", "words", "message"), ROWS, ids=[f"{module} {words}"[:60] for module, words, _ in ROWS])
def test_a_command_that_is_asked_wrongly_ends_with_one_line_and_status_2(
    root: Path, tmp_path: Path, module: str, words: str, message: str
) -> None:
    done = run(root, tmp_path, "-m", module, *words.format(root=root).split())
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(message, last), last
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is written"


@pytest.mark.parametrize("module", TOOLS)
def test_a_help_page_needs_none_of_the_large_packages(root: Path, tmp_path: Path, module: str) -> None:
    done = run(root, tmp_path, "-c", _HELP.format(module=module))
    assert done.returncode == 0, done.stderr[-500:]
    assert f"python -m {module}" in done.stdout
