"""Whatever a user types reaches the config as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from scripts.options import as_literal

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
