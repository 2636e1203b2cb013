"""The package holds what a bundle needs, nothing else, and is the same to the last byte whenever it is made."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from scripts.errors import InputError
from tools.release.package_bundle import (
    BUNDLE_NAME,
    bundle_files,
    check_no_machine_paths,
    config_as_json,
    large_files_list,
    package_bundle,
)

NEEDED = (
    *("LICENSE", "configs/metadata.json", "configs/logging.conf", "docs/README.md", "docs/data_license.txt"),
    *("configs/inference.yaml", "configs/inference.json", "configs/train.yaml", "configs/train.json"),
    *("configs/datasets/IXI.yaml", "models/model.pt", "models/model_t2.pt", "models/thresholds.json"),
    *("scripts/__init__.py", "scripts/report/assets/niivue/niivue.umd.js", "scripts/report/assets/niivue/LICENSE"),
)


@pytest.fixture
def copy(unzipped: Path, tmp_path: Path) -> Path:
    """A bundle's folder that a test may change."""
    return shutil.copytree(unzipped, tmp_path / BUNDLE_NAME)


def test_everything_lies_in_one_folder_and_all_parts_are_there(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    assert len(names) < 180
    assert {name.split("/")[0] for name in names} == {BUNDLE_NAME}
    assert [name for name in NEEDED if f"{BUNDLE_NAME}/{name}" not in names] == []
    assert {name.split("/")[1] for name in names} == {"LICENSE", "README.md", "configs", "docs", "models", "scripts"}


def test_the_folder_is_a_model_page_whose_links_lead_to_files(unzipped: Path) -> None:
    page = (unzipped / "README.md").read_text(encoding="utf-8")
    assert page.startswith("---\nlicense: ")
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", page)
    assert len(links) > 5
    assert [link for link in links if not (unzipped / link).is_file()] == []


def test_no_data_cache_test_or_link_is_inside(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        for entry in archive.infolist():
            assert stat.S_IFMT(entry.external_attr >> 16) == stat.S_IFREG, f"{entry.filename}: no link, no folder"
            assert not {"__pycache__", "tests", "runs"} & set(entry.filename.split("/"))
            assert not entry.filename.endswith((".nii", ".nii.gz", ".pyc", ".mgz"))
            assert entry.filename.startswith(f"{BUNDLE_NAME}/")
            assert not any(part.startswith(".") for part in entry.filename.split("/"))


def test_the_name_of_the_file_says_the_version(package: Path, root: Path) -> None:
    assert package.stem == f"{BUNDLE_NAME}_v{json.loads((root / 'metadata.json').read_text())['version']}"


def test_another_place_another_day_the_same_bytes(package: Path, copy: Path, tmp_path: Path) -> None:
    for path in [*copy.rglob("*")]:
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700)
    (copy / "scripts" / "__pycache__").mkdir()
    (copy / "scripts" / "__pycache__" / "x.pyc").write_bytes(b"cache")
    (copy / "docs" / ".DS_Store").write_bytes(b"hidden")
    package_bundle(str(tmp_path / "again"), bundle_dir=str(copy))
    again = (tmp_path / "again" / package.name).read_bytes()
    assert hashlib.sha256(again).hexdigest() == hashlib.sha256(package.read_bytes()).hexdigest()
    assert len(list((tmp_path / "again").iterdir())) == 1, "no temporary file is left"


@pytest.mark.parametrize("name", ["inference", "train"])
def test_the_json_config_says_what_the_yaml_says_and_keeps_its_expressions(unzipped: Path, name: str) -> None:
    plain = ConfigParser.load_config_file(unzipped / "configs" / f"{name}.json")
    assert plain == ConfigParser.load_config_file(unzipped / "configs" / f"{name}.yaml")
    assert plain["network"].startswith("$@network_def")


def test_what_another_file_holds_is_put_into_the_json(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("size: [1, 2]\n")
    (tmp_path / "whole.yaml").write_text(f"size: '%{tmp_path}/part.yaml#size'\nnet: {{a: 1, b: '@##net#a'}}\n")
    content = json.loads(config_as_json(tmp_path / "whole.yaml"))
    assert content["size"] == [1, 2]
    assert ConfigParser(content).get_parsed_content("net") == {"a": 1, "b": 1}


def test_a_stray_scan_is_refused(copy: Path) -> None:
    (copy / "models" / "patient.nii.gz").write_bytes(b"scan")
    with pytest.raises(InputError, match=r"patient\.nii\.gz: a file of this kind does not belong into models/"):
        bundle_files(copy)


def test_population_statistics_are_parameters_and_go_along(copy: Path) -> None:
    (copy / "models" / "population_t1.pt").write_bytes(b"statistics")
    assert bundle_files(copy)["models/population_t1.pt"] == b"statistics"


@pytest.mark.parametrize(("name", "message"), [("LICENSE", "no LICENSE"), ("docs", "no folder docs")])
def test_a_missing_part_is_named(copy: Path, name: str, message: str) -> None:
    shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
    with pytest.raises(InputError, match=message):
        bundle_files(copy)


def test_a_path_of_this_machine_is_refused_with_its_place(root: Path, copy: Path, tmp_path: Path) -> None:
    (copy / "docs" / "python.md").write_text(f"one\nsee {root}/runs/x.png\n")
    with pytest.raises(InputError, match=r"docs/python\.md: line 2 holds a path of this machine: .*/runs/x\.png"):
        package_bundle(str(tmp_path / "dist"), bundle_dir=str(copy))
    assert not list((tmp_path / "dist").rglob("*"))


@pytest.mark.parametrize("text", ["/home/janet/x", "a/home/jane/x", "see home/jane/x", "https://x.org/home/jane/"])
def test_other_paths_are_no_paths_of_this_machine(text: str) -> None:
    check_no_machine_paths({"a.txt": text.encode()}, [Path("/home/jane")])


def test_large_files_are_listed_with_address_and_checksum() -> None:
    files = {"models/big.pt": b"12345", "models/small.pt": b"1"}
    (entry,) = yaml.safe_load(large_files_list(files, "https://example.org/v1/", limit=4))["large_files"]
    assert entry["path"] == "models/big.pt"
    assert entry["url"] == "https://example.org/v1/big.pt"
    assert (entry["hash_val"], entry["hash_type"]) == (hashlib.sha256(b"12345").hexdigest(), "sha256")
    assert large_files_list(files, None, limit=5) is None, "a file of the limit's size is not over it"
    with pytest.raises(InputError, match=r"models/big\.pt: over 4e-06 MB.*--large_files_url"):
        large_files_list(files, None, limit=4)
