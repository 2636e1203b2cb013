"""MONAI Label's own task with this bundle, without a server: nothing in a request is executed, no second run."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytestmark = [pytest.mark.monailabel, pytest.mark.timeout(3600)]
REPOSITORY = Path(__file__).parents[2]
OPTIONS = ("modality", "t1", "num_samples", "threshold", "force", "returns", "device")


@pytest.fixture(scope="module")
def task():
    """The task as the app `monaibundle` makes it."""
    from monailabel.tasks.infer.bundle import BundleInferTask

    made = BundleInferTask(str(REPOSITORY / "bundle"), {})
    assert made.is_valid()
    made.info()
    return made


def attacks(trace: Path) -> dict[str, object]:
    touch = f"__import__('pathlib').Path('{trace}').touch()"
    mapping = {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(trace)]}}
    return {
        "expression": f"${touch}",
        "import": "$import this",
        "reference": "@bundle_root",
        "relative": "@##bundle_root",
        "macro": "%/etc/hostname",
        "id": "displayable_configs#threshold",
        "bare": touch,
        "component": mapping,
        "list": [f"${touch}"],
    }


@pytest.mark.parametrize("kind", attacks(Path("x")))
@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_is_executed(task, studies, tmp_path, monkeypatch, option, kind):
    import monailabel.interfaces.utils.app as host
    from starlette.exceptions import HTTPException

    class Server:
        def datastore(self):
            return self

        def get_image_uri(self, name):
            return ""

    monkeypatch.setattr(host, "app_instance", Server)
    trace = tmp_path / "executed"
    sys.modules.pop("this", None)
    image = str(studies / "template_T1w.nii.gz")
    with pytest.raises(HTTPException) as caught:
        task({"image": image, option: attacks(trace)[kind]})
    assert caught.value.status_code == 422
    assert option in caught.value.detail
    assert not trace.exists()
    assert "this" not in sys.modules


@pytest.mark.parametrize("key", ["output_dir", "brain_mask", "checkpoint", "treshold", "displayable_configs"])
def test_other_options_of_the_bundle_are_refused(task, studies, key):
    from starlette.exceptions import HTTPException

    with pytest.raises(HTTPException, match="there is no option"):
        task({"image": str(studies / "template_T1w.nii.gz"), key: "$1"})


def test_info_has_no_option_that_does_nothing(task):
    assert "model_filename" not in task.info()["config"]


def test_another_threshold_and_the_map_need_no_second_run(task, studies, monkeypatch):
    from monailabel.tasks.infer.basic_infer import BasicInferTask

    ran = []
    plain = BasicInferTask.run_inferer

    def counted(self, *args, **kwargs):
        ran.append(1)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(BasicInferTask, "run_inferer", counted)
    asked = {"image": str(studies / "template_T1w.nii.gz"), "num_samples": 2, "device": "cpu"}
    first, reported = task(dict(asked))
    higher = reported["threshold"] * 1.5
    second, reported_higher = task({**asked, "threshold": higher})
    path, reported_map = task({**asked, "returns": "anomaly_map", "result_dtype": "uint8"})
    assert len(ran) == 1
    image = nib.load(path)
    values = image.get_fdata()
    assert image.get_data_dtype() == np.float32
    assert [reported["volume"], reported_map["volume"]] == ["lesion_mask", "anomaly_map"]
    for mask, threshold in ((first, reported["threshold"]), (second, higher)):
        np.testing.assert_array_equal(np.asarray(nib.load(mask).dataobj) > 0, (values >= threshold) & (values > 0))
    assert reported_higher["region_volume_ml"] < reported["region_volume_ml"]
    assert reported_higher["anomaly_score"] == reported["anomaly_score"]
    task({**asked, "force": True})
    assert len(ran) == 2
