"""The wheel holds the whole bundle under a name of its own, which another bundle's `scripts` cannot meet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FOREIGN = "raise RuntimeError('the scripts of another bundle')\n"


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    settings = folder / "setup.cfg"  # so that nothing is built in the repository
    settings.write_text(f"[build]\nbuild_base = {folder}/build\n[egg_info]\negg_base = {folder}\n")
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(root)]
    subprocess.run([sys.executable, "-m", *build], check=True, env={**os.environ, "DIST_EXTRA_CONFIG": str(settings)})
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_every_file_of_the_bundle_is_in_the_wheel(wheel: Path, root: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("configs", "models", "scripts"):
        for path in (root / "bundle" / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                assert f"brain_anomaly/{path.relative_to(root / 'bundle').as_posix()}" in names


def test_nothing_in_the_wheel_names_the_top_level_package(installed: Path):
    files = [path for path in (installed / "brain_anomaly").rglob("*") if path.suffix in (".py", ".yaml")]
    named = re.compile(r"(?<![\w./-])scripts\.[a-z_]+|from scripts import|import scripts")
    assert len(files) > 100
    assert [path.name for path in files if named.search(path.read_text(encoding="utf-8"))] == []
    assert "scripts" not in {path.name for path in installed.iterdir()}


def test_the_metadata_leave_the_build_of_torch_open(wheel: Path):
    (name,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    needs = re.findall(r"^Requires-Dist: (.+)$", zipfile.ZipFile(wheel).read(name).decode(), re.MULTILINE)
    assert "torch>=2.6" in needs
    assert any(need.startswith("pydicom") for need in needs)


@pytest.mark.parametrize("place", ["folder", "path"])
def test_the_scripts_of_another_bundle_are_never_imported(installed: Path, tmp_path: Path, place: str):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text(FOREIGN)
    paths = [str(tmp_path), str(installed)] if place == "path" else [str(installed)]
    code = (
        "from monai.bundle import ConfigParser\n"
        "from brain_anomaly import analyze\n"
        "from brain_anomaly.scripts.paths import bundle_root\n"
        "parser = ConfigParser()\n"
        "parser.read_config(bundle_root() + '/configs/inference.yaml')\n"
        "print(type(parser.get_parsed_content('scheduler')).__name__, analyze.__module__)\n"
    )
    reported = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert reported.stdout.split() == ["DDPMScheduler", "brain_anomaly.analysis"], reported.stderr
