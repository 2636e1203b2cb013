"""Options as they come from a command line."""

from __future__ import annotations

from scripts.errors import InputError

__all__ = ["flag"]

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def flag(value: object) -> bool:
    """Return an on/off option as a bool, in whatever way it was written.

    `monai.bundle` hands `--resume false` on as the text "false", which Python takes for true.

    Args:
        value: a bool, 0 or 1, or one of true, false, yes, no, on, off in any case.

    Raises:
        InputError: for anything else.
    """
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise InputError(f"an on/off option must be true or false, got {value!r}")
    return _WORDS[word]
