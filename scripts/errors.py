"""The one error type for input that cannot be used."""

from __future__ import annotations

from os import PathLike

__all__ = ["InputError"]


class InputError(ValueError):
    """Report user input that cannot be used: which file, what is wrong with it and what to do about it.

    Args:
        what: what is wrong, as in "`modality` must be t1 or t2, got 'flair'".
        path: the file or folder that the problem is in, where there is one.
        fix: what the user can do about it.

    The parts are kept as attributes of the same names, and the message reads "PATH: WHAT. FIX".
    """

    def __init__(self, what: str, *, path: str | PathLike[str] | None = None, fix: str | None = None) -> None:
        """Compose the message from its parts."""
        self.what, self.path, self.fix = what, path, fix
        message = what if path is None else f"{path}: {what}"
        super().__init__(f"{message.rstrip('.')}. {fix}" if fix else message)
