"""A host's options reach the config as plain values, whatever a request holds, and are refused with a reason."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.errors import InputError
from scripts.monai_label import PARTNER, check_request

CONFIG = Path(__file__).parents[2] / "bundle" / "configs" / "inference.yaml"
CLOSED = ("modality", "num_samples", "threshold", "force", "returns", "device")
KEPT = [
    "$__import__('pathlib').Path('TRACE').touch()",
    "$import this",
    "@imports",
    "@##bundle_root",
    "%/etc/hostname",
    "a#b",
    "__import__('pathlib').Path('TRACE').touch()",
]
REFUSED = [*KEPT, {"_target_": "pathlib.Path", "_args_": ["TRACE"]}, ["$1"], [["auto"]]]


@pytest.fixture
def offered() -> dict[str, Any]:
    return ConfigParser.load_config_file(str(CONFIG))["displayable_configs"]


def as_the_host_does(request: dict[str, Any], offered: dict[str, Any]) -> ConfigParser:
    """Write a request's options into the config, and read it anew."""
    parser = ConfigParser()
    parser.read_config(str(CONFIG))
    parser["displayable_configs"].update({name: request[name] for name in offered})
    parser.parse()
    return parser


@pytest.mark.parametrize("value", REFUSED, ids=str)
@pytest.mark.parametrize("name", CLOSED)
def test_an_option_that_the_parser_would_read_is_refused(name, value, offered):
    with pytest.raises(InputError, match=f"`{name}` must be"):
        check_request({"image": "a", name: value}, offered=offered)


def test_unchecked_the_parser_executes_an_option(offered, tmp_path):
    """What the check is for; without it this is how MONAI Label 0.8.5 reads a request."""
    trace = tmp_path / "executed"
    request = {**offered, "threshold": KEPT[0].replace("TRACE", str(trace))}
    as_the_host_does(request, offered).get_parsed_content("threshold")
    assert trace.exists()


@pytest.mark.parametrize("value", KEPT)
def test_free_text_is_kept_from_the_config(value, offered, tmp_path):
    sys.modules.pop("this", None)
    request = check_request({PARTNER: value}, offered=offered)
    assert request[PARTNER] == value
    parser = as_the_host_does({**request, PARTNER: ""}, offered)  # as `pre_transforms` of our task hands it on
    assert parser.get_parsed_content("displayable_configs")[PARTNER] == ""
    assert value not in str(parser.config)
    assert "this" not in sys.modules


@pytest.mark.parametrize("value", [{"_target_": "pathlib.Path"}, ["a"], 3])
def test_the_partner_is_a_name(value, offered):
    with pytest.raises(InputError, match="`t1` must be"):
        check_request({PARTNER: value}, offered=offered)


def test_options_get_their_own_types(offered):
    texts = {"num_samples": "3", "threshold": "2.5", "force": "true", "modality": "t2", PARTNER: ""}
    found = check_request({"image": "a", "result_extension": ".nrrd", **texts}, offered=offered)
    expected = {"num_samples": 3, "threshold": 2.5, "force": True, "modality": "t2", PARTNER: None}
    assert {name: found[name] for name in expected} == expected
    assert (found["image"], found["result_extension"], found["returns"]) == ("a", ".nrrd", "lesion_mask")
    parser = as_the_host_does({**found, PARTNER: ""}, offered)
    assert (parser.get_parsed_content("threshold"), parser.get_parsed_content("num_samples")) == (2.5, 3)


def test_where_nothing_was_chosen_the_first_choice_and_the_defaults_hold(offered):
    for request in ({}, dict(offered)):
        found = check_request(request, offered=offered)
        assert found == {
            "modality": "auto", PARTNER: None, "num_samples": 10, "threshold": None, "force": False,
            "returns": "lesion_mask",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"num_samples": 1}, "`num_samples` must be a whole number from 2 to 10000, got 1"),
        ({"num_samples": "2.5"}, "`num_samples` must be a whole number from 2 to 10000, got '2.5'"),
        ({"threshold": -0.1}, "`threshold` must be a number from 0 to 1000000, or auto, got -0.1"),
        ({"threshold": "nan"}, "`threshold` must be a number from 0"),
        ({"modality": "pd"}, "`modality` must be one of auto, t1, t2, got 'pd'"),
        ({"force": "perhaps"}, "`force` must be true or false"),
        ({"returns": "result.json"}, "`returns` must be one of lesion_mask, anomaly_map"),
        ({"output_dir": "$1"}, "there is no option 'output_dir' here. There are modality, t1, num_samples"),
        ({"treshold": 3}, "there is no option 'treshold' here. Did you mean threshold?"),
        ({"device": "foo"}, "`device` must be auto, cpu, cuda"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(request_, reason, offered):
    with pytest.raises(InputError) as caught:
        check_request(request_, offered=offered)
    assert reason in str(caught.value)


@pytest.mark.parametrize("device", [["cpu", "NVIDIA H100:0"], "NVIDIA H100:0", "cuda:1", None])
def test_devices_of_the_host_pass(device, offered):
    assert check_request({"device": device}, offered=offered, devices=["cpu", "NVIDIA H100:0"])["device"] == device


def test_the_device_auto_is_left_to_the_host(offered):
    assert "device" not in check_request({"device": "auto"}, offered=offered)
