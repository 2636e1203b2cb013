"""Run the Model Zoo's checks on an unzipped bundle, as far as they need no network."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile

from scripts.errors import InputError, reason
from scripts.options.command import run_command
from scripts.options.fields import PathText
from tools.release.package_bundle import LARGE_BYTES, check_no_machine_paths

__all__ = [
    "CHECKS",
    "SCHEMA",
    "check_bundle",
    "check_docs",
    "check_files",
    "check_inference_ids",
    "check_metadata",
    "check_name",
    "check_network",
    "check_paths",
    "check_properties",
    "check_sizes",
    "check_train_ids",
    "check_version",
]

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
        raise InputError(f"missing: {', '.join(missing)}", path=bundle, fix="Make it with tools.release.package_bundle")
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
    """Check that the model card has the zoo's headings, and that the documents speak of TorchScript and TensorRT."""
    card = bundle / "docs" / "README.md"
    headings = re.findall(r"^#+ +(.+?) *$", card.read_text(encoding="utf-8"), flags=re.MULTILINE)
    missing = [name for name in HEADINGS if name not in headings]
    if missing:
        raise InputError(f"no heading {', '.join(missing)}", path=card)
    reported = "".join(path.read_text(encoding="utf-8") for path in sorted((bundle / "docs").glob("*.md")))
    for name in EXPORTS:
        if name not in reported:
            raise InputError(f"no word on {name}", path=bundle / "docs", fix="Say whether it works, and why not")


def _walk(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file() and CACHE not in path.parts)


def _large_files(bundle: Path) -> dict[str, str]:
    found = [bundle / name for name in LARGE_LISTS if (bundle / name).is_file()]
    if not found:
        return {}
    from monai.bundle import ConfigParser

    entries = ConfigParser.load_config_file(found[0])["large_files"]
    bad = [entry for entry in entries if not {"path", "url"} <= set(entry)]
    if bad:
        raise InputError(f"each entry needs path and url, got {bad[0]}", path=found[0])
    return {entry["path"]: entry.get("hash_val", "") for entry in entries}


SCHEMA = Path(__file__).with_name("bundle_metadata_schema.json")  # ours; MONAI's own has to be downloaded
TRAIN_IDS = (
    *("bundle_root", "device", "dataset_dir", "output_dir", "network_def", "val_interval"),
    *(f"train#{name}" for name in ("trainer", "trainer#max_epochs", "dataset", "dataset#data", "handlers")),
    *(f"validate#{name}" for name in ("evaluator", "dataset", "dataset#data", "handlers")),
    *(f"{part}#{name}" for part in ("train", "validate") for name in ("preprocessing", "postprocessing", "inferer")),
    *("train#key_metric", "validate#key_metric"),
)
INFERENCE_IDS = (
    *("bundle_root", "device", "dataset_dir", "output_dir"),
    *("network_def", "inferer", "preprocessing", "postprocessing"),
)


def check_metadata(bundle: Path) -> None:
    """Check `metadata.json` with MONAI's own command against the schema file that this project keeps."""
    from monai.bundle import verify_metadata

    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "schema.json"
        copyfile(SCHEMA, schema)
        try:
            verify_metadata(str(_metadata(bundle)), filepath=str(schema))
        except ValueError as error:
            reported = str(error).splitlines()[0]
            raise InputError(reported, path=_metadata(bundle), fix=f"{SCHEMA.name} has the rules") from error


def check_version(bundle: Path) -> None:
    """Check that the version has an entry in the changelog and is the newest there."""
    metadata = json.loads(_metadata(bundle).read_text(encoding="utf-8"))
    version, known = metadata["version"], list(metadata["changelog"])
    if version not in known:
        raise InputError(f"`changelog` has no entry for version {version}", path=_metadata(bundle))
    newest = max(known, key=lambda text: tuple(map(int, text.split("."))))
    if version != newest:
        raise InputError(f"`version` is {version}, but `changelog` goes on to {newest}", path=_metadata(bundle))


def check_inference_ids(bundle: Path) -> None:
    """Check that the inference config has the ids that the zoo names, in YAML and JSON alike."""
    _check_ids(bundle, "inference", INFERENCE_IDS)


def check_train_ids(bundle: Path) -> None:
    """Check that the training config has the ids that the zoo names, in YAML and JSON alike."""
    _check_ids(bundle, "train", TRAIN_IDS)


def check_properties(bundle: Path) -> None:
    """Check that the inference workflow can be made and has every property that MONAI asks for."""
    from monai.bundle import create_workflow

    config = bundle / "configs" / "inference.json"
    try:
        workflow = create_workflow(config_file=str(config), workflow_type="inference", logging_file=False)
        missing = workflow.check_properties()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the workflow cannot be made ({reason(error)})", path=config) from error
    if missing:
        raise InputError(f"the workflow lacks {', '.join(missing)}", path=config)


def check_network(bundle: Path) -> None:
    """Check that the network takes and gives what `denoiser_data_format` says, with MONAI's own command.

    The network takes a noised slice, its diffusion step and the clean slice. MONAI's command makes the first only, and
    reads `network_data_format`, which describes the whole inference; so the other two, and the format, are given to it.
    """
    import torch
    from monai.bundle import verify_net_in_out

    formats = json.loads(_metadata(bundle).read_text(encoding="utf-8"))["denoiser_data_format"]
    size = 96  # 8 n
    try:
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(_metadata(bundle)),
            config_file=str(bundle / "configs" / "inference.json"),
            device="cpu",
            n=size // 8,
            extra_forward_args={"timesteps": torch.tensor([500]), "context": torch.zeros(1, 1, size, size)},
            **{"_meta_#network_data_format": formats},
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the network does not fit denoiser_data_format ({error})", path=_metadata(bundle)) from error


def _metadata(bundle: Path) -> Path:
    return bundle / "configs" / "metadata.json"


def _check_ids(bundle: Path, name: str, ids: tuple[str, ...]) -> None:
    from monai.bundle import ConfigParser

    yaml, plain = (bundle / "configs" / f"{name}{suffix}" for suffix in (".yaml", ".json"))
    parser = ConfigParser()
    parser.read_config(str(plain))
    missing = [key for key in ids if key not in parser]
    if missing:
        raise InputError(f"no {', '.join(missing)}", path=plain)
    if ConfigParser.load_config_file(yaml) != ConfigParser.load_config_file(plain):
        raise InputError(f"its content is not that of {yaml.name}", path=plain, fix="Pack the bundle again")


CHECKS: Mapping[str, Callable[[Path], None]] = {
    "name of the folder": check_name,
    "files": check_files,
    "sizes": check_sizes,
    "no paths of this machine": check_paths,
    "documents": check_docs,
    "metadata": check_metadata,
    "version and changelog": check_version,
    "ids of inference": check_inference_ids,
    "ids of training": check_train_ids,
    "properties of inference": check_properties,
    "network in and out": check_network,
}
logger = logging.getLogger(__name__)


def check_bundle(bundle_dir: PathText) -> None:
    """Check an unzipped bundle as the MONAI Model Zoo does before it takes one.

    The `scripts` that run are the first on Python's path; inside the unzipped folder those are the package's own.

    Args:
        bundle_dir: the folder brain_mri_anomaly_segmentation of an unzipped package.
    """
    bundle = Path(bundle_dir).resolve()
    if not bundle.is_dir():
        raise InputError("there is no such folder", path=bundle_dir, fix="Give the folder of an unzipped package.")
    if find_spec("jsonschema") is None:
        raise InputError("the package jsonschema is not installed", fix="pip install -r requirements-dev.txt")
    failed = []
    for name, check in CHECKS.items():
        try:
            check(bundle)
        except InputError as error:
            failed.append(name)
            logger.error("failed  %s: %s", name, error)
        except (OSError, ValueError, LookupError, TypeError) as error:  # files that are missing, or of another form
            failed.append(name)
            logger.error("failed  %s: %s: %s", name, type(error).__name__, " ".join(str(error).split()))
        else:
            logger.info("ok      %s", name)
    if failed:
        raise InputError(f"{len(failed)} of {len(CHECKS)} checks failed: {', '.join(failed)}", path=bundle_dir)
    logger.info("all %d checks passed", len(CHECKS))


def main() -> None:
    """Run `check_bundle` from the command line."""
    for library in ("monai.bundle.scripts", "monai.bundle.workflows", "monai.apps.utils"):
        logging.getLogger(library).setLevel(logging.WARNING)  # they list what they were given
    run_command(check_bundle)


if __name__ == "__main__":
    main()
