"""What train.yaml makes of the data: volumes from a cache are those without it, and splits as published on demand."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

from scripts.data.phantom import write_phantom_tree
from tests.leaks import find_leaks

FILES = {"train": "IXI_train_fold0.csv", "val": "IXI_val_fold0.csv", "test": "IXI_test.csv"}


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """IXI with a training row twice, and with a row of validation and one of test in training."""
    root = write_phantom_tree(tmp_path / "tree", datasets="IXI", shape=(16, 16, 16), spacing=4, num_folds=2)
    texts = {split: (root / "splits" / name).read_text() for split, name in FILES.items()}
    first = texts["train"].splitlines()[1]
    stolen = [texts[split].splitlines()[1] for split in ("val", "test")]
    (root / "splits" / FILES["train"]).write_text("\n".join([texts["train"].rstrip(), first, *stolen]))
    return root


def parser(root: Path, dataset_dir: Path, **overrides: Any) -> ConfigParser:
    found = ConfigParser()
    found.read_config(str(root / "bundle" / "configs" / "train.yaml"))
    options = {"datasets": ["IXI"], "grid_size": [16, 16, 16], "grid_spacing": 4.0, "slices_per_volume": 3, "val_slices": 4}
    for key, value in {**options, "dataset_dir": str(dataset_dir), **overrides}.items():
        found[key] = value
    return found


def test_repeated_and_shared_are_named_and_dropped_by_default(
    root: Path, leaky: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        lists = parser(root, leaky).get_parsed_content("datalists")
    assert [item["case"] for item in lists["train"]] == ["IXI-003", "IXI-004", "IXI-005"]
    assert "dropped 1 repeated row(s): IXI-003" in caplog.text
    assert "dropped 2 subject(s) from training that are in a later split too: IXI/IXI-001, IXI/IXI-006" in caplog.text


@pytest.mark.parametrize("value", [True, "true"])
def test_published_splits_are_kept_on_demand(root: Path, leaky: Path, value: object) -> None:
    lists = parser(root, leaky, keep_published_splits=value).get_parsed_content("datalists")
    assert [item["case"][-1] for item in lists["train"]] == ["3", "4", "5", "3", "1", "6"]
    assert find_leaks(lists).shared == {("train", "val"): ("IXI/IXI-001",)}
    assert find_leaks(lists).duplicates == {"train": ("IXI-003",)}


def test_volumes_from_the_cache_are_those_without_it_bit_for_bit(root: Path, leaky: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    plain = parser(root, leaky).get_parsed_content("train#volumes")
    first = parser(root, leaky, cache_dir=str(folder)).get_parsed_content("train#volumes")
    made = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = parser(root, leaky, cache_dir=str(folder))
    second = again.get_parsed_content("train#volumes")
    assert len(made) == len(plain) == 3
    for index in range(3):
        for key in ("image", "brain_mask"):
            assert torch.equal(first[index][key], plain[index][key])
            assert torch.equal(second[index][key], plain[index][key])
    again.get_parsed_content("validate#dataset")
    other_fold = parser(root, leaky, cache_dir=str(folder), fold=1)
    other_fold.get_parsed_content("train#volumes")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir() if path in made} == made
    assert len(list(folder.iterdir())) == 5, "five subjects outside the test set, each once, whatever the fold and split"


def test_the_cache_can_be_filled_without_training(root: Path, leaky: Path, tmp_path: Path) -> None:
    options = {"datasets": ["IXI"], "grid_size": [16, 16, 16], "grid_spacing": 4.0, "output_dir": str(tmp_path / "run")}
    config = str(root / "bundle" / "configs" / "train.yaml")
    monai.bundle.run("store", config_file=config, dataset_dir=str(leaky), cache_dir=str(tmp_path / "cache"), **options)
    assert len(list((tmp_path / "cache").glob("*.pt"))) == 5
    assert not (tmp_path / "run").exists()


def test_every_volume_gives_as_many_random_slices_and_stays_as_it_is(root: Path, leaky: Path) -> None:
    config = parser(root, leaky)
    volumes = config.get_parsed_content("train#volumes")
    before = [volume["image"].clone() for volume in volumes]
    dataset = config.get_parsed_content("train#dataset")
    assert len(dataset) == 3 * len(volumes)
    slices = [dataset[index]["image"] for index in range(len(dataset))]
    assert {tuple(image.shape) for image in slices} == {(1, 16, 16)}
    assert all(image.min() >= 0 and image.max() <= 1 for image in slices)
    assert not torch.equal(slices[0], slices[3])
    assert all(torch.equal(volume["image"], image) for volume, image in zip(volumes, before, strict=True))
