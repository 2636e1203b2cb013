"""Pretraining and training must agree on the encoder and on how a scan comes to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser
from monai.bundle.properties import TrainProperties
from monai.utils import BundleProperty, BundlePropertyConfig


def content(root: Path, name: str) -> dict:
    return yaml.safe_load((root / "bundle" / "configs" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("key", ["load_volume", "datalists", "grid_spacing", "seed", "fold", "datasets", "modality"])
def test_pretraining_and_training_see_the_same_volumes(root: Path, key: str) -> None:
    assert content(root, "pretrain")[key] == content(root, "train")[key]


def test_pretraining_and_training_declare_one_encoder(root: Path) -> None:
    assert content(root, "pretrain")["network_def"]["encoder"] == content(root, "train")["network_def"]["encoder"]


def test_pretraining_has_every_required_id_of_monai(root: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(root / "bundle" / "configs" / "pretrain.yaml"))
    required = [entry[BundlePropertyConfig.ID] for entry in TrainProperties.values() if entry[BundleProperty.REQUIRED]]
    assert len(required) > 5
    assert [key for key in required if key not in parser] == []


@pytest.mark.parametrize("name", ["train", "multi_gpu_train"])
def test_every_way_to_train_takes_the_pretrained_encoder_after_other_weights(root: Path, name: str) -> None:
    steps = [step for step in content(root, name)["initialize"] if "load_" in step]
    assert ["encoder_path" in step for step in steps] == [False, True]


@pytest.mark.parametrize("name", ["pretrain", "multi_gpu_pretrain"])
def test_the_configs_open_with_purpose_and_command_and_keep_expressions_short(root: Path, name: str) -> None:
    lines = (root / "bundle" / "configs" / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert any("monai.bundle run" in line for line in lines[:5])
    expressions = [text for line in lines for text in line.split('"')[1::2] if text.startswith("$")]
    assert len(expressions) > 10
    assert [text for text in expressions if len(text) > 120] == []


@pytest.mark.parametrize("name", ["pretrain", "multi_gpu_pretrain"])
def test_the_seed_is_set_before_the_first_step_that_builds_the_network(root: Path, name: str) -> None:
    steps = content(root, name)["initialize"]
    seeded = next(place for place, step in enumerate(steps) if "set_determinism" in step)
    builds = [place for place, step in enumerate(steps) if "@patch_size" in step or "@network" in step]
    assert builds
    assert min(builds) > seeded
