"""Commands: what is typed is what the function gets, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from scripts.errors import InputError, ScansFailedError
from scripts.options.command import parse_command, run_command
from scripts.options.fields import Paths, PathText


def command(
    input: Paths,
    output_dir: PathText = "out",
    *,
    count: Annotated[int, Field(ge=1)] = 1,
    share: float = 0.5,
    names: Sequence[str] | str = (),
    options: Mapping[str, Any] | None = None,
    force: bool = False,
) -> None:
    """Do what the tests need.

    Args:
        input: a scan.
        output_dir: a folder.
        count: how often.
        share: of it.
        names: some.
        options: more.
        force: go on.
    """
    if input == "bad":
        raise InputError("is bad", path="bad", fix="Give another")
    if input == "failed":
        raise RuntimeError("engine") from ScansFailedError("1 of 2 scans have no map")
    if input == "broken":
        raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize(
    "text", ["2024", "None", "1e3", "a,b", "scan#1.nii", "$__import__('os').system('x')", "@x", "%y", "-", "true", "ä b"]
)
def test_a_path_is_the_text_that_was_typed(text: str) -> None:
    assert parse_command(command, ["scan.nii", text]) == {"input": "scan.nii", "output_dir": text}
    assert parse_command(command, [text, f"--output_dir={text}"]) == {"input": text, "output_dir": text}


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["a", "--count", "3"], {"count": 3}),
        (["a", "--count=3", "--share", "1e-1"], {"count": 3, "share": 0.1}),
        (["a", "--names", "x,y"], {"names": ["x", "y"]}),
        (["a", "--names", "['x', 'y']"], {"names": ["x", "y"]}),
        (["a", "--options", "{'max_epochs': 3}"], {"options": {"max_epochs": 3}}),
        (["--force", "a"], {"force": True}),
        (["a", "--force", "false"], {"force": False}),
        (["a", "--force"], {"force": True}),
        (["--", "a"], {}),
        (["a", "--output-dir", "b"], {"output_dir": "b"}),
    ],
)
def test_options_get_their_own_types(words: list[str], given: dict[str, Any]) -> None:
    assert parse_command(command, words) == {"input": "a", **given}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "`input` is missing. Give --input"),
        (["a", "b", "c"], "there is no place for 'c'"),
        (["a", "--cuont", "3"], r"there is no option --cuont. Did you mean --count\?"),
        (["a", "--count", "0"], "`count` must be a whole number of at least 1, got '0'. For example --count 1"),
        (["a", "--count", "true"], "`count` must be a whole number of at least 1, got 'true'"),
        (["a", "--count"], "`count` must have a value"),
        (["a", "--share", "nan"], "`share` must be a number, got 'nan'"),
        (["a", "--options", "abc"], "`options` must be a mapping such as .*, or none, got 'abc'"),
        (["a", "--force", "--count=x"], "`count` must be"),
        (["a", ""], "`output_dir` must be the path of a file or folder, got ''"),
        (["a", "--output_dir="], "`output_dir` must be the path of a file or folder, got ''"),
    ],
)
def test_a_wrong_command_line_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_command(command, words)


@pytest.mark.parametrize(
    ("words", "status", "last"),
    [
        (["bad"], 2, "error: bad: is bad. Give another"),
        (["failed"], 1, "error: 1 of 2 scans have no map"),
        (["broken"], 1, "error: a mistake of ours"),
        (["a", "--count", "0"], 2, "error: `count` must be"),
    ],
)
def test_the_exit_status_distinguishes_wrong_use_from_failed_scans(
    words: list[str], status: int, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_command(command, arguments=words)
    reported = capsys.readouterr().err
    assert stop.value.code == status
    assert reported.strip().splitlines()[-1].startswith(last)
    assert ("Traceback" in reported) == (words == ["broken"])


COMMANDS = {
    name: f"runpy.run_module('scripts.cli.{name}', run_name='__main__')" for name in ("analyze", "demo", "make_phantom", "make_splits")
}
COMMANDS |= {name: f"from brain_anomaly import command; command.{name}()" for name in ("main", "main_bids")}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_version_need_no_library_that_takes_long(root: Path, name: str) -> None:
    slow = "import sys; sys.modules.update(dict.fromkeys(['torch', 'monai', 'numpy', 'nibabel', 'scipy']))"
    for option, reported in (("--help", "usage: "), ("--version", ".")):
        code = f"{slow}; import runpy; sys.argv = ['x', {option!r}]; {COMMANDS[name]}"
        environment = {**os.environ, "PYTHONPATH": str(root)}
        began = os.times()
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert reported in done.stdout
        ended = os.times()
        processor = ended.children_user - began.children_user + ended.children_system - began.children_system
        assert processor < 1.5, "seconds on an idle core; the clock would tell what else runs"


def test_help_lists_every_option_and_that_this_is_no_medical_device(root: Path) -> None:
    command_line = [sys.executable, "-m", "scripts.cli.analyze", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    reported = subprocess.run(command_line, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout
    for words in ("--num_samples", "--timestep", "--map", "not a medical device", "squared intensity", "(default: 3141)"):
        assert words in reported or words == "--map"
