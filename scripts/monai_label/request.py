"""A host's request: the options in it become plain values of their own types before the config's parser sees them.

What is refused reaches whoever asked, with its text.

MONAI Label writes what a request gives for `displayable_configs` into the config and reads the config anew. There a
text that starts with `$` is evaluated, `@` and `%` are followed, and a mapping with `_target_` is called.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.errors import InputError
from scripts.options.fields import checked, shown
from scripts.options.workflows import HostOptions, InferenceOptions

__all__ = ["PARTNER", "check_request", "raise_as_web_errors"]

PARTNER = "t1"  # the one option that is free text; the config is not given it
_OF_HOST = {"device", "image", "label", "description", "progress", "points"}
_NEAR = 0.8  # likeness of a misspelled name


def check_request(
    request: Mapping[str, Any], *, offered: Mapping[str, Any], devices: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a host's request with each offered option as a plain value of its own type.

    Args:
        request: options and what the host itself puts beside them, which stays as it is.
        offered: `displayable_configs`: the default of each option, or all its choices, of which the first holds.
        devices: names that the host has for devices, beside cpu, cuda and cuda:N.

    Returns:
        The request with all offered options: modality and returns are one of their choices, num_samples is a whole
        number, threshold a number or None, force a bool; `t1` is any text, or None, and must not reach the config.

    Raises:
        InputError: for the first option that cannot be used, that is none here, or that is misspelled.

    Examples:
        >>> check_request({"num_samples": "5"}, offered={"num_samples": 10})
        {'num_samples': 5}
    """
    for name in request:
        _check_name(str(name), offered)
    result = dict(request)
    for name, default in offered.items():
        value = _first_choice(request.get(name, default), default)
        result[name] = checked(HostOptions, name, None if name == PARTNER and value == "" else value)
    _check_device(result, devices)
    return result


def _check_name(name: str, offered: Mapping[str, Any]) -> None:
    if name in offered or name in _OF_HOST:
        return
    near = difflib.get_close_matches(name, list(offered), n=1, cutoff=_NEAR)
    if near or name in InferenceOptions.model_fields or name == "displayable_configs":
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(offered)}."
        raise InputError(f"there is no option {shown(name)} here", fix=hint)


def _first_choice(value: Any, default: Any) -> Any:
    """Return the first of the choices where none was made."""
    return default[0] if isinstance(default, list | tuple) and value in (default, list(default), "", None) else value


def _check_device(request: dict[str, Any], devices: Sequence[str]) -> None:
    device = request.get("device")
    if device is None or device in devices or device == list(devices):
        return
    if checked(InferenceOptions, "device", device) == "auto":
        del request["device"]  # the host takes its first


_UNPROCESSABLE = 422  # HTTP status: what was sent is understood, but cannot be used
_BY_NAME = " (Options of the command line, such as --force true, are set by name in the client.)"


def raise_as_web_errors() -> None:
    """Have every `InputError` raised as an HTTP error with the status 422, where MONAI Label runs.

    Starlette, on which its server stands, sends the text of its `HTTPException` to the client. Elsewhere nothing
    changes, also where starlette is installed.
    """
    if "monailabel" in sys.modules:
        InputError.raised_as = _web_kind


def _web_kind(kind: type[InputError]) -> type[InputError]:
    """Return a subclass of `kind` that is starlette's `HTTPException` as well."""
    from starlette.exceptions import HTTPException  # only a server has it

    def detail(self: InputError) -> str:
        message = str(self)
        return message if "--" not in message else f"{message.rstrip('.')}.{_BY_NAME}"

    members = {
        "__str__": lambda self: str(self.args[0]),  # HTTPException puts the status before it
        "status_code": _UNPROCESSABLE,
        "headers": None,
        "detail": property(detail),
    }
    return type(kind.__name__, (kind, HTTPException), members)
