"""Check what a user gave to `python -m monai.bundle run`, before anything of it is used.

MONAI's command line turns texts into Python values (fire), puts keys that no config has beside those that it has, drops
what is None, and evaluates texts that start with `$`. The command line itself is what says what the user meant.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import USAGE_STATUS, InputError
from scripts.options.fields import Options, checked, shown, unknown_option
from scripts.options.workflows import CONFIGS, options_of

__all__ = ["check_arguments", "check_bundle_run", "given_options"]

_OF_RUN = ("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file")
_EXPRESSIONS = ("$", "@", "%")
_SEPARATORS = ("#", "@::", "%::")


def check_bundle_run(arguments: Sequence[str] | None = None) -> None:
    """End a `monai.bundle run` whose options cannot be used: one line that says which and why, and exit status 2.

    Does nothing in a program of another kind, where options come from Python.

    Args:
        arguments: the command line; that of this process by default.

    Raises:
        SystemExit: with the status 2.
    """
    arguments = sys.argv if arguments is None else arguments
    if Path(arguments[0]).parts[-3:] != ("monai", "bundle", "__main__.py") or "run" not in arguments[1:2]:
        return
    try:
        check_arguments(arguments[2:])
    except InputError as error:
        sys.stderr.write(f"\nerror: {error}\n")
        raise SystemExit(USAGE_STATUS) from None


def check_arguments(arguments: Sequence[str]) -> None:
    """Check the options after `monai.bundle run`.

    Args:
        arguments: as they were typed.

    Raises:
        InputError: for the first option that no config has, or whose value cannot be used.
    """
    given = given_options(arguments)
    typed = {name: (_parsed(text), text) for name, text in given.items()}
    given_values = {**_from_file(typed), **typed}
    files = _config_files(given_values)
    if not files:
        return
    model = options_of(Path(file).stem for file in files)
    known = {*model.model_fields, *_keys_of(files)}
    for name, (value, text) in given_values.items():
        top, *rest = name.replace("::", "#").split("#")
        if top in _OF_RUN:
            continue
        if top.lstrip("+") not in known:
            raise unknown_option(top, known)
        if rest and top in ("map", "sampling"):
            _check_value(CONFIGS["inference"], rest[0], value, text)
        elif rest and top in model.model_fields:
            _check_literal(name, value, text)
        elif not rest:
            _check_value(model, name, value, text)


def _from_file(typed: Mapping[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """Return the options of MONAI's `args_file` by name: each as value and text."""
    file = typed.get("args_file", ("", ""))[1]
    if not file or not Path(file).is_file():
        return {}
    from monai.bundle import ConfigParser

    options = ConfigParser.load_config_file(file)
    return {name: (value, value if isinstance(value, str) else str(value)) for name, value in options.items()}


def given_options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the options of a command line by name, each as the text that was typed; `--name` alone is true."""
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            continue
        name, equals, text = word[2:].partition("=")
        if not equals:
            text = rest.pop(0) if rest and not rest[0].startswith("--") else "True"
        given[name.replace("-", "_")] = text
    return given


def _parsed(text: str) -> Any:
    """Return what MONAI's command line makes of a text."""
    from fire.parser import DefaultParseValue

    return DefaultParseValue(text)


def _texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of a value, those in its lists and mappings too: the config's parser looks into each."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.items():
            yield from _texts_in(part)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _texts_in(part)


def _config_files(given: Mapping[str, tuple[Any, str]]) -> list[str]:
    files = given["config_file"][0] if "config_file" in given else []
    if isinstance(files, str):
        files = [files] if Path(files).is_file() else files.split(",")
    return [str(file) for file in files]


def _keys_of(files: Sequence[str]) -> list[str]:
    from monai.bundle import ConfigParser

    return list(ConfigParser.load_config_files(list(files)))


def _check_literal(name: str, value: Any, text: str) -> None:
    """Check that the config's parser takes a value for what it is, in lists and quotes too.

    Raises:
        InputError: if it would evaluate it, follow it as a reference, or take a part of it for an id.
    """
    texts = [text, *_texts_in(value)]
    if any(part.startswith(_EXPRESSIONS) for part in texts):
        what = f"`{name}` must be a value, got {shown(text)}, which the config's parser would take for an expression"
        raise InputError(what, fix="Put ./ before a path, or write it into a config file of your own.")
    if any(mark in part for part in texts for mark in _SEPARATORS):
        what = f"`{name}` must have no # here, which the config's parser takes for a separator, got {shown(text)}"
        raise InputError(what, fix="Rename the file, or use python -m scripts.cli.analyze.")


def _check_value(model: type[Options], name: str, value: Any, text: str) -> None:
    field = model.model_fields.get(name)
    if field is None:
        return
    _check_literal(name, value, text)
    if value is None and not _may_be_none(model, name):
        fix = "Write ./None for a folder of that name." if _is_path(model, name) else "Leave it out for its default."
        raise InputError(f"`{name}` must have a value, got None", fix=fix)
    if value is not None and not isinstance(value, str | list | tuple | bool) and _is_path(model, name):
        what = f"`{name}` must be a path, got {shown(text)}, which MONAI's command line takes for a value of Python"
        raise InputError(what, fix=f"Write ./{text}")
    if isinstance(value, tuple) and _is_path(model, name) and not text.startswith(("(", "[")):
        what = f"`{name}` must be a path, got {shown(text)}, which MONAI's command line takes for a list"
        raise InputError(what, fix="Rename the file, or use python -m scripts.cli.analyze.")
    checked(model, name, value)


def _may_be_none(model: type[Options], name: str) -> bool:
    try:
        return checked(model, name, None) is None
    except InputError:
        return False


def _is_path(model: type[Options], name: str) -> bool:
    """Return whether an option is a path: any text that is no expression would do."""
    try:
        checked(model, name, "folder/scan 1.nii.gz")
    except InputError:
        return False
    return True
