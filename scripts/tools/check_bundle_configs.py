"""What the Model Zoo asks of a bundle's metadata and configs, checked without a network."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from shutil import copyfile

import torch
from monai.bundle import ConfigParser, create_workflow, verify_metadata, verify_net_in_out

from scripts.errors import InputError, reason

__all__ = [
    "SCHEMA",
    "check_inference_ids",
    "check_metadata",
    "check_network",
    "check_properties",
    "check_train_ids",
    "check_version",
]

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
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "schema.json"
        copyfile(SCHEMA, schema)
        try:
            verify_metadata(str(_metadata(bundle)), filepath=str(schema))
        except ValueError as error:
            told = str(error).splitlines()[0]
            raise InputError(told, path=_metadata(bundle), fix=f"{SCHEMA.name} has the rules") from error


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
    reads `network_data_format`, which tells of the whole inference; so the other two, and the format, are given to it.
    """
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
    yaml, plain = (bundle / "configs" / f"{name}{suffix}" for suffix in (".yaml", ".json"))
    parser = ConfigParser()
    parser.read_config(str(plain))
    missing = [key for key in ids if key not in parser]
    if missing:
        raise InputError(f"no {', '.join(missing)}", path=plain)
    if ConfigParser.load_config_file(yaml) != ConfigParser.load_config_file(plain):
        raise InputError(f"its content is not that of {yaml.name}", path=plain, fix="Pack the bundle again")
