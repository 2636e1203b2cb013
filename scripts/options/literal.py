"""Hand a value on to a config as it is, whatever characters it holds.

MONAI's parser takes a text that starts with `$` for an expression, `@` for a reference, `%` for a file to put in, and
every `#` for a separator of ids. A value that a user typed must be none of these.
"""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

__all__ = ["as_literal", "literal"]

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
