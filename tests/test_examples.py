"""The examples in docstrings give what they print."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
MODULES = sorted(
    ".".join(path.relative_to(SCRIPTS.parent).with_suffix("").parts)
    for path in SCRIPTS.rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_print(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
