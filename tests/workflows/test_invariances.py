"""What must not change a result: orientation, type and scale of the voxels, offset, order and name of the files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigWorkflow
from nibabel.orientations import apply_orientation, inv_ornt_aff

from scripts.data import find_scans
from scripts.data.phantom import phantom_affine, phantom_volume

from .conftest import FAST

CONFIG = "bundle/configs/inference.yaml"
SHAPE = (32, 32, 16)
AFFINE = phantom_affine(SHAPE, 2.0)
VOXELS = np.round(np.asarray(phantom_volume(SHAPE, 5, "t1", lesion=True)[0]) * 250).astype(np.int16)
FEW = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
Score = Callable[[Path], torch.Tensor]


@pytest.fixture(scope="module")
def score(root: Path, trained: tuple[Path, subprocess.CompletedProcess]) -> Score:
    """From a file to the anomaly map on the working grid, with a tiny network."""
    workflow = ConfigWorkflow(str(root / CONFIG), workflow_type="inference", checkpoint=str(trained[0] / "model.pt"), **FAST)
    workflow.initialize()

    def run(path: Path) -> torch.Tensor:
        (item,) = find_scans(path, modality="t1")
        return torch.as_tensor(workflow.inferer(workflow.preprocessing(item)["image"][None], workflow.network_def)[0, 0])

    return run


@pytest.fixture(scope="module")
def plain(score: Score, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return score(_save(tmp_path_factory.mktemp("plain") / "scan.nii.gz", VOXELS))


def _save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def _dice(first: torch.Tensor, second: torch.Tensor) -> float:
    """Dice of what lies above the 95th percentile of the first map."""
    threshold = float(first[first > 0].quantile(0.95))
    a, b = first >= threshold, second >= threshold
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@FEW
@given(axes=st.permutations(range(3)), flips=st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_orientation(score: Score, plain: torch.Tensor, tmp_path: Path, axes: list[int], flips: tuple[int, ...]) -> None:
    change = np.array(list(zip(axes, flips, strict=True)))
    path = _save(tmp_path / "s.nii.gz", apply_orientation(VOXELS, change), AFFINE @ inv_ornt_aff(change, SHAPE))
    torch.testing.assert_close(score(path), plain, atol=1e-4, rtol=1e-4)


@FEW
@given(kind=st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4", "i8"]), packed=st.booleans())
def test_type_of_the_voxels(score: Score, plain: torch.Tensor, tmp_path: Path, kind: str, packed: bool) -> None:
    path = tmp_path / ("s.nii.gz" if packed else "s.nii")
    nib.save(nib.Nifti1Image(VOXELS.astype(kind), AFFINE, dtype=np.dtype(kind)), path)
    assert torch.equal(score(path), plain)


@FEW
@given(exponent=st.floats(-8, 8), offset=st.floats(-3, 3))
def test_scale_and_offset(score: Score, plain: torch.Tensor, tmp_path: Path, exponent: float, offset: float) -> None:
    scaled = (VOXELS.astype(np.float64) + offset * VOXELS.max()) * 10.0**exponent
    found = score(_save(tmp_path / "s.nii.gz", scaled.astype(np.float32)))
    assert _dice(plain, found) >= 0.99
    torch.testing.assert_close(found, plain, atol=0.02 * float(plain.max()), rtol=0.02)


def _normalised(voxels: np.ndarray, kind: str) -> np.ndarray:
    brain = voxels > 0
    inside = voxels[brain]
    return {
        "z": (voxels - voxels.mean()) / voxels.std(),
        "z inside": np.where(brain, (voxels - inside.mean()) / inside.std(), 0),
        "[-1, 1]": 2 * voxels / voxels.max() - 1,
        "nan": np.where(brain, voxels, np.nan),
    }[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["z", "[-1, 1]", "nan"])
def test_usual_normalisations(score: Score, plain: torch.Tensor, tmp_path: Path, kind: str) -> None:
    changed = _normalised(VOXELS.astype(np.float64), kind)
    assert _dice(plain, score(_save(tmp_path / "s.nii.gz", changed))) >= 0.99


def test_standardised_inside_of_the_brain(score: Score, tmp_path: Path) -> None:
    """How far the darkest tissue lay above the background is lost: here 1 % of the span, as in real stripped scans."""
    brain = VOXELS > 0
    voxels = np.where(brain, VOXELS - VOXELS[brain].min() + 0.01 * np.ptp(VOXELS[brain]), 0)
    plain = score(_save(tmp_path / "plain.nii.gz", voxels.astype(np.float32)))
    changed = score(_save(tmp_path / "s.nii.gz", _normalised(voxels, "z inside")))
    assert _dice(plain, changed) >= 0.99


@FEW
@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=40))
def test_name_of_the_file(score: Score, plain: torch.Tensor, tmp_path: Path, name: str) -> None:
    path = _save(tmp_path / "s.nii.gz", VOXELS).rename(tmp_path / f"x{name}.nii.gz")
    assert torch.equal(score(path), plain)


@settings(FEW, max_examples=3)
@given(order=st.permutations(range(3)))
def test_order_of_the_scans(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("order")
    scans = [_save(folder / f"s{n}_t1.nii.gz", np.roll(VOXELS, n, axis=0)) for n in range(3)]
    options = {**FAST, "checkpoint": str(trained[0] / "model.pt"), "report": False, "picture": False}
    maps = []
    for numbers in (range(3), order):
        out = folder / f"out{len(maps)}"
        named = [str(scans[n]) for n in numbers]
        monai.bundle.run(config_file=str(root / CONFIG), input=named, output_dir=str(out), **options)
        maps.append([nib.load(out / f"s{n}_t1" / f"s{n}_t1_anomaly_map.nii.gz").get_fdata() for n in range(3)])
    np.testing.assert_array_equal(maps[0], maps[1])
