"""Completion of our commands in a shell, where argcomplete is installed: options, and the values that one may have."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from scripts.options.fields import field_schema

__all__ = ["add_completed_options", "complete", "field_choices"]

_FLAG = "true or false"  # what the schema of an on/off option says
_ASKED = "_ARGCOMPLETE"  # a shell sets it when it wants words


def complete(make_parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Answer a shell that asks for words, and end; do nothing in a run, or where argcomplete is not installed.

    Args:
        make_parser: returns the parser of the command; only called when a shell asks.
    """
    if _ASKED not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(make_parser())


def add_completed_options(parser: argparse.ArgumentParser, fields: Mapping[str, FieldInfo]) -> None:
    """Add the options of a command to a parser that is only asked for words.

    Args:
        parser: of the command, with its places.
        fields: the options by name.
    """
    for name, field in fields.items():
        choices = field_choices(name, field)
        argument = parser.add_argument(f"--{name}", help=field.description)
        if choices:
            argument.completer = _words(choices)  # type: ignore[attr-defined]


def _words(choices: Sequence[str]) -> Callable[..., list[str]]:
    return lambda **_: list(choices)


def field_choices(name: str, field: FieldInfo) -> list[str]:
    """Return the words that an option may be, where these are few; none where any text or number will do.

    Args:
        name: of the option.
        field: its declaration.

    Examples:
        >>> from scripts.options.workflows import InferenceOptions
        >>> field_choices("modality", InferenceOptions.model_fields["modality"])
        ['t1', 't2']
    """
    return list(dict.fromkeys(_choices(field_schema(name, field))))


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    for part in schema.get("anyOf", ()):
        yield from _choices(part)
    yield from map(str, schema.get("enum", ()))
    if "const" in schema:
        yield str(schema["const"])
    if schema.get("must_be") == _FLAG:
        yield from ("true", "false")
    if isinstance(schema.get("items"), Mapping):
        yield from _choices(schema["items"])
