"""The command line as a report may show it: complete, but free of the machine's own paths."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

__all__ = ["portable_command"]


def portable_command(argv: Sequence[str], *, folder: str | os.PathLike[str] | None = None) -> str:
    """Return a command line in which no absolute path is left.

    A path inside `folder` is written relative to it, any other path by its last part; a Python file that belongs to an
    installed package is written as `python -m package`.

    Args:
        argv: the program and its arguments, as in `sys.argv`.
        folder: where the command was started; the current folder by default.

    Returns:
        One line, quoted for a shell; empty when `argv` is.
    """
    if not argv:
        return ""
    base = Path(folder) if folder is not None else Path.cwd()
    program, arguments = argv[0], argv[1:]
    parts = Path(program).parts
    if "site-packages" in parts and program.endswith(".py"):
        names = [part.removesuffix(".py") for part in parts[parts.index("site-packages") + 1 :]]
        start = ["python", "-m", ".".join(name for name in names if name != "__main__")]
    elif program.endswith(".py"):
        start = ["python", _portable(program, base)]
    else:
        start = [_portable(program, base)]
    return shlex.join([*start, *(_portable(argument, base) for argument in arguments)])


def _portable(argument: str, base: Path) -> str:
    """Shorten the path in `PATH`, `--option=PATH` or a quoted list of them."""
    name, equals, value = argument.partition("=")
    if equals:
        return f"{name}={_portable(value, base)}"
    path = Path(argument)
    if not path.is_absolute():
        return _without_inner_paths(argument, base)
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name


def _without_inner_paths(text: str, base: Path) -> str:
    """Shorten each quoted absolute path inside a list or expression such as "['/a/b.yaml', '/c/d.yaml']"."""
    for quote in ("'", '"'):
        pieces = text.split(quote)
        pieces[1::2] = [_portable(piece, base) if piece.startswith("/") else piece for piece in pieces[1::2]]
        text = quote.join(pieces)
    return text
