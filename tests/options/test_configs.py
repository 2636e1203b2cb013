"""What the configs hold is what is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.options import MapOptions, SamplingOptions
from scripts.options.workflows import CONFIGS, options_of

STACKS = [
    ["inference"],
    ["inference", "evaluate"],
    ["inference", "evaluate", "experiment"],
    ["inference", "calibrate"],
    ["inference", "population"],
    ["train"],
    ["train", "pretrain"],
    ["preprocess"],
]
ASKED = {"input", "dataset"}  # null in the config: the user gives them
COMPONENTS = {"imports", "+imports", "handlers", "initialize", "run", "training", "store", "load_volume"}


def merged(root: Path, names: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in names:
        config |= yaml.safe_load((root / "bundle" / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    return config


def is_plain(value: Any) -> bool:
    return not isinstance(value, dict) and str(value)[:1] not in ("$", "@")


@pytest.mark.parametrize("names", STACKS, ids="-".join)
def test_every_key_with_a_value_is_declared_and_its_value_is_one_that_may_be(root: Path, names: list[str]) -> None:
    model, config = options_of(names), merged(root, names)
    plain = {name: value for name, value in config.items() if is_plain(value) and "#" not in name}
    assert set(plain) - COMPONENTS <= set(model.model_fields)
    model.check({name: value for name, value in plain.items() if name not in COMPONENTS | ASKED})


@pytest.mark.parametrize("names", STACKS, ids="-".join)
def test_every_declared_option_is_a_key(root: Path, names: list[str]) -> None:
    assert set(options_of(names).model_fields) <= set(merged(root, names))


def test_every_option_of_the_maps_is_in_the_one_block(root: Path) -> None:
    config = merged(root, ["inference"])
    assert set(config["map"]) - {"_target_"} == set(MapOptions.model_fields)
    assert set(config["sampling"]) - {"_target_"} == set(SamplingOptions.model_fields)


def test_every_option_says_what_it_means() -> None:
    for model in CONFIGS.values():
        for name, field in model.model_fields.items():
            assert field.description, name
