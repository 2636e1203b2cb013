"""Options as they come from a command line, handed on to a config as they are, and in words what they may be."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from scripts.errors import InputError

__all__ = [
    "AUTO",
    "as_literal",
    "example",
    "flag",
    "literal",
    "must_be",
    "number",
    "usable_device",
    "usable_dtype",
    "without_references",
]

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)
AUTO = "auto"
NONE = ("none", "null")  # None as a text
_ROUNDING = 0.01  # of bfloat16 inputs, weights and results it is 0.003
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
    if text in ("", AUTO, *NONE):
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
        name: `bfloat16`, `float16` or None (also its text, `none`); `auto` takes bfloat16 where the device computes in
            it, which is about twice as fast there. On a CPU one slice is convolved in both types first: where they
            differ by more than rounding, auto says so and stays with float32.
        device: where the network runs.

    Returns:
        Name of a torch type, or None for the weights' own, float32.
    """
    import torch

    name = None if name is None else name.strip().lower()
    if name in (None, *NONE):
        return None
    if name != AUTO:
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type != "cpu":
        return None
    from llvmlite import binding  # comes with numba

    features = binding.get_host_cpu_features()
    if not any(features.get(name) for name in ("avx512bf16", "amx-bf16", "bf16")):
        return None
    difference = _bfloat16_difference()
    if difference <= _ROUNDING:
        return "bfloat16"
    logger.warning(
        "bfloat16 convolutions of this processor are off by %.2g of their size: float32 is taken", difference
    )
    return None


def _bfloat16_difference() -> float:
    """Return how far a convolution of one made-up slice in bfloat16 is from that in float32, over the latter's norm."""
    import torch
    from torch.nn.functional import conv2d

    generator = torch.Generator().manual_seed(0)
    image, weight = (torch.randn(shape, generator=generator) for shape in ((1, 16, 96, 96), (32, 16, 3, 3)))
    exact = conv2d(image, weight, padding=1)
    return float((conv2d(image.bfloat16(), weight.bfloat16(), padding=1).float() - exact).norm() / exact.norm())


_MEANT = "$@%#"  # characters that mean something to the parser


def as_literal(value: Any) -> Any:
    """Return a value in the form in which a config's parser hands it on unchanged.

    Args:
        value: what JSON can hold, or a path.

    Returns:
        The value itself where the parser sees nothing in it, else a component that gives it back (`literal`). So does
        None, as `monai.bundle.run` takes an option that is None for one that is not given, and the config's own value.
    """
    if isinstance(value, PurePath):
        value = str(value)
    text = json.dumps(value, ensure_ascii=False)
    if value is not None and not any(character in text for character in _MEANT):
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


def without_references(schema: Any, definitions: Mapping[str, Any] | None = None) -> Any:
    """Return a JSON schema with what it refers to put in."""
    if isinstance(schema, list):
        return [without_references(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", definitions) or {}
    found = {name: without_references(part, definitions) for name, part in schema.items() if name != "$defs"}
    if "$ref" in found:
        found = {**definitions[found.pop("$ref").rsplit("/", 1)[1]], **found}
    return found


def must_be(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema allows."""
    if "must_be" in schema:
        return str(schema["must_be"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        parts = [must_be(part) for part in schema["anyOf"]]
        return ", or ".join(dict.fromkeys(parts))
    kind = schema.get("type")
    if kind == "array":
        return f"{_count(schema)} (each {must_be(schema.get('items', {}))})"
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(schema)
    return {"boolean": "true or false", "null": "none", "object": "a mapping such as {'max_epochs': 3}"}.get(
        str(kind), "text" if kind == "string" else "a value"
    )


def _count(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if least == most:
        return f"a list of {least}"
    return "a list of one or more" if least == 1 else "a list"


def _range(schema: Mapping[str, Any]) -> str:
    low, above, high, below = _bounds(schema)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    words = []
    if low is not None or above is not None:
        words.append(f"of at least {low}" if low is not None else f"above {above}")
    if high is not None or below is not None:
        words.append(f"at most {high}" if high is not None else f"below {below}")
    return f" {' and '.join(words)}" if words else ""


def _bounds(schema: Mapping[str, Any]) -> list[Any]:
    """Return the bounds ge, gt, le and lt; pydantic leaves them these names where a check stands before a kind."""
    names = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}
    return [schema.get(name, schema.get(short)) for name, short in names.items()]


_EXAMPLES = {"string": "text", "boolean": "true", "null": "none", "object": "\"{'max_epochs': 3}\""}


def example(schema: Mapping[str, Any]) -> str:
    """Return a value that would do."""
    if "examples" in schema:
        return str(schema["examples"][0])
    if "anyOf" in schema:
        return example(next((part for part in schema["anyOf"] if part.get("type") != "null"), schema["anyOf"][0]))
    if schema.get("type") == "array":
        count = max(1, schema.get("minItems", 1))
        return ",".join([example(schema.get("items", {}))] * count)
    if "enum" in schema or "const" in schema:
        return str(schema["enum"][0] if "enum" in schema else schema["const"])
    if schema.get("type") in ("integer", "number"):
        return _number_in(schema)
    return _EXAMPLES.get(str(schema.get("type")), str(schema.get("must_be", "text")).split(",")[0].split(" or ")[0])


def _number_in(schema: Mapping[str, Any]) -> str:
    low, above, high, below = _bounds(schema)
    if low is not None:
        return str(low)
    above, top = above or 0, below if high is None else high
    return str(above + 1 if top is None or above + 1 < top else (above + top) / 2)
