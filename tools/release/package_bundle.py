"""Pack the bundle into a zip file that MONAI, the Model Zoo and MONAI Label read."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from scripts.errors import InputError
from scripts.files import replacing
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.paths import bundle_root, project_root

__all__ = [
    "BUNDLE_NAME",
    "EARLIEST",
    "JSON_CONFIGS",
    "LARGE_BYTES",
    "bundle_files",
    "check_no_machine_paths",
    "config_as_json",
    "large_files_list",
    "machine_folders",
    "package_bundle",
    "write_zip",
]

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold
UNIX = 3
PERMISSIONS = 0o100644  # a regular file, read by all, written by its owner


def write_zip(path: str | Path, files: Mapping[str, bytes], *, folder: str) -> Path:
    """Write files into one folder of a zip archive: sorted, of one date, with one set of permissions.

    They are stored without compression, because compressors differ between versions of zlib and would make two archives
    of the same files differ.

    Args:
        path: the archive; written under a temporary name and then renamed.
        files: the content of each file by its name, with `/` between folders.
        folder: the top folder of the archive.

    Returns:
        The path of the archive.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{folder}/{name}", date_time=EARLIEST)
            entry.create_system = UNIX
            entry.external_attr = PERMISSIONS << 16
            archive.writestr(entry, files[name])
    return Path(path)


JSON_CONFIGS = ("inference", "train")  # `monai.bundle.load` reads the JSON form of these two only
FOLDERS: Mapping[str, frozenset[str]] = {
    "configs": frozenset({".yaml", ".json", ".conf"}),
    "docs": frozenset({".md", ".txt", ".png", ".jpg", ".svg", ".gif", ".ipynb"}),
    "models": frozenset({".pt", ".ts", ".json", ""}),
    "scripts": frozenset({".py", ".html", ".css", ".js", ".json", ".csv", ".md", ".txt", ""}),  # no suffix: a LICENSE
}
CARD = "docs/README.md"  # where the Model Zoo has it; the Hugging Face Hub reads it at the top of the folder
LINK = re.compile(rb"\]\((?![a-z]+:|#)")  # to a file beside the card
CACHES = frozenset({"__pycache__"})
# nothing that a config, a host, a document or the Model Zoo's test reaches
LEFT_OUT = frozenset({"scripts/cli/make_phantom.py", "scripts/report/assets/niivue/README.md"})
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
            if inside in LEFT_OUT:
                continue
            if path.suffix not in suffixes:
                raise InputError(
                    f"a file of this kind does not belong into {name}/ of a bundle",
                    path=path,
                    fix=f"Remove it or move it elsewhere. Kinds: {', '.join(sorted(s for s in suffixes if s))}",
                )
            files[inside] = path.read_bytes()
    if CARD in files:
        files["README.md"] = LINK.sub(rb"](docs/", files[CARD])
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
    from monai.bundle import ConfigParser

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
    from monai.bundle.utils import MACRO_KEY

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


BUNDLE_NAME = "brain_mri_anomaly_segmentation"
LARGE_BYTES = 25 * 1000**2  # of one file, from the Model Zoo's rules
logger = logging.getLogger(__name__)


def package_bundle(
    output_dir: PathText = "dist", *, bundle_dir: PathText | None = None, large_files_url: str | None = None
) -> None:
    """Pack the bundle into OUTPUT_DIR/brain_mri_anomaly_segmentation_v<version>.zip.

    The archive holds one folder, brain_mri_anomaly_segmentation, with configs, models, docs, scripts, LICENSE and the
    model card as README.md. Links are resolved, and inference.yaml and train.yaml stand in it as JSON too. The same
    files give the same bytes.

    Args:
        output_dir: where to write the archive.
        bundle_dir: the bundle to pack; this one by default.
        large_files_url: where the files over 25 MB are published; needed only if there are any. They are listed
            in large_files.yml with this address, and stay in the archive.
    """
    files = bundle_files(bundle_dir)
    version = json.loads(files["configs/metadata.json"])["version"]
    large = large_files_list(files, large_files_url)
    if large is not None:
        files["large_files.yml"] = large
    check_no_machine_paths(files)
    path = write_zip(Path(output_dir) / f"{BUNDLE_NAME}_v{version}.zip", files, folder=BUNDLE_NAME)
    content = path.read_bytes()
    logger.info("%s: %d files, %.1f MB", path, len(files), len(content) / 1e6)
    logger.info("sha256 %s", hashlib.sha256(content).hexdigest())


def large_files_list(files: Mapping[str, bytes], url: str | None, *, limit: int = LARGE_BYTES) -> bytes | None:
    """List the files that are too large for the Model Zoo's repository, as its `large_files.yml`.

    Args:
        files: the content of each file by its name.
        url: the folder on the web that holds them under their last names.
        limit: bytes that a file may have.

    Returns:
        The YAML text with path, address and SHA-256 of each, or None if no file is over the limit.

    Raises:
        InputError: if there are such files but no address.
    """
    large = [name for name, content in sorted(files.items()) if len(content) > limit]
    if not large:
        return None
    if url is None:
        raise InputError(
            f"{', '.join(large)}: over {limit / 1e6:g} MB, which the Model Zoo does not take",
            fix="Publish it somewhere and give that folder's address as --large_files_url",
        )
    entries = [
        {
            "path": name,
            "url": f"{url.rstrip('/')}/{Path(name).name}",
            "hash_val": hashlib.sha256(files[name]).hexdigest(),
            "hash_type": "sha256",
        }
        for name in large
    ]
    return yaml.safe_dump({"large_files": entries}, sort_keys=False).encode()


def main() -> None:
    """Run `package_bundle` from the command line."""
    run_command(package_bundle)


if __name__ == "__main__":
    main()
