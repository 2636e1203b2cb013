"""The examples in docstrings give what they print, and every package has some."""

from __future__ import annotations

import doctest
import importlib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for top in ("scripts/*", "brain_anomaly")
    for path in ROOT.glob(f"{top}/__init__.py")
)
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for top in ("scripts", "brain_anomaly")
    for path in (ROOT / top).rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_print(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_each_package_has_three_public_functions_with_examples() -> None:
    shown: Counter[str] = Counter()
    for name in MODULES:
        for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
            own = test.name.removeprefix(f"{name}.")
            if test.examples and not own.startswith("_"):
                shown.update(package for package in PACKAGES if f"{name}.".startswith(f"{package}."))
    assert {package: shown[package] for package in PACKAGES if shown[package] < 3} == {}
