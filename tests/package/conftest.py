"""The bundle, packed and unzipped into a folder of its own, and a way to run things there without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from nilearn.datasets import load_mni152_template

from tests.tiny import TINY_NETWORK
from tools.release.package_bundle import BUNDLE_NAME, package_bundle

collect_ignore_glob = ["zoo/*"]  # they run from the Model Zoo's folder; see test_zoo_tests
QUICK = {"num_samples": 2, "brain_extraction": "never", "alignment": "never", "quality_control": False}
TINY = {"datasets": ["IXI"], **TINY_NETWORK}


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip file that the tool writes."""
    hook, folder = sys.excepthook, tmp_path_factory.mktemp("dist")
    package_bundle(str(folder))
    sys.excepthook = hook
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="session")
def unzipped(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's folder, alone in an empty folder outside of the repository."""
    folder = tmp_path_factory.mktemp("user")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    return folder / BUNDLE_NAME


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nilearn's MNI152 brain at 2 mm, as a scan."""
    path = tmp_path_factory.mktemp("template") / "scan_T1w.nii.gz"
    load_mni152_template(resolution=2).to_filename(path)
    return path


def run_there(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder` as a user would who has never seen the repository."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DATA_DIR", "LOG_DIR")}
    clean |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=clean, capture_output=True, text=True, timeout=300, check=False
    )
