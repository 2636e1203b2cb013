"""Two sessions in one command, with a tiny network: files, tables, pages, and what is done again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError, reason
from scripts.workflows import Cohort
from tests.tiny import TINY_NETWORK

from .conftest import FAST

CONFIG = "bundle/configs/inference.yaml"
SHAPE = (32, 32, 16)


def _save(path: Path, *, lesion: bool, shift: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = phantom_affine(SHAPE, 2.0)
    affine[:3, 3] += shift
    image = np.asarray(phantom_volume(SHAPE, 1, "t1", lesion=lesion)[0], dtype=np.float32)
    nib.save(nib.Nifti1Image(image, affine), path)
    return path


@pytest.fixture(scope="module")
def weights(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as they come: what a comparison does is the same for any map."""
    parser = monai.bundle.ConfigParser(monai.bundle.ConfigParser.load_config_file(str(root / CONFIG)))
    parser.update(TINY_NETWORK)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    return path


@pytest.fixture
def infer(root: Path, weights: Path, tmp_path: Path):
    def run(scans: Path, **options: object) -> Path:
        options = {**FAST, "checkpoint": str(weights), "threshold": 1.0, **options}
        monai.bundle.run(config_file=str(root / CONFIG), input=str(scans), output_dir=str(tmp_path / "out"), **options)
        return tmp_path / "out"

    return run


def test_a_baseline_adds_images_table_and_page_and_a_second_run_skips_both(infer, tmp_path: Path, capfd) -> None:
    then, now = _save(tmp_path / "then_t1.nii.gz", lesion=False), _save(tmp_path / "now_t1.nii.gz", lesion=True, shift=3.0)
    out = infer(now, baseline=str(then))
    result = json.loads((out / "now_t1" / "result.json").read_text())
    change = result["change"]
    assert (change["status"], change["baseline"]) == ("ok", "then_t1")
    assert change["alignment"]["shift_mm"] == pytest.approx(3**1.5, abs=1.5)
    assert "change" not in json.loads((out / "then_t1" / "result.json").read_text())
    scan = nib.load(now)
    for name in ("difference_map", "change_dseg"):
        image = nib.load(out / "now_t1" / result["files"][name])
        assert image.shape == SHAPE
        np.testing.assert_allclose(image.affine, scan.affine)
    assert nib.load(out / "now_t1" / "now_t1_change_dseg.nii.gz").get_data_dtype() == np.uint8
    with (out / "changes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == max(1, len(change["regions"]))
    assert {row["baseline"] for row in rows} == {"then_t1"}
    page = (out / "now_t1" / "report.html").read_text()
    for text in ("Change since the baseline", 'data-volume="difference_map"', 'data-volume="baseline"', 'id="show-difference"'):
        assert text in page
    assert "Change since" not in (out / "then_t1" / "report.html").read_text()
    assert "changes.csv" in (out / "index.html").read_text()
    assert str(tmp_path) not in page
    capfd.readouterr()
    infer(now, baseline=str(then))
    assert capfd.readouterr().err.count("skipped, has a result") == 2


def test_a_baseline_that_fails_leaves_the_followup_and_is_compared_once_it_is_there(infer, tmp_path: Path, capfd) -> None:
    now, then = _save(tmp_path / "now_t1.nii.gz", lesion=True), tmp_path / "then_t1.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.float32), phantom_affine(SHAPE, 2.0)), then)
    with pytest.raises((RuntimeError, InputError)) as caught:
        infer(now, baseline=str(then))
    assert str(reason(caught.value)).startswith("1 of 2 scans have no anomaly map: then_t1")
    out = tmp_path / "out"
    change = json.loads((out / "now_t1" / "result.json").read_text())["change"]
    assert change == {"status": "failed", "baseline": "then_t1", "reasons": ["then_t1.nii.gz: the baseline has no result"]}
    assert "Not compared with then_t1" in (out / "now_t1" / "report.html").read_text()
    assert not list(out.rglob("*change_dseg*"))
    _save(then, lesion=False)
    capfd.readouterr()
    infer(now, baseline=str(then))
    assert "now_t1: done again, as its result is of another baseline" in capfd.readouterr().err
    assert json.loads((out / "now_t1" / "result.json").read_text())["change"]["status"] == "ok"


def test_the_sessions_of_a_bids_subject_are_compared_on_request(infer, tmp_path: Path) -> None:
    for session, lesion in (("1", False), ("2", True)):
        _save(tmp_path / f"bids/sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w.nii.gz", lesion=lesion)
    options = {"modality": None, "longitudinal": True, "report": False, "picture": False}
    folder = infer(tmp_path / "bids", **options) / "sub-01" / "ses-2" / "anat"
    assert (folder / "sub-01_ses-2_space-T1w_desc-difference_map.nii.gz").is_file()
    assert (folder / "sub-01_ses-2_space-T1w_desc-change_dseg.nii.gz").is_file()


class _Steps:
    """Stands in for the analysis of scans: notes their order."""

    def __init__(self) -> None:
        self.results = SimpleNamespace(baselines={}, output_dir="", device="cpu")
        self.done: list[str] = []

    def __call__(self, item: dict[str, str]) -> dict[str, str]:
        self.done.append(item["case"])
        return {"case": item["case"]}


ITEMS = [
    {"case": "b2", "baseline_case": "b1", "also_save": "brain_mask"}, {"case": "b1", "also_save": "brain_mask"},
    {"case": "c"}, {"case": "a2", "baseline_case": "a1", "also_save": "brain_mask"},
    {"case": "a1", "also_save": "brain_mask"}, {"case": "b3", "baseline_case": "b1", "also_save": "brain_mask"},
]  # fmt: skip


def test_baselines_are_done_before_their_followups_and_rows_keep_their_places() -> None:
    steps = _Steps()
    cohort = Cohort(steps=steps, datalist=ITEMS, progress=False)
    assert [row["case"] for row in cohort._rows()] == [item["case"] for item in ITEMS]
    assert steps.done == ["b1", "c", "a1", "b2", "a2", "b3"]
    assert sorted(steps.results.baselines) == ["a1", "a2", "b1", "b2", "b3"]


def test_a_shard_holds_a_baseline_with_all_its_followups() -> None:
    parts = [{item["case"] for item in Cohort(steps=_Steps(), datalist=ITEMS, shard=f"{i}/3").datalist} for i in (1, 2, 3)]
    assert parts == [{"b1", "b2", "b3"}, {"c"}, {"a1", "a2"}]
