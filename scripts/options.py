"""Options as they come from a command line."""

from __future__ import annotations

import torch

from scripts.errors import InputError

__all__ = ["flag", "usable_device"]

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


def usable_device(name: str | torch.device) -> torch.device:
    """Return a device that this machine has.

    Args:
        name: such as `cpu`, `cuda` or `cuda:1`.

    Raises:
        InputError: if there is no such device.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        what = f"`device` must be one that this machine has, got {str(name)!r} ({first})"
        raise InputError(what, fix="Use cpu.") from None
    return device
