"""Each check of a bundle fails for its own reason, and says what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.errors import InputError
from scripts.paths import project_root
from tools.release.check_bundle import CHECKS, check_sizes
from tools.release.package_bundle import BUNDLE_NAME


def _edit(bundle: Path, change: Callable[[dict], object], name: str = "metadata") -> None:
    path = bundle / "configs" / f"{name}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _write(bundle: Path, name: str, text: str) -> None:
    (bundle / name).write_text(text)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no licence": ("files", lambda b: (b / "LICENSE").unlink(), "missing: LICENSE"),
    "hidden": ("files", lambda b: _write(b, "docs/.hidden", ""), r"docs/\.hidden: a link or hidden file"),
    "link": ("files", lambda b: (b / "docs" / "x.md").symlink_to("README.md"), r"x\.md: a link or hidden file"),
    "path": (
        "no paths of this machine",
        lambda b: _write(b, "docs/x.md", f"{project_root()}/scan.nii"),
        r"docs/x\.md: line 1 holds a path of this machine",
    ),
    "heading": ("documents", lambda b: _write(b, "docs/README.md", "# Data\n"), r"README\.md: no heading Model Overview"),
    "no channels": (
        "metadata",
        lambda b: _edit(b, lambda m: m["network_data_format"]["inputs"]["image"].pop("channel_def")),
        "'channel_def' is a required property",
    ),
    "no name": ("metadata", lambda b: _edit(b, lambda m: m.update(name="")), "''|non-empty"),
    "version": (
        "version and changelog",
        lambda b: _edit(b, lambda m: m.update(version="9.0.0")),
        r"`changelog` has no entry for version 9\.0\.0",
    ),
    "old version": (
        "version and changelog",
        lambda b: _edit(b, lambda m: m["changelog"].update({"10.0.0": "later"})),
        r"`changelog` goes on to 10\.0\.0",
    ),
    "no inferer": ("ids of inference", lambda b: _edit(b, lambda c: c.pop("inferer"), "inference"), "no inferer"),
    "other value": (
        "ids of training",
        lambda b: _edit(b, lambda c: c.update(seed=-1), "train"),
        r"its content is not that of train\.yaml",
    ),
    "no handlers": (
        "ids of training",
        lambda b: _edit(b, lambda c: c["train"].pop("handlers"), "train"),
        "no train#handlers",
    ),
}


@pytest.fixture(scope="module")
def whole(unzipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small files of a bundle: what these checks read."""
    folder = tmp_path_factory.mktemp("whole") / BUNDLE_NAME
    shutil.copytree(unzipped, folder, ignore=shutil.ignore_patterns("scripts", "*.png"))
    return folder


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_bundle_fails_its_check_and_the_whole_one_passes(whole: Path, tmp_path: Path, name: str) -> None:
    check, break_it, message = BROKEN[name]
    CHECKS[check](whole)
    bundle = shutil.copytree(whole, tmp_path / BUNDLE_NAME)
    break_it(bundle)
    with pytest.raises(InputError, match=message):
        CHECKS[check](bundle)


@pytest.mark.parametrize("name", ["Brain", "brain", "brain-mri", "brain__mri", "Brain_mri"])
def test_names_unlike_the_zoos_are_refused(tmp_path: Path, name: str) -> None:
    CHECKS["name of the folder"](tmp_path / BUNDLE_NAME)
    with pytest.raises(InputError, match="lower-case words joined by underscores"):
        CHECKS["name of the folder"](tmp_path / name)


def test_large_files_must_be_listed_with_the_right_checksum(tmp_path: Path) -> None:
    (tmp_path / "big.pt").write_bytes(b"12345")
    with pytest.raises(InputError, match=r"big\.pt: over 4e-06 MB and not in large_files\.yml"):
        check_sizes(tmp_path, limit=4)
    entry = {"path": "big.pt", "url": "https://example.org/big.pt", "hash_val": "0" * 64}
    (tmp_path / "large_files.json").write_text(json.dumps({"large_files": [entry]}))
    with pytest.raises(InputError, match=r"big\.pt: its SHA-256 is not the one in large_files\.yml"):
        check_sizes(tmp_path, limit=1000)
    (tmp_path / "large_files.json").write_text(json.dumps({"large_files": [{"path": "big.pt"}]}))
    with pytest.raises(InputError, match="each entry needs path and url"):
        check_sizes(tmp_path, limit=1000)
