"""What the Model Zoo asks of a bundle's files, checked without a network."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from monai.bundle import ConfigParser

from scripts.errors import InputError
from scripts.tools.package_bundle import LARGE_BYTES
from scripts.tools.package_bundle_files import check_no_machine_paths

__all__ = ["check_docs", "check_files", "check_name", "check_paths", "check_sizes"]

NEEDED = ("LICENSE", "configs/metadata.json", "configs/inference.json", "configs/logging.conf", "models/model.pt")
NEEDED_DOCS = ("docs/README.md", "docs/data_license.txt")
HEADINGS = (
    *("Model Overview", "Data", "Training configuration", "Input", "Output"),
    *("Performance", "MONAI Bundle Commands", "References", "License"),
)
EXPORTS = ("TorchScript", "TensorRT")  # the zoo wants to read of both, also where they do not work
CACHE = "__pycache__"  # made by running the bundle; it is never packed
LARGE_LISTS = ("large_files.yml", "large_files.yaml", "large_files.json")


def check_name(bundle: Path) -> None:
    """Check that the folder's name is lower-case words joined by underscores, as `spleen_ct_segmentation` is."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", bundle.name):
        raise InputError("the folder's name must be lower-case words joined by underscores", path=bundle)


def check_files(bundle: Path) -> None:
    """Check that every file that the zoo needs is there, and no link or hidden file."""
    missing = [name for name in (*NEEDED, *NEEDED_DOCS) if not (bundle / name).is_file()]
    if missing:
        raise InputError(f"missing: {', '.join(missing)}", path=bundle, fix="Make it with scripts.tools.package_bundle")
    for path in bundle.rglob("*"):
        if path.name.startswith(".") or path.is_symlink():
            raise InputError("a link or hidden file must not be in a bundle", path=path)


def check_sizes(bundle: Path, *, limit: int = LARGE_BYTES) -> None:
    """Check that each file over 25 MB is listed with its address and the right checksum in `large_files.yml`."""
    listed = _large_files(bundle)
    for path in _walk(bundle):
        name = path.relative_to(bundle).as_posix()
        if path.stat().st_size > limit and name not in listed:
            raise InputError(f"over {limit / 1e6:g} MB and not in large_files.yml", path=path)
        wanted = listed.get(name, "")
        if wanted and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise InputError("its SHA-256 is not the one in large_files.yml", path=path)


def check_paths(bundle: Path) -> None:
    """Check that no file holds an absolute path of this machine."""
    check_no_machine_paths({path.relative_to(bundle).as_posix(): path.read_bytes() for path in _walk(bundle)})


def check_docs(bundle: Path) -> None:
    """Check that the model card has the zoo's headings, and that the documents tell of TorchScript and TensorRT."""
    card = bundle / "docs" / "README.md"
    headings = re.findall(r"^#+ +(.+?) *$", card.read_text(encoding="utf-8"), flags=re.MULTILINE)
    missing = [name for name in HEADINGS if name not in headings]
    if missing:
        raise InputError(f"no heading {', '.join(missing)}", path=card)
    told = "".join(path.read_text(encoding="utf-8") for path in sorted((bundle / "docs").glob("*.md")))
    for name in EXPORTS:
        if name not in told:
            raise InputError(f"no word on {name}", path=bundle / "docs", fix="Say whether it works, and why not")


def _walk(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file() and CACHE not in path.parts)


def _large_files(bundle: Path) -> dict[str, str]:
    found = [bundle / name for name in LARGE_LISTS if (bundle / name).is_file()]
    if not found:
        return {}
    entries = ConfigParser.load_config_file(found[0])["large_files"]
    bad = [entry for entry in entries if not {"path", "url"} <= set(entry)]
    if bad:
        raise InputError(f"each entry needs path and url, got {bad[0]}", path=found[0])
    return {entry["path"]: entry.get("hash_val", "") for entry in entries}
