"""What belongs into the packaged bundle, and under which name."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from monai.bundle import ConfigParser
from monai.bundle.utils import MACRO_KEY

from scripts.errors import InputError
from scripts.paths import bundle_root, project_root

__all__ = ["JSON_CONFIGS", "bundle_files", "check_no_machine_paths", "config_as_json", "machine_folders"]

JSON_CONFIGS = ("inference", "train")  # `monai.bundle.load` reads the JSON form of these two only
FOLDERS: Mapping[str, frozenset[str]] = {
    "configs": frozenset({".yaml", ".json", ".conf"}),
    "docs": frozenset({".md", ".txt", ".png", ".jpg", ".svg", ".gif", ".ipynb"}),
    "models": frozenset({".pt", ".ts", ".json"}),
    "scripts": frozenset({".py", ".html", ".css", ".js", ".json", ".md", ".txt", ""}),  # no suffix: a LICENSE
}
CACHES = frozenset({"__pycache__"})
CACHE_SUFFIXES = frozenset({".pyc", ".pyo"})
# a project may lie right under one of these, which say nothing about a machine
COMMON_FOLDERS = frozenset(map(Path, ["/", "/home", "/Users", "/opt", "/srv", "/mnt", "/tmp", "/usr", "/var", "/data"]))


def bundle_files(root: str | Path | None = None) -> dict[str, bytes]:
    """Collect the files of the bundle, with links resolved and its configs in JSON as well.

    Args:
        root: the folder with `configs/` and `models/`; the bundle that this module belongs to by default.

    Returns:
        The content of each file by its name inside the bundle's folder, such as `configs/inference.json`, sorted.

    Raises:
        InputError: if a part is missing, or a file lies there that is none of the kinds that a bundle consists of.
    """
    folder = Path(bundle_root() if root is None else root)
    files = {"LICENSE": _license(folder)}
    for name, suffixes in FOLDERS.items():
        if not (folder / name).is_dir():
            raise InputError(f"the bundle has no folder {name}", path=folder)
        for path in _walk(folder / name):
            inside = path.relative_to(folder).as_posix()
            if path.suffix not in suffixes:
                raise InputError(
                    f"a file of this kind does not belong into {name}/ of a bundle",
                    path=path,
                    fix=f"Remove it or move it elsewhere. Kinds: {', '.join(sorted(s for s in suffixes if s))}",
                )
            files[inside] = path.read_bytes()
    for name in JSON_CONFIGS:
        files[f"configs/{name}.json"] = config_as_json(folder / "configs" / f"{name}.yaml")
    return dict(sorted(files.items()))


def config_as_json(path: str | Path) -> bytes:
    """Write a YAML config as one self-contained JSON text.

    References (`@`) and expressions (`$`) stay as they are, so that every key can still be overridden; what another
    file holds (`%`) is put in.

    Args:
        path: a YAML config.

    Returns:
        The JSON text, in UTF-8, with the keys in the order of the YAML.
    """
    content = ConfigParser.load_config_file(path)
    if _uses_other_files(content):
        parser = ConfigParser(config=content)
        parser.resolve_macro_and_relative_ids()
        content = parser.get()
    return (json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n").encode()


def machine_folders() -> list[Path]:
    """Return the folders whose names must not get into a package: the project, the folder it is in, home, Python."""
    root = project_root()
    folders = {root, root.parent, Path.home(), Path(sys.prefix).resolve(), Path(sys.prefix)}
    return sorted(folders - COMMON_FOLDERS)


def check_no_machine_paths(files: Mapping[str, bytes], folders: list[Path] | None = None) -> None:
    """Refuse files that hold an absolute path of this machine.

    Args:
        files: the content of each file by its name.
        folders: paths in these folders are refused; those of `machine_folders` by default.

    Raises:
        InputError: naming the file, the line and the path.
    """
    names = [re.escape(folder.as_posix()) for folder in (machine_folders() if folders is None else folders)]
    pattern = re.compile(rf"(?<![\w.~-])(?:{'|'.join(names)})/[\w./-]*".encode())
    for name, content in files.items():
        found = pattern.search(content)
        if found:
            line = content.count(b"\n", 0, found.start()) + 1
            raise InputError(
                f"line {line} holds a path of this machine: {found.group().decode(errors='replace')}",
                path=name,
                fix="Write a relative path, or clear the outputs of a notebook and run it elsewhere",
            )


def _uses_other_files(value: object) -> bool:
    if isinstance(value, dict | list):
        return any(map(_uses_other_files, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and value.startswith(MACRO_KEY)


def _license(folder: Path) -> bytes:
    path = folder / "LICENSE"
    if not path.is_file():
        raise InputError("the bundle has no LICENSE", path=folder)
    return path.read_bytes()


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in CACHES or path.suffix in CACHE_SUFFIXES:
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
