"""The settings that an ablation varies: their names, their types, and the points that it starts from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from monai.bundle import ConfigParser
from monai.networks.schedulers import Scheduler
from pydantic import Field

from scripts.errors import InputError
from scripts.inferers import Polarity, ReconstructionSampler
from scripts.options import MapOptions, SamplingOptions
from scripts.options.fields import AutocastDtype, Names, Number, PathText, Whole, none_or, option, unknown_option
from scripts.paths import bundle_root

__all__ = [
    "MAP_KEYS",
    "RECONSTRUCTION_KEYS",
    "SETTING_KEYS",
    "SHIPPED",
    "Setting",
    "bundle_parser",
    "preset_names",
    "preset_settings",
    "read_settings",
]

_MAPS = Literal["anomaly_map", "single", "single_l1", "mean", "mean_l1", "mean_standardized", "intensity"]
FIT_KEYS = ("population_smoothing", "fitted_components", "component_smoothing")
POPULATION_KEYS = ("population_datasets", "population_limit", "population_samples", *FIT_KEYS)  # of one measured here
_NOT_OPTIONS = ("map", *POPULATION_KEYS)  # of `MapOptions`
_AFTER_MAP = ("min_volume_ml",)  # what a preset says of inference beyond the map
_ONE_OR_SEVERAL = ("timestep", "ssim_sigma")
_Count = Annotated[Whole, Field(ge=1, le=1_000_000)]
_Sigma = Annotated[Number, Field(ge=0, le=20)]
_Components = Annotated[Whole, Field(ge=0, le=1000)]


class ReconstructionSettings(SamplingOptions):
    """What an ablation varies of the reconstructions, beside their options."""

    checkpoint: none_or(PathText) = option("weights; none takes the bundle's for the modality", default=None)  # type: ignore[valid-type]
    network_config: none_or(PathText) = option("an overlay of inference.yaml that describes the network", default=None)  # type: ignore[valid-type]
    autocast_dtype: AutocastDtype = option("of the network", default=None)


class MapSettings(MapOptions):
    """What an ablation varies of the maps, beside their options."""

    map: _MAPS = option("anomaly_map or a baseline", default="anomaly_map")
    population_datasets: none_or(Names) = option(  # type: ignore[valid-type]
        "sets whose training split a population is measured on; none takes the file beside the weights", default=None
    )
    population_limit: none_or(_Count) = option("the first so many subjects of each set", default=None)  # type: ignore[valid-type]
    population_samples: _Count = option("reconstructions of each of these subjects", default=4)
    population_smoothing: _Sigma = option("of the neighbourhood that is pooled", unit="voxels", default=2.0)
    fitted_components: _Components = option("principal components to keep", default=32)
    component_smoothing: _Sigma = option("before the components are found", unit="voxels", default=1.0)


class _Settings(ReconstructionSettings, MapSettings):
    """All of it."""


_RUNNING, _POLARITY = {"memory_budget_mb", "progress"}, {"polarity"}  # nothing to compare
RECONSTRUCTION_KEYS = tuple(name for name in ReconstructionSettings.model_fields if name not in _RUNNING)
MAP_KEYS = tuple(name for name in MapSettings.model_fields if name not in _POLARITY)
SETTING_KEYS = (*RECONSTRUCTION_KEYS, *MAP_KEYS)


@dataclass(frozen=True)
class Setting:
    """One row of an ablation.

    Attributes:
        name: what differs from the base, in words.
        values: a value for each of `SETTING_KEYS`.
    """

    name: str
    values: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """The values as text: equal for two settings that are the same."""
        return json.dumps(dict(self.values), sort_keys=True)

    @property
    def timesteps(self) -> list[int]:
        """The diffusion steps that the samples take turns in."""
        steps = self.values["timestep"]
        return list(steps) if isinstance(steps, list) else [steps]

    def map_options(self, *, polarity: Polarity) -> MapOptions:
        """Return the options of the maps."""
        return MapOptions(**{key: self.values[key] for key in MAP_KEYS if key not in _NOT_OPTIONS}, polarity=polarity)

    def sampler(self, scheduler: Scheduler, **options: Any) -> ReconstructionSampler:
        """Return the sampler of the reconstructions; `options` are more fields of it.

        Raises:
            InputError: if a value is out of the scheduler's range.
        """
        known = {field.name for field in dataclasses.fields(ReconstructionSampler)}
        fields = {key: self.values[key] for key in RECONSTRUCTION_KEYS if key in known}
        try:
            return ReconstructionSampler(scheduler=scheduler, **(fields | options))
        except InputError as error:
            raise InputError(f"setting {self.name!r}: {error}") from None


def bundle_parser(*overlays: str, **values: Any) -> ConfigParser:
    """Read the bundle's inference and evaluation configs as one.

    Args:
        *overlays: more config files, each over those before it.
        **values: keys to set after all.

    Raises:
        InputError: if an overlay does not exist.
    """
    for path in overlays:
        if not Path(path).is_file():
            raise InputError("there is no such config file", path=path, fix="Paths start at the current folder.")
    parser = ConfigParser()
    parser.read_config([str(_folder() / "inference.yaml"), str(_folder() / "evaluate.yaml"), *overlays])
    parser.update({"progress": False, **values})
    return parser


def read_settings(given: Mapping[str, Any], *, where: str | Path | None = None) -> dict[str, Any]:
    """Check names, types and ranges of some settings, and return them in their own types.

    Args:
        given: values by name.
        where: the file that they come from, for the message.

    Raises:
        InputError: if a name is not one of `SETTING_KEYS`, or a value has another type or is out of range.
    """
    for name in given:
        if name not in SETTING_KEYS:
            raise unknown_option(str(name), SETTING_KEYS, where=where, mark="")
    found = _Settings.check(given, where=where)
    found |= {name: str(value) for name, value in found.items() if isinstance(value, StrEnum)}  # as JSON holds it
    alone = [name for name in _ONE_OR_SEVERAL if isinstance(found.get(name), list) and len(found[name]) == 1]
    return found | {name: found[name][0] for name in alone}


SHIPPED = "shipped"
_PREFIX = "preset_"


def _folder() -> Path:
    return Path(bundle_root()) / "configs"


def preset_names() -> list[str]:
    """Return the presets: `shipped`, and one for each `preset_NAME.yaml` in bundle/configs."""
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
    fields = _Settings.model_fields
    values = {key: fields[key].get_default(call_default_factory=True) for key in SETTING_KEYS}
    values |= {key: parser.get_parsed_content(key) for key in ("checkpoint", "autocast_dtype")}
    for block in ("sampling", "map"):
        values |= {key: value for key, value in dict(parser.get_parsed_content(block)).items() if key in SETTING_KEYS}
    if name != SHIPPED:
        path = _folder() / f"{_PREFIX}{name}.yaml"
        given = ConfigParser.load_config_file(str(path))
        values |= read_settings({key: value for key, value in given.items() if key not in _AFTER_MAP}, where=path)
    return read_settings(values)
