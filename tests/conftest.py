"""Shared fixtures: where the real data and the parity numbers lie, and quiet single-threaded torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.page_reader import read_page  # noqa: F401
from tests.scan_fixtures import load, phantom_case, write_nifti  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    # Two threads on a busy two-core machine spend most of their time waiting for each other.
    torch.set_num_threads(1)


def _shared(name: str, variable: str | None = None) -> Path:
    candidates = [Path(os.environ[variable])] if variable and os.environ.get(variable) else []
    candidates.append(ROOT.parent / "shared" / name)
    for path in candidates:
        if path.is_dir():
            return path
    hint = f"; set {variable} to their folder" if variable else ""
    pytest.skip(f"needs {name} in ../shared, which is not here{hint}")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real scans: MRI_TEST_DATA, or ../shared/data."""
    return _shared("data", "MRI_TEST_DATA")


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Numbers that the formulas must reproduce: ../shared/parity."""
    return _shared("parity", "MRI_PARITY_DATA")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
