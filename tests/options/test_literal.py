"""Whatever a user types reaches the config as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from scripts.options import as_literal
from scripts.options.workflows import InferenceOptions

TYPED = [
    "scan#1.nii.gz",
    "#",
    "$__import__('os').system('touch pwned')",
    "$import this",
    "@input",
    "@::x",
    "%metadata.json",
    "%y",
    "100 % sure",
    "a@b.nii",
    "2024",
    "None",
    "1e3",
    "a,b",
    "[1, 2]",
    "{'a': 1}",
    "true",
    "ä ö ü \\ \" '",
    "a\\u0024b",
    ["a#1.nii", "$x", "plain"],
    {"$a": "@b", "c": ["%d"]},
    None,
    1.5,
]


@pytest.mark.parametrize("typed", TYPED, ids=str)
def test_a_value_comes_out_of_the_parser_unchanged(typed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parser = ConfigParser({"typed": as_literal(typed), "used": "@typed", "inside": "$[@typed, 1]"})
    assert parser.get_parsed_content("used") == typed
    assert parser.get_parsed_content("inside") == [typed, 1]
    assert not list(tmp_path.iterdir()), "nothing was executed"


def test_a_path_is_its_text() -> None:
    assert as_literal(Path("a/b")) == "a/b"


def test_none_is_given_too() -> None:
    assert as_literal(None) is not None, "monai.bundle.run leaves options that are None to the config"


@pytest.mark.parametrize(("given", "expected"), [("none", None), (None, None), ("auto", "auto"), ("float16", "float16")])
def test_the_type_that_was_asked_for_is_the_one_that_is_given(given: str | None, expected: str | None) -> None:
    assert InferenceOptions.check({"input": "x", "autocast_dtype": given})["autocast_dtype"] == expected
