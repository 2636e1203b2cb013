"""Commands from functions: the signature and the docstring of one declare what it takes and what its help page says.

    def command(scan: PathText, *, erosion: Annotated[Whole, Field(ge=0)] = 1) -> None: ...

    if __name__ == "__main__":
        run_command(command)

Every value that is typed stays the text that it is, unless the type of its parameter says otherwise.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import os
import re
import sys
import traceback
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic.fields import FieldInfo
from scripts.errors import FAILED_STATUS, USAGE_STATUS, InputError, ScansFailedError, reason
from scripts.options.fields import (
    Flag,
    Number,
    Options,
    Whole,
    checked_field,
    is_flag,
    list_of,
    mapping_or,
    none_or,
    one_or_several,
    unknown_option,
)
from scripts.paths import bundle_root

__all__ = ["command_fields", "parse_command", "run_command"]

_PLACE = inspect.Parameter.POSITIONAL_OR_KEYWORD
logger = logging.getLogger(__name__)
_WORDS = {"true", "false", "yes", "no", "on", "off", "1", "0"}
_KINDS: dict[Any, Any] = {
    bool: Flag,
    int: Whole,
    float: Number,
    Sequence[str]: list_of(str, least=0),
    Sequence[str] | str: list_of(str, least=0),
    Sequence[str] | str | None: none_or(list_of(str, least=0)),
    Sequence[int]: list_of(Whole),
    Sequence[int] | int: list_of(Whole),
    float | Sequence[float]: one_or_several(Number),
    int | None: none_or(Whole),
    float | None: none_or(Number),
    Mapping[str, Any] | None: mapping_or(None),
    Mapping[str, str] | None: mapping_or(None),
}


def command_fields(function: Callable[..., Any], model: type[Options] | None = None) -> dict[str, FieldInfo]:
    """Return the options of a command by name: its parameters, then those of `model` that are not among them.

    Args:
        function: the command; `**options` among its parameters stands for the fields of the model.
        model: declares more options.
    """
    taken = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    holder = SimpleNamespace(__annotations__=taken)  # what it returns may be imported for type checkers alone
    hints = typing.get_type_hints(holder, globalns=function.__globals__, include_extras=True)
    meanings = _meanings(function)
    fields = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        field = FieldInfo.from_annotation(_kind_of(hints[name]))
        field.description = field.description or meanings.get(name, "")
        if parameter.default is not parameter.empty:
            field.default = parameter.default
        fields[name] = field
    more = model.model_fields if model else {}
    return fields | {name: field for name, field in more.items() if name not in fields}


def _kind_of(hint: Any) -> Any:
    """Return the kind of value that a type stands for; bounds of an `Annotated` one are kept."""
    if typing.get_origin(hint) is Annotated:
        base, *bounds = typing.get_args(hint)
        return Annotated[(_KINDS.get(base, base), *bounds)]
    return _KINDS.get(hint, hint)


def parse_command(
    function: Callable[..., Any], arguments: Sequence[str], model: type[Options] | None = None
) -> dict[str, Any]:
    """Return the options that a command line gives, in their own types.

    Args:
        function: the command.
        arguments: what stands after its name.
        model: declares more options.

    Raises:
        InputError: for an option that does not exist, is missing, or has a value that cannot be used.
    """
    fields = command_fields(function, model)
    places = [name for name, parameter in inspect.signature(function).parameters.items() if parameter.kind is _PLACE]
    given = _texts(list(arguments), fields, places)
    missing = [name for name in places if name not in given and fields[name].is_required()]
    required = [
        name for name in inspect.signature(function).parameters if name in fields and fields[name].is_required()
    ]
    missing += [name for name in required if name not in given and name not in missing]
    if missing:
        raise InputError(f"`{missing[0]}` is missing", fix=f"Give --{missing[0]}; --help says what it is.")
    return {name: checked_field(name, fields[name], text) for name, text in given.items()}


def _texts(words: list[str], fields: Mapping[str, FieldInfo], places: Sequence[str]) -> dict[str, str]:
    """Return the text of each option that was given."""
    given: dict[str, str] = {}
    free = list(places)
    only_places = False
    while words:
        word = words.pop(0)
        if word == "--" and not only_places:
            only_places = True
        elif word.startswith("--") and not only_places:
            _option(word[2:], words, fields, given)
        else:
            while free and free[0] in given:
                free.pop(0)
            if not free:
                raise InputError(f"there is no place for {word!r}", fix="--help says what goes where.")
            given[free.pop(0)] = word
    return given


def _option(word: str, words: list[str], fields: Mapping[str, FieldInfo], given: dict[str, str]) -> None:
    name, equals, text = word.partition("=")
    name = name.replace("-", "_")
    if name not in fields:
        raise unknown_option(name, fields)
    if not equals:
        if is_flag(fields[name]) and (not words or words[0].lower() not in _WORDS):
            text = "true"
        elif not words:
            raise InputError(f"`{name}` must have a value", fix=f"--help says what --{name} takes.")
        else:
            text = words.pop(0)
    given[name] = text


def run_command(
    function: Callable[..., Any],
    *,
    model: type[Options] | None = None,
    defaults: Callable[[], Mapping[str, Any]] | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Run a function as a command and end the process: with 0, 1 where scans failed, or 2 where it was asked wrongly.

    Args:
        function: the command.
        model: declares more options, which the function takes as keywords.
        defaults: returns the defaults of these, for the help page.
        arguments: the command line; that of this process by default.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    program = f"python -m {_module_of(function)}"
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(_help_page(function, program, command_fields(function, model), defaults))
        sys.exit(0)
    if "--version" in arguments:
        metadata = Path(bundle_root(), "configs", "metadata.json").read_text(encoding="utf-8")
        sys.stdout.write(f"{json.loads(metadata)['version']}\n")
        sys.exit(0)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.filterwarnings("ignore", message="parsing config_file")  # it warns of the bundle's own config
    try:
        function(**parse_command(function, arguments, model))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        logger.debug("ended by an error", exc_info=error)
        sys.exit(_reported(error))


def _reported(error: BaseException) -> int:
    """Write what was wrong as the last line, with a traceback where it is no matter of input; return the status."""
    first = _of_a_file(reason(error))
    if not isinstance(first, InputError):
        traceback.print_exception(error)
    sys.stderr.write(f"\nerror: {first}\n")
    wrong = isinstance(first, InputError) and not isinstance(first, ScansFailedError)
    return USAGE_STATUS if wrong else FAILED_STATUS


def _of_a_file(error: BaseException) -> BaseException:
    """Return what the system said of a file that it could not use as an error of input; other errors as they are."""
    if not isinstance(error, OSError) or error.filename is None:
        return error
    path = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename)
    return InputError(f"it cannot be used ({error.strerror or error})", path=path, fix="Give another path.")


def _module_of(function: Callable[..., Any]) -> str:
    if function.__module__ != "__main__":
        return function.__module__.removesuffix(".run")
    spec = sys.modules["__main__"].__spec__
    return spec.name.removesuffix(".__main__") if spec else sys.argv[0]


def _meanings(function: Callable[..., Any]) -> dict[str, str]:
    """Return what the docstring says of each argument."""
    text = inspect.getdoc(function) or ""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=    \S)", section.group(1).rstrip() if section else ""):
        name, _, meaning = block.strip().partition(":")
        found[name.lstrip("*")] = " ".join(meaning.split())
    return found


def _help_page(
    function: Callable[..., Any],
    program: str,
    fields: Mapping[str, FieldInfo],
    defaults: Callable[[], Mapping[str, Any]] | None,
) -> str:
    text = inspect.getdoc(function) or ""
    about = re.split(r"\n(?:Args|Returns|Raises):\n", text)[0].strip()
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{program} {_usage(function, fields)}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    known = dict(defaults()) if defaults else {}
    groups: dict[str, Any] = {}
    parameters = inspect.signature(function).parameters
    for name, field in fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        place = name in parameters and parameters[name].kind is _PLACE
        title = str(extra.get("group") or "options")
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        reported = _option_help(field, known.get(name, None if field.is_required() else field.default), extra)
        if place:
            parser.add_argument(name, nargs=None if field.is_required() else "?", help=reported)
        else:
            groups[title].add_argument(f"--{name}", metavar="X", help=reported)
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    return parser.format_help()


def _usage(function: Callable[..., Any], fields: Mapping[str, FieldInfo]) -> str:
    parameters = inspect.signature(function).parameters
    places = [name for name in fields if name in parameters and parameters[name].kind is _PLACE]
    words = [name.upper() if fields[name].is_required() else f"[{name.upper()}]" for name in places]
    options = [name for name in fields if name in parameters and name not in places]
    needed = [f"--{name} X" for name in options if fields[name].is_required()]
    return " ".join([*words, *needed, "[--option X ...]"])


def _option_help(field: FieldInfo, default: Any, extra: Mapping[str, Any]) -> str:
    unit = f", {extra['unit']}" if extra.get("unit") else ""
    shown = "" if default in (None, "", (), []) or str(default)[:1] in "$@{" else f" (default: {_word(default)})"
    return f"{field.description}{unit}{shown}".replace("%", "%%")


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
