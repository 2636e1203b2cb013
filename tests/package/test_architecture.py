"""The pages for developers name what is there."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import yaml


def _rooms(folder: Path) -> set[str]:
    found = {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}
    return found | {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


def test_the_architecture_page_describes_every_room_and_no_other(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:ground|\d) \| (.+?) \|", page, re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert described == _rooms(root / "scripts")


def test_the_contract_orders_every_room(root: Path) -> None:
    (contract,) = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    ordered = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    assert ordered == {"tools", "brain_anomaly", *(f"scripts.{name}" for name in _rooms(root / "scripts"))}


def test_files_that_the_pages_name_exist(root: Path) -> None:
    for page in ("docs/architecture.md", "CONTRIBUTING.md"):
        text = (root / page).read_text(encoding="utf-8")
        named = re.findall(r"`((?:scripts|tools|tests|bundle|docs)/[\w./]+\.\w+)`", text)
        assert [name for name in named if not (root / name).is_file() and "NAME" not in name] == [], page


def test_the_version_is_one(root: Path) -> None:
    version = json.loads((root / "metadata.json").read_text())["version"]
    assert "version" in tomllib.loads((root / "pyproject.toml").read_text())["project"]["dynamic"]  # setup.py reads it
    assert str(yaml.safe_load((root / "CITATION.cff").read_text())["version"]) == version
