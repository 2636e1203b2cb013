"""The paper's presets hold the published numbers (DESIGN section 2), agree with each other, and can be built."""

from __future__ import annotations

from pathlib import Path

import monai.transforms
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.networks.nets.resnet import ResNetBottleneck

from scripts.transforms import RandAxialSliced

OVERLAYS = ("experiment", "multi_gpu_evaluate", "paper", "paper_evaluate")


def _content(root: Path, name: str) -> dict:
    return yaml.safe_load((root / "bundle" / "configs" / f"{name}.yaml").read_text())


def _parser(root: Path, *names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(root / "bundle" / "configs" / f"{name}.yaml") for name in names])
    return parser


@pytest.fixture(scope="module")
def training(root: Path) -> ConfigParser:
    parser = _parser(root, "train", "network_reference", "paper")
    parser["device"] = torch.device("cpu")
    return parser


@pytest.mark.parametrize(
    ("key", "published"),
    [
        ("datasets", ["IXI"]), ("seed", 3141), ("batch_size", 32), ("max_epochs", 1200), ("slices_per_volume", 1),
        ("learning_rate", 1e-4), ("weight_decay", 0.0), ("num_train_timesteps", 1000), ("noise", "simplex"),
        ("grid_size", [96, 96, 50]), ("grid_spacing", 2.0), ("val_timestep", 500), ("network_def#feature_dim", 512),
        ("network_def#unet#num_channels", [128, 256, 256]), ("network_def#unet#num_res_blocks", 3),
        ("network_def#unet#attention_levels", [False] * 3), ("network_def#unet#num_head_channels", 64),
        ("network_def#encoder#layers", [3, 4, 6, 3]), ("network_def#encoder#num_classes", 512),
        ("network_def#conditioning", "film"), ("scheduler#schedule", "cosine"),
        ("scheduler#prediction_type", "sample"), ("loss#_target_", "torch.nn.L1Loss"),
        ("train#prepare_batch#shared_noise", True), ("validate#prepare_batch#shared_noise", True),
    ],
)  # fmt: skip
def test_training_has_the_published_numbers(training: ConfigParser, key: str, published: object) -> None:
    assert training[key] == published


def test_augmentation_has_the_published_probabilities_and_nothing_else_random(training: ConfigParser) -> None:
    kept = {name: step for name, step in training["augmentation"].items() if not step.get("_disabled_")}
    assert {name: step["prob"] for name, step in kept.items() if "prob" in step} == {
        "gamma": 0.5, "bias_field": 0.25, "blur": 0.25, "ghosting": 0.5,
    }  # fmt: skip
    steps = training.get_parsed_content("train#preprocessing").transforms
    assert len(steps) == len(kept)
    assert [type(step) for step in steps[:3]] == [RandAxialSliced, monai.transforms.SelectItemsd, monai.transforms.RandAdjustContrastd]


def test_volumes_go_through_the_published_steps(training: ConfigParser) -> None:
    steps = {step["_target_"].split(".")[-1]: step for step in training["load_volume"]}
    denoise, scale = steps["CurvatureFlowDenoised"], steps["ScaleByMaskPercentilesd"]
    assert (denoise["time_step"], denoise["iterations"], denoise["keys"]) == (0.125, 3, "image")
    assert (scale["lower"], scale["upper"]) == (1, 99)


def test_the_network_and_a_plain_adam_are_built(training: ConfigParser) -> None:
    network = training.get_parsed_content("network")
    encoder = network.encoder
    blocks = [len(getattr(encoder, f"layer{level}")) for level in (1, 2, 3, 4)]
    assert blocks == [3, 4, 6, 3], "ResNet-50"
    assert isinstance(encoder.layer1[0], ResNetBottleneck)
    assert sum("attention" in type(module).__name__.lower() for module in network.unet.modules()) == 1
    optimizer = training.get_parsed_content("optimizer")
    assert type(optimizer) is torch.optim.Adam
    scheduler = training.get_parsed_content("lr_scheduler")
    rates = []
    for _ in range(5):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1e-4] * 5, "a constant rate"


def test_the_papers_network_stands_in_one_file(root: Path) -> None:
    configs = [path for path in (root / "bundle" / "configs").rglob("*.yaml") if "bottleneck" in path.read_text()]
    assert [path.name for path in configs] == ["network_reference.yaml"]


def test_the_map_is_that_of_the_paper_preset(root: Path) -> None:
    preset, own = _content(root, "preset_paper"), _content(root, "paper_evaluate")
    assert {key: own[key] for key in preset} == preset
    published = {"num_samples": 10, "timestep": 500, "regularization": 0.01, "ssim_sigma": 1.0, "smoothing_sigma": 1.0}
    assert {key: own[key] for key in published} == published
    assert (own["min_max"], own["median_size"], own["erosion"]) == (True, 0, 0)


@pytest.mark.parametrize("key", ["grid_size", "grid_spacing", "noise"])
def test_training_and_evaluation_agree(root: Path, key: str) -> None:
    assert _content(root, "paper")[key] == _content(root, "paper_evaluate")[key]


@pytest.mark.parametrize("key", ["network_def", "grid_size", "num_samples", "median_size"])
def test_every_key_of_the_evaluation_is_one_of_inference(root: Path, key: str) -> None:
    known = _content(root, "inference")
    assert key in known
    assert [name for name in _content(root, "paper_evaluate") if name.split("#")[0] not in known] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_overlay_opens_with_its_purpose_and_its_command(root: Path, name: str) -> None:
    lines = (root / "bundle" / "configs" / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert any("monai.bundle run" in line for line in lines[:6])


def test_sets_of_a_modality_are_the_published_ones(root: Path) -> None:
    parser = _parser(root, "inference", "evaluate", "experiment")
    for modality, sets in (("t2", ["Brats21", "MSLUB", "IXI"]), ("t1", ["Brats21", "MSLUB", "IXI", "ATLAS_v2", "WMH"])):
        parser["modality"] = modality
        assert parser.get_parsed_content("datasets", lazy=False) == sets
