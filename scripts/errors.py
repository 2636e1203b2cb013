"""The one error type for input that cannot be used."""

from __future__ import annotations

import sys
from os import PathLike
from types import TracebackType

__all__ = ["InputError", "end_with_the_reason", "reason"]

_UNPROCESSABLE = 422  # HTTP status: what was sent is understood, but cannot be used


def _web_error() -> tuple[type[Exception], ...]:
    """Return the error type whose text a web server sends to its client, inside of a server such as MONAI Label.

    Any other error reaches the client as "Internal Server Error" and nothing else.
    """
    web = sys.modules.get("starlette.exceptions")
    return () if web is None else (web.HTTPException,)


class InputError(ValueError, *_web_error()):  # type: ignore[misc]
    """Report user input that cannot be used: which file, what is wrong with it and what to do about it.

    Args:
        what: what is wrong, as in "`modality` must be t1 or t2, got 'flair'".
        path: the file or folder that the problem is in, where there is one.
        fix: what the user can do about it.

    The parts are kept as attributes of the same names, and the message reads "PATH: WHAT. FIX". Inside of a web server
    the client gets it with the status 422.
    """

    def __init__(self, what: str, *, path: str | PathLike[str] | None = None, fix: str | None = None) -> None:
        """Compose the message from its parts."""
        self.what, self.path, self.fix = what, path, fix
        message = what if path is None else f"{path}: {what}"
        message = f"{message.rstrip('.')}. {fix}" if fix else message
        super().__init__(message)
        self.status_code, self.detail, self.headers = _UNPROCESSABLE, _for_client(message), None

    def __str__(self) -> str:
        """Return the message, with no status before it."""
        return str(self.args[0])


def _for_client(message: str) -> str:
    if "--" not in message:
        return message
    return f"{message.rstrip('.')}. (Options of the command line, such as --force true, are set by name in the client.)"


def reason(error: BaseException) -> BaseException:
    """Return what was wrong, under what it made fail, in a chain of `raise … from …`.

    That is the first `InputError` on the way down, which was written for the user, or else the error at its end.
    """
    while error.__cause__ is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def _last_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    first = reason(error)
    if not isinstance(first, InputError):
        sys.__excepthook__(kind, error, trace)
    if first is not error or isinstance(first, InputError):
        sys.stderr.write(f"\nerror: {first}\n")


def end_with_the_reason() -> None:
    """Make a command that fails end with the message of the first error, as its last line.

    `monai.bundle` wraps every error of a config twice or more, so that the message that helps is far up. Wrong input
    (`InputError`) is then told in that line alone, without a traceback. The exit status stays 1.
    """
    sys.excepthook = _last_line
