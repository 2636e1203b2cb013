"""The unzipped bundle works on its own: by its commands, from Python as documented, and through MONAI's checks."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantom import write_phantom_tree
from scripts.errors import InputError
from tools.release.check_bundle import CHECKS, check_bundle

from .conftest import QUICK, TINY, run_there

SESSION = Path(__file__).with_name("session.py")


@pytest.fixture(scope="module")
def session(unzipped: Path, template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a Python session beside the unzipped bundle found."""
    tree = write_phantom_tree(tmp_path_factory.mktemp("tree"), datasets=("IXI",), shape=(32, 32, 16))
    (unzipped.parent / template.name).write_bytes(template.read_bytes())
    done = run_there(unzipped.parent, str(SESSION), str(tree), json.dumps(TINY))
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_command_makes_a_map_inside_the_folder(unzipped: Path, template: Path, tmp_path: Path) -> None:
    flags = [word for key, value in (QUICK | {"output_dir": tmp_path}).items() for word in (f"--{key}", str(value))]
    command = ("-m", "monai.bundle", "run", "--config_file", "configs/inference.json", "--input", str(template))
    done = run_there(unzipped, *command, *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    scan, mask = nib.load(template), nib.load(tmp_path / "scan_T1w" / "scan_T1w_lesion_mask.nii.gz")
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    result = json.loads((tmp_path / "scan_T1w" / "result.json").read_text())
    assert result["region_volume_ml"] == pytest.approx(np.count_nonzero(mask.get_fdata()) * 8 / 1000)
    assert (tmp_path / "scan_T1w" / "report.html").stat().st_size > 1e6, "the viewer is packed"


@pytest.mark.slow
def test_elsewhere_the_command_needs_the_folder_on_the_path(unzipped: Path, tmp_path: Path) -> None:
    command = ("-m", "monai.bundle", "run", "--config_file", str(unzipped / "configs" / "inference.yaml"))
    done = run_there(tmp_path, *command, "--input", "absent_T1w.nii.gz", PYTHONPATH=str(unzipped))
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: absent_T1w.nii.gz: the scan does not exist")


def test_the_printed_example_goes_from_a_path_to_a_map_in_memory(session: dict, template: Path) -> None:
    example, scan = session["example"], nib.load(template)
    assert example["lines"] <= 10
    assert example["reported"].startswith("torch.Size([1, 99, 117, 95])")
    assert set(map(tuple, example["shapes"].values())) == {(1, *scan.shape)}
    np.testing.assert_allclose(example["affine"], scan.affine, atol=1e-4)
    assert example["peak"] > 0
    assert set(example["mask"]) <= {0.0, 1.0}


def test_the_code_that_ran_is_the_packed_one(session: dict, unzipped: Path) -> None:
    assert (unzipped.parent / session["example"]["scripts"]).resolve().parent == (unzipped / "scripts").resolve()


def test_monai_loads_the_network_with_its_weights(session: dict) -> None:
    assert session["example"]["weights"], "loaded by the inference config"


def test_no_property_is_missing(session: dict) -> None:
    assert session["example"]["missing"] == []
    assert session["training"] == []


def test_a_trace_of_the_network_gives_the_same_numbers(session: dict) -> None:
    assert session["traced"] < 1e-5  # the same operations; kernels may be chosen differently, at float32's last digits


def test_the_documents_say_why_monai_cannot_export_the_network(session: dict, unzipped: Path) -> None:
    assert session["refusals"]["script"].startswith("NotSupportedError: keyword-arg expansion is not supported")
    assert "missing 1 required positional argument: 'timesteps'" in session["refusals"]["trace"]
    reported = (unzipped / "docs" / "model_zoo.md").read_text()
    assert "keyword-arg expansion is not supported" in reported
    assert "missing 1 required positional argument: 'timesteps'" in reported


def test_the_checks_of_the_model_zoo_pass(unzipped: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="tools"):
        check_bundle(str(unzipped))
    reported = [record.message for record in caplog.records if record.name.startswith("tools.release")]
    assert reported == [*(f"ok      {name}" for name in CHECKS), f"all {len(CHECKS)} checks passed"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        check_bundle(str(tmp_path / "nowhere"))
