"""One server for all tests, with scans that it can and cannot use. It needs the environment of `make test-monailabel`."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools" / "monai_label")]
if importlib.util.find_spec("monailabel"):
    from start import make_torchvision_usable

    OPERATORS = make_torchvision_usable()
collect_ignore_glob = [] if importlib.util.find_spec("monailabel") else ["test_*.py"]  # in no other environment

REAL = {
    "stripped_T1w": "raw/ds002748/sub-02/anat/sub-02_T1w.nii.gz",
    "skull_T1w": "raw/mslub_longitudinal/patient04_study1_T1W.nii.gz",
    "partner_T1w": "raw/ds000011/sub-12/anat/sub-12_T1w.nii.gz",
    "inplaneT2": "raw/ds000011/sub-12/anat/sub-12_inplaneT2.nii.gz",
}


def _template(path: Path) -> None:
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    from scripts.cli.demo import draw_lesion

    template = load_mni152_template(resolution=2)
    brain = load_mni152_brain_mask(resolution=2).get_fdata() > 0
    image, _ = draw_lesion(template.get_fdata() * brain, brain, template.affine)
    nib.save(nib.Nifti1Image(image.astype(np.float32), template.affine), path)


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scans that the server shows: nilearn's template, the real ones as far as here, and bad ones."""
    folder = tmp_path_factory.mktemp("studies")
    _template(folder / "template_T1w.nii.gz")
    grid = np.diag([2.0, 2.0, 2.0, 1.0])
    nib.save(nib.Nifti1Image(np.zeros((40, 40, 40), np.float32), grid), folder / "empty_T1w.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((20, 20, 20, 5), np.float32), grid), folder / "series_T1w.nii.gz")
    shutil.copyfile(folder / "template_T1w.nii.gz", folder / "misnamed_T2w.nii.gz")
    shutil.copyfile(folder / "template_T1w.nii.gz", folder / "scan_flair.nii.gz")
    data = next((p for p in _data_dirs() if p.is_dir()), None)
    for name, source in REAL.items() if data else ():
        shutil.copyfile(data / source, folder / f"{name}.nii.gz")
    return folder


def _data_dirs() -> list[Path]:
    import os

    given = os.environ.get("MRI_TEST_DATA")
    return [Path(given)] if given else [HERE.parents[2] / "shared" / "data"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, studies: Path) -> Iterator[object]:
    """A `LabelServer` with the bundle as `package_bundle` packs it."""
    from label_server import install_app, start_server

    from tools.release.package_bundle import package_bundle

    folder = tmp_path_factory.mktemp("label")
    package_bundle(str(folder / "dist"))
    bundle = install_app(folder, next((folder / "dist").glob("*.zip")))
    process, running = start_server(folder, bundle, studies)
    yield running
    process.kill()  # it has nothing to save, and would first work off what a test that failed has asked for
    process.wait()


@pytest.fixture
def client(server, tmp_path: Path):
    """The client that the plugin of 3D Slicer is made of, which monailabel ships."""
    from monailabel.client import MONAILabelClient

    return MONAILabelClient(server.url, tmpdir=str(tmp_path))


@pytest.fixture
def real_scan(studies: Path) -> Callable[[str], str]:
    """Factory: the name of a real scan that the server has; skips where the shared data are absent."""

    def _real_scan(name: str) -> str:
        if not (studies / f"{name}.nii.gz").is_file():
            pytest.skip("needs the real scans of MRI_TEST_DATA or ../shared/data, which are not here")
        return name

    return _real_scan
