from __future__ import annotations

import importlib.util
import pickle
import sys
from types import ModuleType

import pytest

from scripts import errors
from scripts.errors import InputError


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "`k` must be 2 or more, got 1"),
        ({"path": "a.csv"}, "a.csv: `k` must be 2 or more, got 1"),
        ({"fix": "Set `k`"}, "`k` must be 2 or more, got 1. Set `k`"),
        ({"path": "a.csv", "fix": "Set `k`"}, "a.csv: `k` must be 2 or more, got 1. Set `k`"),
    ],
)
def test_message_says_where_what_and_what_to_do(parts: dict[str, str], message: str) -> None:
    assert str(InputError("`k` must be 2 or more, got 1", **parts)) == message


def test_full_stop_is_not_doubled() -> None:
    assert str(InputError("file is empty.", fix="Fill it")) == "file is empty. Fill it"


def test_is_a_value_error_that_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(InputError("file is empty", path="a.csv", fix="Fill it")))
    assert isinstance(error, ValueError)
    assert str(error) == "a.csv: file is empty. Fill it"
    assert (error.what, error.path, error.fix) == ("file is empty", "a.csv", "Fill it")


def test_inside_a_web_server_the_message_is_what_the_client_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    class HTTPException(Exception):  # noqa: N818 - starlette's, as far as it matters here
        def __str__(self) -> str:
            return "its own words"

    web = ModuleType("starlette.exceptions")
    web.HTTPException = HTTPException
    monkeypatch.setitem(sys.modules, "starlette.exceptions", web)
    spec = importlib.util.spec_from_file_location("errors_in_a_server", errors.__file__)
    served = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(served)
    error = served.InputError("it is empty", path="a.nii", fix="Use --force true")
    assert isinstance(error, HTTPException)
    assert isinstance(error, ValueError)
    assert str(error) == "a.nii: it is empty. Use --force true"
    assert (error.status_code, error.headers) == (422, None)
    assert error.detail.startswith("a.nii: it is empty. Use --force true. (Options of the command line")
    assert served.InputError("it is empty").detail == "it is empty"
