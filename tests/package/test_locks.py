"""The lock files hold what the requirements say, with hashes, for any package index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SOURCES = {
    "requirements.lock": ("requirements.txt", "requirements-dicom.txt"),
    "requirements-dev.lock": ("requirements-dev.txt",),
    "requirements-docs.lock": ("requirements-docs.txt",),
    "requirements-monailabel.lock": ("requirements-monailabel.txt",),
}


def _requirements(root: Path, name: str) -> list[Requirement]:
    """Read a requirements file and those that it includes."""
    found = []
    for line in (root / name).read_text().splitlines():
        if line.startswith("-r "):
            found += _requirements(root, line.removeprefix("-r "))
        elif line.strip() and not line.startswith("#"):
            found.append(Requirement(line))
    return found


def _locked(root: Path, name: str) -> dict[str, tuple[str, list[str]]]:
    """Return {package: (version, hashes)}; a line that is neither fails."""
    found = {}
    text = "\n".join(line for line in (root / name).read_text().splitlines() if not line.startswith("#"))
    for entry in re.split(r"\n(?=\S)", text):
        first, *hashes = [part.strip() for part in entry.split("\\\n")]
        match = re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)( ; [^\\]+)?", first)
        assert match, f"{name}: {first!r} is not a pin"
        assert match[1] not in found, f"{name}: {match[1]} is there twice: one version for every system and Python"
        found[match[1]] = (match[2], hashes)
    return found


@pytest.mark.parametrize("lock", SOURCES)
def test_a_lock_has_the_versions_of_the_requirements(root: Path, lock: str) -> None:
    locked = _locked(root, lock)
    for requirement in (requirement for source in SOURCES[lock] for requirement in _requirements(root, source)):
        version, _ = locked.get(canonicalize_name(requirement.name), ("nothing", []))
        assert version in requirement.specifier, f"{lock} has {version}, wanted is {requirement}: run `make lock`"


@pytest.mark.parametrize("lock", SOURCES)
def test_every_package_has_hashes_and_no_index_is_named(root: Path, lock: str) -> None:
    for package, (_, hashes) in _locked(root, lock).items():
        assert hashes, package
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", line) for line in hashes), package
    assert not re.search(r"://|^-|file:|/\w+/", (root / lock).read_text(), re.MULTILINE)


@pytest.mark.parametrize("lock", SOURCES)
def test_no_lock_chooses_a_build_of_torch(root: Path, lock: str) -> None:
    assert [name for name in _locked(root, lock) if re.match("torch$|triton|nvidia-|cuda-", name)] == []


def test_the_tools_are_added_to_the_packages_that_run_the_bundle(root: Path) -> None:
    run, tools = _locked(root, "requirements.lock"), _locked(root, "requirements-dev.lock")
    assert {name: tools.get(name) for name in run} == run
