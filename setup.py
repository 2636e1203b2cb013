"""Build the wheel: the bundle goes into the package `brain_anomaly`, its code renamed to `brain_anomaly.scripts`.

In the repository the code is the top-level package `scripts`, as MONAI Bundles have it. Installed beside another bundle
two packages of that name would meet; so the name is changed in code and configs when the wheel is built.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
BUNDLE = ("configs", "models", "scripts")
NAME = re.compile(r"(?<![\w./-])scripts(?=\.[a-z_{])|(?<=from )scripts(?= import)")
RENAMED = {".py", ".yaml"}


def requirements() -> list[str]:
    """Return what the package needs, with any build of a recent torch: clinics bring their own."""
    lines = [line for name in ("", "-dicom") for line in (ROOT / f"requirements{name}.txt").read_text().splitlines()]
    return ["torch>=2.6", *(line for line in lines if line and not line.startswith(("#", "-")))]


class BuildWithBundle(build_py):
    """Add the bundle to the package."""

    def run(self) -> None:
        """Copy, then rename."""
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib) / "brain_anomaly"
        for name in BUNDLE:
            shutil.rmtree(package / name, ignore_errors=True)
            shutil.copytree(ROOT / "bundle" / name, package / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for path in (path for path in package.rglob("*") if path.suffix in RENAMED):
            path.write_text(NAME.sub("brain_anomaly.scripts", path.read_text(encoding="utf-8")), encoding="utf-8")


setup(
    version=json.loads((ROOT / "metadata.json").read_text(encoding="utf-8"))["version"],
    install_requires=requirements(),
    cmdclass={"build_py": BuildWithBundle},
)
