"""The settings that an ablation varies: their names, their types, and the points that it starts from."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.networks.schedulers import Scheduler

from scripts.errors import InputError
from scripts.inferers import MapOptions, Polarity, ReconstructionSampler
from scripts.options import flag
from scripts.paths import bundle_root

__all__ = [
    "MAP_KEYS",
    "MAP_NAMES",
    "RECONSTRUCTION_KEYS",
    "SETTING_KEYS",
    "SHIPPED",
    "Setting",
    "bundle_parser",
    "preset_names",
    "preset_settings",
    "read_settings",
]

MAP_NAMES = ("anomaly_map", "single", "single_l1", "mean", "mean_l1", "mean_standardized", "intensity")
FIT_KEYS = ("population_smoothing", "population_spread", "fitted_components", "component_smoothing")
POPULATION_KEYS = ("population_datasets", "population_limit", "population_samples", *FIT_KEYS)  # of one measured here
_NOT_OPTIONS = ("map", *POPULATION_KEYS)  # of `MapOptions`


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number")
    return value


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("a number")
    try:
        return float(value)  # YAML reads 1e-5, which has no point, as text
    except (TypeError, ValueError):
        raise TypeError("a number") from None


def _one_or_several(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_all(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return read(value)
        values = [read(part) for part in value]
        if not values:
            raise TypeError("one number or several")
        return values[0] if len(values) == 1 else values

    return read_all


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _names_or_none(value: Any) -> list[str] | None:
    if value is None:
        return None
    names = [value] if isinstance(value, str) else list(value)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError("names of data sets, or null")
    return names


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("a mapping")
    return dict(value)


_RECONSTRUCTION: dict[str, Callable[[Any], Any]] = {
    "checkpoint": _text_or_none,  # weights; null takes the bundle's for the modality
    "network_config": _text_or_none,  # an overlay of inference.yaml that describes the network
    "autocast_dtype": _text_or_none,
    "num_samples": _whole,
    "timestep": _one_or_several(_whole),  # several are a mixture
    "noise": _text,
    "shared_noise": flag,
    "noise_options": _options,
    "seed": _whole,
}
_MAP: dict[str, Callable[[Any], Any]] = {
    "map": _text,  # anomaly_map or a baseline
    "score": _text,
    "extent": _text,
    "window": _whole,
    "regularization": _number,
    "shrinkage": _text,
    "residual": _text,
    "min_max": flag,
    "population": flag,  # statistics of healthy subjects in the covariance
    "population_components": _whole_or_none,  # null takes all
    "cloud_covariance": _number,
    "population_datasets": _names_or_none,  # measured on their training split; null takes the file beside the weights
    "population_limit": _whole_or_none,  # the first so many subjects of each; null takes all
    "population_samples": _whole,  # reconstructions of each of these subjects
    "population_smoothing": _number,
    "population_spread": _text,
    "fitted_components": _whole,
    "component_smoothing": _number,
    "ssim_sigma": _one_or_several(_number),  # several are an ensemble: the mean of the maps
    "smoothing_sigma": _number,
    "median_size": _whole,
    "erosion": _whole,
}
_READERS = _RECONSTRUCTION | _MAP
RECONSTRUCTION_KEYS, MAP_KEYS, SETTING_KEYS = tuple(_RECONSTRUCTION), tuple(_MAP), tuple(_READERS)


@dataclass(frozen=True)
class Setting:
    """One row of an ablation.

    Attributes:
        name: what differs from the base, for people.
        values: a value for each of `SETTING_KEYS`.
    """

    name: str
    values: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """The values as text: equal for two settings that are the same."""
        return json.dumps(dict(self.values), sort_keys=True)

    def map_options(self, *, polarity: Polarity) -> MapOptions:
        """Return the options of the maps."""
        return MapOptions(**{key: self.values[key] for key in MAP_KEYS if key not in _NOT_OPTIONS}, polarity=polarity)

    def sampler(self, scheduler: Scheduler, **options: Any) -> ReconstructionSampler:
        """Return the sampler of the reconstructions; `options` are more fields of it."""
        known = {field.name for field in dataclasses.fields(ReconstructionSampler)}
        fields = {key: self.values[key] for key in RECONSTRUCTION_KEYS if key in known}
        return ReconstructionSampler(scheduler=scheduler, **(fields | options))

    def check(self, scheduler: Scheduler) -> None:
        """Raise `InputError` if a value is out of its range."""
        if self.values["map"] not in MAP_NAMES:
            named = f"`map` must be one of {list(MAP_NAMES)}, got {self.values['map']!r}"
            raise InputError(f"setting {self.name!r}: {named}")
        try:
            self.sampler(scheduler)
            self.map_options(polarity=Polarity.DARK)
        except ValueError as error:
            raise InputError(f"setting {self.name!r}: {error}") from None


def bundle_parser(*overlays: str, **values: Any) -> ConfigParser:
    """Read the bundle's inference and evaluation configs as one.

    Args:
        *overlays: more config files, each over those before it.
        **values: keys to set after all.

    Raises:
        InputError: if an overlay does not exist.
    """
    folder = Path(bundle_root()) / "configs"
    for path in overlays:
        if not Path(path).is_file():
            raise InputError("there is no such config file", path=path, fix="Paths start at the current folder.")
    parser = ConfigParser()
    parser.read_config([str(folder / "inference.yaml"), str(folder / "evaluate.yaml"), *overlays])
    parser.update({"progress": False, **values})
    return parser


def read_settings(given: Mapping[str, Any], *, where: str | Path | None = None) -> dict[str, Any]:
    """Check names and types of some settings, and return them in their own types.

    Args:
        given: values by name.
        where: the file that they come from, for the message.

    Raises:
        InputError: if a name is not one of `SETTING_KEYS` or a value has another type.
    """
    found = {}
    for name, value in given.items():
        if name not in _READERS:
            near = difflib.get_close_matches(str(name), SETTING_KEYS, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            what = f"settings must be some of {', '.join(SETTING_KEYS)}; got {name!r}"
            raise InputError(what, path=where, fix=f"{hint}Correct the name.")
        try:
            found[name] = _READERS[name](value)
        except TypeError as error:
            raise InputError(f"`{name}` must be {error}, got {value!r}", path=where) from None
        except InputError as error:
            raise InputError(f"`{name}`: {error}", path=where) from None
    return found


SHIPPED = "shipped"
_PREFIX = "preset_"
_OWN = {  # the settings that only an ablation has
    "map": "anomaly_map",
    "network_config": None,
    "population_datasets": None,
    "population_limit": None,
    "population_samples": 4,
    "population_smoothing": 2.0,
    "population_spread": "std",
    "fitted_components": 32,
    "component_smoothing": 1.0,
}


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
