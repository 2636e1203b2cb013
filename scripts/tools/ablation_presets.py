"""The points that an ablation starts from: what the bundle ships, or a file of settings such as the paper's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts.errors import InputError
from scripts.inferers import MapOptions, ReconstructionSampler
from scripts.paths import bundle_root
from scripts.tools.ablation_settings import SETTING_KEYS, read_settings

__all__ = ["SHIPPED", "preset_names", "preset_settings"]

SHIPPED = "shipped"
_PREFIX = "preset_"
_OWN = {"map": "anomaly_map", "network_config": None}  # the settings that only an ablation has


def _folder() -> Path:
    return Path(bundle_root()) / "configs" / "ablations"


def preset_names() -> list[str]:
    """Return the presets: `shipped`, and one for each `preset_NAME.yaml` in configs/ablations."""
    return [SHIPPED, *sorted(path.stem.removeprefix(_PREFIX) for path in _folder().glob(f"{_PREFIX}*.yaml"))]


def preset_settings(name: str, parser: ConfigParser) -> dict[str, Any]:
    """Return a value for every setting.

    `shipped` is what inference.yaml says, and for what it does not say the default of the code. Every other preset is a
    file of values over that.

    Args:
        name: one of `preset_names()`.
        parser: the bundle's config.

    Raises:
        InputError: if there is no such preset, or its file holds something that is no setting.
    """
    if name not in preset_names():
        raise InputError(f"`preset` must be one of {', '.join(preset_names())}, got {name!r}")
    config = parser.get()
    in_config = [key for key in SETTING_KEYS if key not in _OWN and key in config]
    values = _defaults() | _OWN | {key: parser.get_parsed_content(key) for key in in_config}
    if name != SHIPPED:
        path = _folder() / f"{_PREFIX}{name}.yaml"
        values |= read_settings(ConfigParser.load_config_file(str(path)), where=path)
    return read_settings(values)


def _defaults() -> dict[str, Any]:
    """Return the defaults of the sampler and of the maps."""
    found: dict[str, Any] = {"checkpoint": None, "autocast_dtype": None}
    fields = [field for kind in (ReconstructionSampler, MapOptions) for field in dataclasses.fields(kind)]
    for field in fields:
        if field.name not in SETTING_KEYS:
            continue
        factory = field.default_factory
        found[field.name] = field.default if factory is dataclasses.MISSING else factory()
    return found
