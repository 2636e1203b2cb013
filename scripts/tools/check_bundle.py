"""Run the Model Zoo's checks on an unzipped bundle, as far as they need no network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import fire

from scripts.errors import InputError, end_with_the_reason
from scripts.tools import check_bundle_configs as configs
from scripts.tools import check_bundle_files as files

__all__ = ["CHECKS", "check_bundle"]

CHECKS: Mapping[str, Callable[[Path], None]] = {
    "name of the folder": files.check_name,
    "files": files.check_files,
    "sizes": files.check_sizes,
    "no paths of this machine": files.check_paths,
    "documents": files.check_docs,
    "metadata": configs.check_metadata,
    "version and changelog": configs.check_version,
    "ids of inference": configs.check_inference_ids,
    "ids of training": configs.check_train_ids,
    "properties of inference": configs.check_properties,
    "network in and out": configs.check_network,
}
logger = logging.getLogger(__name__)


def check_bundle(bundle_dir: str) -> None:
    """Check an unzipped bundle as the MONAI Model Zoo does before it takes one.

    The code that runs is that of this installation; start it inside the unzipped folder, with `.`, to run its own.

    Args:
        bundle_dir: the folder brain_mri_anomaly_segmentation of an unzipped package.
    """
    end_with_the_reason()
    bundle = Path(bundle_dir).resolve()
    if not bundle.is_dir():
        raise InputError("there is no such folder", path=bundle_dir)
    failed = []
    for name, check in CHECKS.items():
        try:
            check(bundle)
        except InputError as error:
            failed.append(name)
            logger.error("failed  %s: %s", name, error)
        else:
            logger.info("ok      %s", name)
    if failed:
        raise InputError(f"{len(failed)} of {len(CHECKS)} checks failed: {', '.join(failed)}", path=bundle_dir)
    logger.info("all %d checks passed", len(CHECKS))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for library in ("monai.bundle.scripts", "monai.bundle.workflows", "monai.apps.utils"):
        logging.getLogger(library).setLevel(logging.WARNING)  # they list what they were given
    fire.Fire(check_bundle)
