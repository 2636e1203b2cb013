"""The options of `python -m monai.bundle run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.errors import InputError
from scripts.options.bundle_run import check_arguments, given_options

WRONG = [
    (["--num_sample", "3"], r"there is no option --num_sample\. Did you mean --num_samples\?"),
    (["--ntwork#unet", "3"], r"there is no option --ntwork\. Did you mean --network\?"),
    (["--num_samples", "None"], "`num_samples` must have a value, got None. Leave it out for its default"),
    (["--output_dir", "None"], "`output_dir` must have a value, got None. Write ./None"),
    (["--output_dir", "2024"], "`output_dir` must be a path, got '2024', which .* a value of Python. Write ./2024"),
    (["--output_dir", "1e3"], "`output_dir` must be a path, got '1e3'"),
    (["--output_dir", "a,b"], "`output_dir` must be a path, got 'a,b', which .* a list"),
    (["--output_dir", ""], "`output_dir` must be the path"),
    (["--input", "$__import__('os').system('touch pwned')"], "`input` must be a value, .* an expression. Put ./ before"),
    (["--input", "@output_dir"], "`input` must be a value, .* an expression"),
    (["--input", "%x.yaml"], "`input` must be a value, .* an expression"),
    (["--input", "a#b.nii"], "`input` must have no # here"),
    (["--input", "['a.nii','$__import__(1)']"], "`input` must be a value, .* an expression"),
    (["--input", "'$__import__(1)'"], "`input` must be a value, .* an expression"),
    (["--input", "[['@output_dir']]"], "`input` must be a value, .* an expression"),
    (["--input", "['a#b.nii']"], "`input` must have no # here"),
    (["--input", "a@::b.nii"], "`input` must have no # here"),
    (["--input#0", "$__import__(1)"], "`input#0` must be a value, .* an expression"),
    (["--output_dir", "['$x']"], "`output_dir` must be a value, .* an expression"),
    (["--erosion", "100"], r"`erosion` must be a whole number from 0 to 20 \(voxels\), got 100"),
    (["--map#erosion", "100"], "`erosion` must be a whole number from 0 to 20"),
    (["--sampling::num_samples", "1"], "`num_samples` must be a whole number from 2 to 10000, got 1"),
    (["--save=5"], "`save` must be a list .*, got 5"),
    (["--device", "foo"], "`device` must be auto, cpu, cuda, or one such as cuda:1, got 'foo'"),
    (["--autocast_dtype", "int8"], "`autocast_dtype` must be one of auto, bfloat16, float16, or none, got 'int8'"),
    (["--timestep", "1.5"], "`timestep` must be a whole number from 0 to 999999"),
    (["--grid_size", "[33,33,16]"], "`grid_size` must be three whole numbers, the first two multiples of 8"),
    (["--regularization", "abc"], "`regularization` must be a number above 0"),
    (["--median_size", "99"], "`median_size` must be 0 or an odd whole number from 1 to 31, got 99"),
    (["--threshold", "inf"], "`threshold` must be a number from 0 to 1000000, or auto, got 'inf'"),
]
RIGHT = [
    ["--num_samples", "3", "--map#smoothing_sigma", "2", "--sampling#seed", "7"],
    ["--smoothing_sigma", "2", "--timestep", "400", "--save", "[anomaly_map,brain_mask]"],
    ["--threshold", "auto", "--modality", "None", "--overwrite", "--input", "['a.nii','b.nii']"],
    ["--network_def#unet#num_channels", "[1,2]", "--inferer#outputs", "['anomaly_map']"],
]


def config(root: Path) -> list[str]:
    return ["--config_file", str(root / "bundle" / "configs" / "inference.yaml")]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_a_wrong_option_is_refused(root: Path, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_arguments([*config(root), *words])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_sample": 3}, r"there is no option --num_sample\. Did you mean --num_samples\?"),
        ({"input": "$__import__('os')"}, "`input` must be a value, .* an expression"),
        ({"input": ["a.nii", "$x"]}, "`input` must be a value, .* an expression"),
        ({"erosion": 100}, "`erosion` must be a whole number from 0 to 20"),
    ],
)
def test_options_in_a_file_of_arguments_are_checked_alike(root: Path, tmp_path: Path, options: dict, message: str) -> None:
    (tmp_path / "args.json").write_text(json.dumps(options))
    with pytest.raises(InputError, match=message):
        check_arguments([*config(root), "--args_file", str(tmp_path / "args.json")])


@pytest.mark.parametrize("words", RIGHT)
def test_what_users_know_goes_on_working(root: Path, words: list[str]) -> None:
    check_arguments([*config(root), *words])


@pytest.mark.parametrize(
    ("configs", "words", "message"),
    [
        (["train"], ["--learning_rate", "0"], "`learning_rate` must be a number above 0"),
        (["train"], ["--max_epochs", "0"], "`max_epochs` must be a whole number from 1"),
        (["train"], ["--num_samples", "3"], "there is no option --num_samples"),
        (["train", "pretrain"], ["--mask_ratio", "1"], "`mask_ratio` must be a number above 0 and below 1"),
        (["inference", "evaluate"], ["--split", "tset"], "`split` must be one of train, val, test, got 'tset'"),
        (["inference", "calibrate"], ["--rates", "[0.1,2]"], "`rates` must be a list of one or more"),
        (["preprocess"], ["--device", "foo"], "`device` must be auto, cpu"),
        (["preprocess"], ["--dataset", "../x"], "`dataset` must be a name of letters"),
    ],
)
def test_each_config_knows_its_own(root: Path, configs: list[str], words: list[str], message: str) -> None:
    files = str([str(root / "bundle" / "configs" / f"{name}.yaml") for name in configs])
    with pytest.raises(InputError, match=message):
        check_arguments(["training", "--config_file", files, *words])


def test_options_are_the_texts_that_were_typed() -> None:
    words = ["training", "--a", "1", "--b=x=y", "--flag", "--c", "-3"]
    assert given_options(words) == {"a": "1", "b": "x=y", "flag": "True", "c": "-3"}


@pytest.mark.parametrize("words", [["--num_sample", "3"], ["--input", "['a.nii', '$__import__(\"os\").system(\"touch pwned\")']"]])
def test_the_real_command_ends_with_one_line_and_status_2_before_anything_runs(
    root: Path, tmp_path: Path, words: list[str]
) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", *config(root), *words]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
