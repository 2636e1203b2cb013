"""Options as they come from a command line, and values handed on to a config as they are."""

from __future__ import annotations

import json
import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from scripts.errors import InputError

__all__ = ["AUTO", "as_literal", "flag", "literal", "number", "usable_device", "usable_dtype"]

if TYPE_CHECKING:
    import torch

AUTO = "auto"
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def flag(value: object) -> bool:
    """Return an on/off option as a bool, in whatever way it was written.

    `monai.bundle` hands `--resume false` on as the text "false", which Python takes for true.

    Args:
        value: a bool, 0 or 1, or one of true, false, yes, no, on, off in any case.

    Raises:
        InputError: for anything else.

    Examples:
        >>> flag("off")
        False
    """
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise InputError(f"an on/off option must be true or false, got {value!r}")
    return _WORDS[word]


def number(value: object) -> float | int | None:
    """Return a number however it was written: programs such as 3D Slicer and OHIF hand on text.

    Args:
        value: a number, the text of one, or None, "" or "auto" for no number.

    Returns:
        The number, whole where it was written so; None for no number.

    Raises:
        InputError: for anything else, infinity and NaN among it.
    """
    text = "" if value is None else str(value).strip().lower()
    if text in ("", AUTO, "none", "null"):
        return None
    try:
        parsed = float(text)
    except ValueError:
        parsed = math.nan
    if isinstance(value, bool) or not math.isfinite(parsed):
        raise InputError(f"an option must be a number or {AUTO}, got {value!r}")
    return int(text) if text.lstrip("+-").isdigit() else parsed


def usable_device(name: str | torch.device) -> torch.device:
    """Return a device that this machine has.

    Args:
        name: such as `cpu`, `cuda` or `cuda:1`; `auto` takes the first GPU where there is one, else the CPU.

    Raises:
        InputError: if there is no such device.
    """
    import torch

    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        what = f"`device` must be one that this machine has, got {str(name)!r} ({first})"
        raise InputError(what, fix="Use cpu.") from None
    return device


def usable_dtype(name: str | None, device: torch.device) -> str | None:
    """Return the type that the network's convolutions and products run in.

    Args:
        name: `bfloat16`, `float16` or None; `auto` takes bfloat16 where the device computes in it, which is about twice
            as fast there.
        device: where the network runs.

    Returns:
        Name of a torch type, or None for the weights' own, float32.
    """
    import torch

    if name != AUTO:
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type != "cpu":
        return None
    from llvmlite import binding  # comes with numba

    features = binding.get_host_cpu_features()
    return "bfloat16" if features.get("avx512bf16") or features.get("amx-bf16") or features.get("bf16") else None


_MEANT = "$@%#"  # characters that mean something to the parser


def as_literal(value: Any) -> Any:
    """Return a value in the form in which a config's parser hands it on unchanged.

    Args:
        value: what JSON can hold, or a path.

    Returns:
        The value itself where the parser sees nothing in it, else a component that gives it back (`literal`).
    """
    if isinstance(value, PurePath):
        value = str(value)
    text = json.dumps(value, ensure_ascii=False)
    if not any(character in text for character in _MEANT):
        return value
    for character in _MEANT:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return {"_target_": "scripts.options.literal", "text": text}


def literal(text: str) -> Any:
    r"""Return what `as_literal` wrote.

    Args:
        text: JSON.

    Examples:
        >>> literal("\"\\u0024HOME\"")
        '$HOME'
    """
    return json.loads(text)
