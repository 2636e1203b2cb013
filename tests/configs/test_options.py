"""On/off options, in whatever way they were written."""

from __future__ import annotations

import pytest

from scripts.errors import InputError
from scripts.options import flag


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
