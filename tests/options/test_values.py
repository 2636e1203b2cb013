"""On/off options, in whatever way they were written."""

from __future__ import annotations

import pytest
import torch

from scripts.errors import InputError
from scripts.options import flag, number, usable_device, usable_dtype


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


@pytest.mark.parametrize(("there", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, there: bool, expected: str) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert str(usable_device("auto")) == expected


@pytest.mark.parametrize(("features", "expected"), [({"avx512bf16": True}, "bfloat16"), ({"amx-bf16": True}, "bfloat16"), ({"avx2": True}, None)])
def test_auto_takes_bfloat16_where_the_processor_computes_in_it(monkeypatch: pytest.MonkeyPatch, features: dict, expected: str | None) -> None:
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    assert usable_dtype("auto", torch.device("cpu")) == expected
    assert usable_dtype("float16", torch.device("cpu")) == "float16"
    assert usable_dtype(None, torch.device("cpu")) is None


@pytest.mark.parametrize("factor", [1.05, float("nan")])
def test_auto_stays_with_float32_where_bfloat16_is_wrong(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, factor: float) -> None:
    real = torch.nn.functional.conv2d
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: {"avx512bf16": True})
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda image, weight, **more: real(image, weight, **more) * (factor if image.dtype == torch.bfloat16 else 1))
    assert usable_dtype("auto", torch.device("cpu")) is None
    assert "float32 is taken" in caplog.text


def test_the_cpu_is_always_there() -> None:
    assert usable_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("value", "expected"), [(3, 3), ("3", 3), (0.5, 0.5), (" 0.5 ", 0.5), ("1e-1", 0.1), (-2, -2)])
def test_a_number_is_read_however_it_was_written(value: object, expected: float) -> None:
    assert number(value) == expected
    assert type(number(value)) is type(expected)


@pytest.mark.parametrize("value", [None, "", "auto", "Auto", "none"])
def test_no_number_is_none(value: object) -> None:
    assert number(value) is None


@pytest.mark.parametrize("value", ["high", "nan", float("inf"), True, [3]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="an option must be a number or auto, got"):
        number(value)


@pytest.mark.parametrize("value", [None, "none", "null", "NONE", " None "])
def test_none_is_float32_however_it_was_written(value: str | None) -> None:
    assert usable_dtype(value, torch.device("cpu")) is None
