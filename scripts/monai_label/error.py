"""Errors whose text reaches the users of MONAI Label; any other ends there as "Internal Server Error"."""

from __future__ import annotations

import sys

from scripts.errors import InputError

__all__ = ["raise_as_web_errors"]

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
