"""Pretraining and training must agree on the encoder and on how a scan comes to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser
from monai.bundle.properties import TrainProperties
from monai.utils import BundleProperty, BundlePropertyConfig

SHARED = ("load_volume", "augmentation", "datalists", "grid_size", "grid_spacing", "seed", "fold", "datasets", "modality", "network_def")


def content(root: Path, name: str) -> dict:
    return yaml.safe_load((root / "bundle" / "configs" / f"{name}.yaml").read_text())


@pytest.fixture
def pretraining(root: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(root / "bundle" / "configs" / f"{name}.yaml") for name in ("train", "pretrain")])
    return parser


def test_pretraining_takes_volumes_and_encoder_from_training(root: Path) -> None:
    changed = {key.split("#")[0] for key in content(root, "pretrain")}
    assert sorted(changed & set(SHARED)) == []
    assert sorted(set(SHARED) - set(content(root, "train"))) == []


def test_pretraining_has_every_required_id_of_monai(pretraining: ConfigParser) -> None:
    parser = pretraining
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
