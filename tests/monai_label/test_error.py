"""In MONAI Label's server every refusal is an HTTP error as well; elsewhere nothing is changed."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from scripts.errors import InputError
from scripts.monai_label import raise_as_web_errors
from scripts.quality import ScanRefused


class HTTPException(Exception):  # noqa: N818 - starlette's, as far as it matters here
    def __str__(self) -> str:
        return "its own words"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    web = ModuleType("starlette.exceptions")
    web.HTTPException = HTTPException
    monkeypatch.setitem(sys.modules, "starlette.exceptions", web)
    monkeypatch.setitem(sys.modules, "monailabel", ModuleType("monailabel"))
    monkeypatch.setattr(InputError, "raised_as", None)
    raise_as_web_errors()


@pytest.mark.usefixtures("server")
def test_inside_a_web_server_the_message_is_what_the_client_gets() -> None:
    with pytest.raises(HTTPException) as caught:
        raise InputError("it is empty", path="a.nii", fix="Use --force true")
    error = caught.value
    assert isinstance(error, InputError)
    assert isinstance(error, ValueError)
    assert str(error) == "a.nii: it is empty. Use --force true"
    assert (error.status_code, error.headers) == (422, None)
    assert error.detail.startswith("a.nii: it is empty. Use --force true. (Options of the command line")
    assert InputError("it is empty").detail == "it is empty"


@pytest.mark.usefixtures("server")
def test_subclasses_stay_what_they_are() -> None:
    refusal = ScanRefused(["too small"], path=None, data={"case": "a"})
    assert isinstance(refusal, ScanRefused)
    assert isinstance(refusal, HTTPException)
    assert refusal.reasons == ["too small"]
    assert refusal.detail.startswith("refused by quality control: too small.")


def test_outside_of_a_server_an_error_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "monailabel", raising=False)
    monkeypatch.setattr(InputError, "raised_as", None)
    raise_as_web_errors()
    assert type(InputError("it is empty")) is InputError


def test_starlette_sends_the_text_to_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = pytest.importorskip("starlette.exceptions")
    monkeypatch.setitem(sys.modules, "monailabel", ModuleType("monailabel"))
    monkeypatch.setattr(InputError, "raised_as", None)
    raise_as_web_errors()
    error = InputError("it is empty", path="a.nii")
    assert isinstance(error, exceptions.HTTPException)
    assert (error.status_code, error.detail, str(error)) == (422, "a.nii: it is empty", "a.nii: it is empty")
