"""Our task in MONAI Label: it takes over bundles of ours alone, and runs the network once for any threshold."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from scripts.errors import InputError
from scripts.monai_label import FinishedScans, adopt_bundle_tasks, checksum, host_task, new_entries


class SplitOutputsd:
    """Stands where the bundle's does: from here on the threshold matters."""

    def __call__(self, data):
        return {**data, "mask": data["map"] >= (data["threshold"] or 1)}


def run(data, transforms):
    for step in transforms:
        data = step(data)
    return data


class Task:
    """As much of MONAI Label's bundle task as ours needs."""

    def __init__(self, folder, imports):
        self.bundle_config = SimpleNamespace(config={"imports": imports})
        self.bundle_path = str(folder)
        self.displayable_configs = {"threshold": "auto", "t1": "", "num_samples": 10, "returns": ["lesion_mask"]}
        self._config = {**self.displayable_configs, "device": ["cpu"], "model_filename": ["model.pt"]}
        self.given, self.runs = [], 0

    def info(self):
        return {"config": self._config}

    def __call__(self, request, callbacks=None):
        data = {**self._config, **request, "image_path": request["image"]}
        data = self.run_pre_transforms(data, self.pre_transforms(data))
        return self.run_post_transforms(self.run_inferer(data), [dict, SplitOutputsd()])

    def pre_transforms(self, data=None):
        self.given.append(dict(data))
        return [lambda case: {**case, "image": torch.ones(1), "notes": {"a": []}}]

    def run_pre_transforms(self, data, transforms):
        return run(data, transforms)

    def run_inferer(self, data):
        self.runs += 1
        return {**data, "map": torch.tensor([float(self.runs), 2.0, 3.0])}

    def run_post_transforms(self, data, transforms):
        return run(data, transforms)


@pytest.fixture
def task(tmp_path, monkeypatch):
    kind = type("Task", (Task,), {})
    module = ModuleType("monailabel.tasks.infer.bundle")
    module.BundleInferTask = kind
    monkeypatch.setitem(sys.modules, module.__name__, module)
    adopt_bundle_tasks()
    adopt_bundle_tasks()  # MONAI Label imports us again with each request
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"weights")
    (tmp_path / "scan_T1w.nii.gz").write_bytes(b"scan")
    return kind(tmp_path, ["$import scripts.monai_label"])


@pytest.fixture
def scan(tmp_path):
    return str(tmp_path / "scan_T1w.nii.gz")


def test_bundles_of_others_are_left_alone(task, tmp_path, scan):
    other = type(task)(tmp_path, ["$import os"])
    assert "model_filename" in other.info()["config"]
    assert other({"image": scan, "threshold": 2, "output_dir": "x"})["output_dir"] == "x"
    assert other.runs == 1


def test_nothing_is_offered_that_does_nothing(task):
    assert "model_filename" not in task.info()["config"]


def test_a_request_is_checked_before_anything_reads_it(task, scan):
    with pytest.raises(InputError, match="`threshold` must be"):
        task({"image": scan, "threshold": "$1"})
    assert task.given == []


def test_another_threshold_needs_no_second_run(task, scan):
    first = task({"image": scan, "threshold": 2})
    second = task({"image": scan, "threshold": "3", "returns": "lesion_mask"})
    assert task.runs == 1
    assert [first["mask"].tolist(), second["mask"].tolist()] == [[False, True, True], [False, False, True]]
    assert first["notes"] == second["notes"] == {"a": []}
    assert first["notes"] is not second["notes"]


@pytest.mark.parametrize("changed", ["scan", "weights", "option", "device", "name"])
def test_what_the_map_depends_on_is_run_again(task, scan, tmp_path, changed):
    task({"image": scan})
    request = {"image": scan}
    if changed == "scan":
        (tmp_path / "scan_T1w.nii.gz").write_bytes(b"other")
    elif changed == "weights":
        (tmp_path / "models" / "model.pt").write_bytes(b"other")
    elif changed == "option":
        request["num_samples"] = 3
    elif changed == "device":
        request["device"] = "cuda:1"
    else:  # it may tell the modality
        other = tmp_path / "scan_T2w.nii.gz"
        other.write_bytes(b"scan")
        request["image"] = str(other)
    task(request)
    assert task.runs == 2
    task(request)
    assert task.runs == 2


def host_with(monkeypatch, **scans):
    app = ModuleType("monailabel.interfaces.utils.app")
    store = SimpleNamespace(get_image_uri=lambda name: scans.get(name, ""))
    app.app_instance = lambda: SimpleNamespace(datastore=lambda: store)
    for name in ("monailabel", "monailabel.interfaces", "monailabel.interfaces.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, app.__name__, app)


def test_the_t1_comes_by_its_name_on_the_host_and_not_through_the_config(task, scan, tmp_path, monkeypatch):
    partner = tmp_path / "$partner.nii.gz"
    partner.write_bytes(b"t1")
    host_with(monkeypatch, partner=str(partner))
    assert task({"image": scan, "t1": "partner"})["t1"] == str(partner)
    assert [given["t1"] for given in task.given] == [""]
    assert "t1" not in task({"image": scan})
    assert task.runs == 2
    partner.write_bytes(b"other")
    task({"image": scan, "t1": "partner"})
    assert task.runs == 3


@pytest.mark.parametrize("name", ["nowhere", "/etc/hostname", "$1"])
def test_a_t1_that_the_host_does_not_list_is_refused(task, scan, monkeypatch, name):
    host_with(monkeypatch)
    with pytest.raises(InputError, match="`t1`: the host has no scan of the name"):
        task({"image": scan, "t1": name})
    assert task.given == []


def test_outside_of_a_host_nothing_happens(monkeypatch):
    monkeypatch.delitem(sys.modules, "monailabel.tasks.infer.bundle", raising=False)
    adopt_bundle_tasks()
    assert host_task(Task).__mro__[-2] is Task


def test_the_last_scans_are_kept():
    kept = FinishedScans(most=2)
    for name in "abac":
        kept.put(name, {"x": name})
    assert [kept.get(name) for name in "abc"] == [{"x": "a"}, None, {"x": "c"}]


def test_new_entries_are_those_that_were_made_or_changed():
    asked = {"image": "path", "threshold": "auto"}
    data = {**asked, "image": torch.ones(1), "score": 3, "latencies": {}}
    assert set(new_entries(data, asked)) == {"image", "score"}


def test_the_checksum_of_a_folder_is_that_of_names_and_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    before = checksum(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert checksum(tmp_path) != before
