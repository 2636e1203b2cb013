"""Following one value through the code takes no more stops than the architecture page says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts.data import find_scans, find_sessions
from scripts.evaluation import OperatingPoints
from scripts.handlers.scan_result import ScanResult
from scripts.networks import ModalityWeights
from scripts.scans.volume import add_note

LEFT_OUT = ("errors.py", "paths.py")
AFFINE = np.array([[-2.0, 0, 0, 24], [0, 2, 0, -30], [0, 0, 3, -20], [0, 0, 0, 1]])
SHAPE = (24, 28, 16)


def walk(root: Path, call: Callable[[], object]) -> tuple[list[str], int]:
    """Return the files of a run in the order of their functions' first entries, and how many stops go back."""
    entered: set[object] = set()
    files: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code in entered:
            return
        entered.add(code)
        name = code.co_filename.removeprefix(f"{root}/")
        if name == code.co_filename or name in LEFT_OUT or code.co_name.startswith("<") or not name.endswith(".py"):
            return
        if not files or files[-1] != name:
            files.append(name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files, len(files) - len(set(files))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[], object]:
    """Write images, panel and page of a NIfTI scan."""
    brain = np.zeros(SHAPE, dtype=np.float32)
    brain[3:21, 3:25, 2:14] = 1
    scores = 0.2 * brain
    scores[8:12, 8:12, 6:9] = 0.9
    nib.save(nib.Nifti1Image(brain * 300, AFFINE), tmp_path / "scan.nii.gz")
    volumes = {"image": brain * 300, "brain_mask": brain, "anomaly_map": scores, "reconstruction": brain}
    volumes["lesion_mask"] = (scores > 0.5).astype(np.float32)
    meta = {"filename_or_obj": str(tmp_path / "scan.nii.gz")}
    item = {name: MetaTensor(torch.as_tensor(volume)[None], affine=torch.as_tensor(AFFINE), meta=meta) for name, volume in volumes.items()}
    item |= {"case": "a", "anomaly_score": 0.2, "modality": "t1", "folder": "a", "stem": "a"}
    add_note(item, "alignment", world_to_template=np.eye(4).tolist(), method="header")
    network = torch.nn.Conv2d(1, 1, 1)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    weights = ModalityWeights(network, tmp_path)
    handler = ScanResult(str(tmp_path / "out"), operating_points=OperatingPoints("none", threshold=0.5), weights=weights)
    return lambda: handler._write(item)


@pytest.fixture
def calls(tmp_path: Path, write: Callable[[], object]) -> dict[str, Callable[[], object]]:
    """The walks of the page by their names."""
    for name in ("one/a_T1w.nii.gz", "bids/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "bids/sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "bids" / "dataset_description.json").write_text("{}")
    return {
        "`find_scans`, one file": lambda: find_scans(str(tmp_path / "one" / "a_T1w.nii.gz")),
        "`find_scans`, a folder": lambda: find_scans(str(tmp_path / "one")),
        "`find_scans`, BIDS": lambda: find_scans(str(tmp_path / "bids")),
        "`find_sessions`, BIDS": lambda: find_sessions(str(tmp_path / "bids"), longitudinal=True),
        "`ScanResult._write`, a NIfTI scan with images, panel and page": write,
    }


def test_no_walk_is_longer_than_the_page_says(root: Path, calls: dict[str, Callable[[], object]]) -> None:
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w[^|]+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    said = {name: tuple(map(int, numbers)) for name, *numbers in rows}
    assert set(said) == set(calls)
    longer = {}
    for name, call in calls.items():
        files, back = walk(root / "scripts", call)
        counted = (len(files) - 1, len(set(files)), back)
        if any(now > then for now, then in zip(counted, said[name], strict=True)):
            longer[name] = (counted, files)
    assert longer == {}
