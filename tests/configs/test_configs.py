"""The configs are complete, agree with each other, and name what exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser
from monai.bundle.properties import InferProperties, TrainProperties
from monai.utils import BundleProperty, BundlePropertyConfig

CONFIGS = ("train", "inference", "evaluate", "multi_gpu_train")


def _content(root: Path, name: str) -> dict:
    return yaml.safe_load((root / "bundle" / "configs" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("key", ["network_def", "scheduler", "num_train_timesteps", "grid_size", "grid_spacing", "noise"])
def test_training_and_inference_agree_on_what_the_weights_depend_on(root: Path, key: str) -> None:
    train, inference = (_content(root, name)[key] for name in ("train", "inference"))
    if key == "network_def":
        del train["activation_checkpointing"]  # of the backward pass alone
    assert train == inference


def test_training_and_inference_bring_scans_to_the_network_alike(root: Path) -> None:
    shared = ("Orientationd", "CurvatureFlowDenoised", "ScaleByMaskPercentilesd", "ToWorkingGridd", "Lambdad")

    def steps(transforms: list[dict]) -> list[tuple]:
        transforms = [t for t in transforms if t["_target_"].split(".")[-1] in shared]
        skipped = ("keys", "mode", "mask_keys", "allow_missing_keys")
        kept = [{k: v for k, v in t.items() if k not in skipped} for t in transforms]
        return [tuple(sorted((k, str(v)) for k, v in t.items())) for t in kept]

    train = steps(_content(root, "train")["load_volume"])
    inference = steps(_content(root, "inference")["preprocessing"]["transforms"])
    assert len(train) == len(shared)
    assert train == inference, "the image's way from a brain on the template to the working grid must be one"


@pytest.mark.parametrize("name", CONFIGS)
def test_expressions_stay_under_eighty_characters_or_are_tested_python(root: Path, name: str) -> None:
    def walk(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for v in value.values() for text in walk(v)]
        if isinstance(value, list):
            return [text for v in value for text in walk(v)]
        return [value] if isinstance(value, str) and value.startswith("$") else []

    long = [text for text in walk(_content(root, name)) if len(text) > 120]
    assert not long, f"expressions with behaviour belong into Python: {long}"


@pytest.mark.parametrize("name", CONFIGS)
def test_each_config_opens_with_its_purpose_and_its_command(root: Path, name: str) -> None:
    lines = (root / "bundle" / "configs" / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert any("monai.bundle run" in line for line in lines[:5])


@pytest.mark.parametrize(("name", "properties"), [("inference", InferProperties), ("train", TrainProperties)])
def test_each_workflow_has_every_required_id_of_monai(root: Path, name: str, properties: dict) -> None:
    parser = ConfigParser()
    parser.read_config(str(root / "bundle" / "configs" / f"{name}.yaml"))
    required = [e[BundlePropertyConfig.ID] for e in properties.values() if e[BundleProperty.REQUIRED]]
    assert len(required) > 5
    assert [key for key in required if key not in parser] == []


@pytest.mark.parametrize("overlays", [(), ("pretrain",)])
def test_a_run_shorter_than_the_validation_interval_is_validated(root: Path, overlays: tuple[str, ...]) -> None:
    parser = ConfigParser()
    parser.read_config([str(root / "bundle" / "configs" / f"{name}.yaml") for name in ("train", *overlays)])
    parser.update({"max_epochs": 3, "val_interval": 5})
    handlers = [item for item in parser["train#handlers"] if item["_target_"] == "ValidationHandler"]
    assert len(handlers) == 1
    where = parser["train#handlers"].index(handlers[0])
    assert parser.get_parsed_content(f"train#handlers#{where}#interval") == 3


def test_metadata_version_has_a_changelog_entry_and_the_changelog_file_too(root: Path) -> None:
    metadata = json.loads((root / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    assert f"## {metadata['version']}" in (root / "CHANGELOG.md").read_text()


def test_metadata_names_the_packages_that_are_installed_for_the_demo(root: Path) -> None:
    metadata = json.loads((root / "metadata.json").read_text())
    pins = (root / "requirements.txt").read_text() + (root / "requirements-torch.txt").read_text()
    wanted = {**metadata["required_packages_version"], "monai": metadata["monai_version"], "torch": metadata["pytorch_version"]}
    assert [f"{n}=={v}" for n, v in wanted.items() if f"{n}=={v}\n" not in pins] == []


def test_metadata_names_the_monai_lines_that_have_a_target(root: Path) -> None:
    pins = "".join((root / name).read_text() for name in ("requirements.txt", "requirements-monai-1.5.txt"))
    supported = json.loads((root / "metadata.json").read_text())["supported_monai_versions"]
    assert sorted(re.findall(r"^monai==(.+)$", pins, re.MULTILINE)) == supported


def test_the_bundle_folder_is_complete_through_links(root: Path) -> None:
    for name in ("LICENSE", "scripts/__init__.py", "configs/metadata.json", "configs/logging.conf"):
        assert (root / "bundle" / name).is_file(), f"bundle/{name}"
