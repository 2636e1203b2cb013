"""The unit tests that go into the Model Zoo pass there: in a folder laid out as the zoo's, with nothing else on the path."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from .conftest import run_there

TESTS = Path(__file__).parent / "zoo"


@pytest.fixture
def zoo(unzipped: Path, tmp_path: Path) -> Path:
    """A checkout of the Model Zoo, as far as these tests see of it."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / unzipped.name).symlink_to(unzipped)
    shutil.copytree(TESTS, tmp_path / "ci" / "unit_tests")
    return tmp_path


def test_training_and_inference_pass(zoo: Path) -> None:
    done = run_there(zoo, "ci/unit_tests/test_brain_mri_anomaly_segmentation.py")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Ran 2 tests" in done.stderr


@pytest.mark.slow
def test_training_with_two_processes_passes(zoo: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = run_there(zoo, "ci/unit_tests/test_brain_mri_anomaly_segmentation_dist.py", PATH=path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Ran 1 test" in done.stderr
