"""On/off options, in whatever way they were written."""

from __future__ import annotations

import pytest
import torch

from scripts.errors import InputError
from scripts.options import flag, usable_device


@pytest.mark.parametrize("value", [True, "true", "True", "YES", "on", 1, "1"])
def test_on(value: object) -> None:
    assert flag(value) is True


@pytest.mark.parametrize("value", [False, "false", "False", "No", "off", 0, "0"])
def test_off(value: object) -> None:
    assert flag(value) is False


@pytest.mark.parametrize("value", ["maybe", None, 2, ""])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="an on/off option must be true or false, got"):
        flag(value)


@pytest.mark.parametrize("name", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"`device` must be one that this machine has, got '{name}' \("):
        usable_device(name)


def test_the_cpu_is_always_there() -> None:
    assert usable_device("cpu") == torch.device("cpu")
