"""Pack the bundle into a zip file that MONAI, the Model Zoo and MONAI Label read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import fire
import yaml

from scripts.errors import InputError, end_with_the_reason
from scripts.tools.package_bundle_files import bundle_files, check_no_machine_paths
from scripts.tools.package_bundle_zip import write_zip

__all__ = ["BUNDLE_NAME", "LARGE_BYTES", "large_files_list", "package_bundle"]

BUNDLE_NAME = "brain_mri_anomaly_segmentation"
LARGE_BYTES = 25 * 1000**2  # of one file, from the Model Zoo's rules
logger = logging.getLogger(__name__)


def package_bundle(
    output_dir: str = "dist", *, bundle_dir: str | None = None, large_files_url: str | None = None
) -> None:
    """Pack the bundle into OUTPUT_DIR/brain_mri_anomaly_segmentation_v<version>.zip.

    The archive holds one folder, brain_mri_anomaly_segmentation, with configs, models, docs, scripts and LICENSE. Links
    are resolved, and inference.yaml and train.yaml stand in it as JSON too. The same files give the same bytes.

    Args:
        output_dir: where to write the archive.
        bundle_dir: the bundle to pack; this one by default.
        large_files_url: where the files over 25 MB are published; needed only if there are any. They are listed
            in large_files.yml with this address, and stay in the archive.
    """
    end_with_the_reason()
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


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire(package_bundle)
