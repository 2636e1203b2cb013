"""Read a grid of settings from YAML: a base, axes that vary one setting each, products, and rows by name."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from scripts.errors import InputError
from tools.ablation.settings import SHIPPED, Setting, preset_settings, read_settings

__all__ = ["BASE", "Axis", "Grid", "all_numbers", "read_grid", "value_text"]

BASE = "base"
_PARTS = ("base", "axes", "product", "rows")


@dataclass(frozen=True)
class Axis:
    """What one figure shows.

    Attributes:
        name: of the figure's file.
        key: the setting along x.
        lines: (value of `key`, name of the row) of each point, by the name of the line.
    """

    name: str
    key: str
    lines: Mapping[str, Sequence[tuple[Any, str]]]


@dataclass
class Grid:
    """The settings of an ablation, the base first, and the figures that they make.

    Attributes:
        settings: the rows.
        axes: the figures.
    """

    settings: list[Setting]
    axes: list[Axis] = field(default_factory=list)

    @property
    def base(self) -> Setting:
        """The setting that all others are compared with."""
        return self.settings[0]

    def add(self, changes: Mapping[str, Any]) -> str:
        """Add the base with some changes, unless it is there already, and return the row's name."""
        values = {**self.base.values, **changes}
        parts = (f"{key}={value_text(value)}" for key, value in changes.items() if self.base.values[key] != value)
        setting = Setting(self._free(", ".join(parts) or self.base.name), values)
        for known in self.settings:
            if known.identity == setting.identity:
                return known.name
        self.settings.append(setting)
        return setting.name

    def _free(self, name: str) -> str:
        """Number a name that is taken, as two weights files in different folders may have one."""
        taken = {setting.name for setting in self.settings}
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        return name if name not in taken else next(other for other in numbered if other not in taken)

    def add_axis(self, name: str, key: str, lines: Mapping[str, Sequence[tuple[Any, str]]]) -> None:
        """Add a figure, under a name with a number where another one has the name already."""
        same = sum(axis.name == name or axis.name.startswith(f"{name}_again") for axis in self.axes)
        self.axes.append(Axis(name=f"{name}_again{same}" if same else name, key=key, lines=lines))


def value_text(value: Any) -> str:
    """Return a value as it is written in names: `300+500` for a list, `0.001`, `true`, `none`.

    Of an absolute path, what is inside the current folder, or the last part.
    """
    if isinstance(value, list | tuple):
        return "+".join(value_text(part) for part in value)
    if isinstance(value, Mapping):
        return " ".join(f"{key} {value_text(part)}" for key, part in value.items()) or "default"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, str) and Path(value).is_absolute():
        path = Path(value)
        return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_grid(path: str | Path, parser: ConfigParser, *, checkpoint: str | None = None) -> Grid:
    """Read a grid.

    Its parts, each of which may be missing:

    - `base`: a preset's name, or settings with a `preset` (default `shipped`).
    - `axes`: lists of values by setting; each value makes a row that differs from the base in it alone.
    - `product`: one or several mappings as `axes`, of which every combination makes a row.
    - `rows`: settings by the name of the row, over the base, or over a `preset` of their own.

    Args:
        path: the YAML file.
        parser: the bundle's config, for the preset `shipped`.
        checkpoint: weights of the base, in place of the preset's.

    Raises:
        InputError: if the file is missing or no grid, or a setting is unknown or of another type.
    """
    path = Path(path)
    content = _read_yaml(path)
    unknown = sorted(set(content) - set(_PARTS))
    if unknown:
        raise InputError(f"a grid must have some of {', '.join(_PARTS)}; got {', '.join(unknown)}", path=path)
    values = _over_preset(content.get("base") or SHIPPED, None, parser, path)
    if checkpoint is not None:
        # the statistics of healthy subjects that are shipped belong to the shipped weights
        base = content.get("base")
        asked = isinstance(base, Mapping) and "population" in base
        values |= {"checkpoint": str(checkpoint), "population": values["population"] and asked}
    grid = Grid([Setting(BASE, values)])
    for key, listed in _mapping(content.get("axes"), "axes", path).items():
        _add_axis(grid, key, listed, path)
    products = content.get("product") or []
    for product in products if isinstance(products, list) else [products]:
        _add_product(grid, _mapping(product, "product", path), path)
    for name, given in _mapping(content.get("rows"), "rows", path).items():
        if name in {setting.name for setting in grid.settings}:
            raise InputError(f"`rows` must have names of their own, got {name!r}, which another row has", path=path)
        grid.settings.append(Setting(str(name), _over_preset(given, grid.base.values, parser, path)))
    return grid


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        fix = "Give a YAML file, such as those in tools/ablation/grids."
        raise InputError("there is no such grid", path=path, fix=fix)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"it cannot be read as YAML ({' '.join(str(error).split())})", path=path) from None
    return _mapping(content, "the grid", path)


def _mapping(value: Any, name: str, path: Path) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"{name} must be a mapping, got {type(value).__name__}", path=path)
    return dict(value or {})


def _over_preset(given: Any, start: Mapping[str, Any] | None, parser: ConfigParser, path: Path) -> dict[str, Any]:
    """Return complete settings: those given, over a preset or, without one, over `start`."""
    changes = {"preset": given} if isinstance(given, str) else _mapping(given, "settings", path)
    preset = changes.pop("preset", None if start is not None else SHIPPED)
    values = dict(start or {}) if preset is None else preset_settings(preset, parser)
    if preset is not None and start is not None:
        values["checkpoint"] = start["checkpoint"]  # a preset is about everything but the weights
    return values | read_settings(changes, where=path)


def _values(key: str, listed: Any, path: Path) -> list[Any]:
    if not isinstance(listed, list) or not listed:
        raise InputError(f"`{key}` must have a list of values, got {listed!r}", path=path)
    return [read_settings({key: value}, where=path)[key] for value in listed]


def _add_axis(grid: Grid, key: str, listed: Any, path: Path) -> None:
    values = _values(key, listed, path)
    own = grid.base.values[key]
    if own not in values:
        values.insert(0, own)
    points = [(value, grid.add({key: value})) for value in values]
    grid.add_axis(key, key, {"": points})


def _add_product(grid: Grid, product: Mapping[str, Any], path: Path) -> None:
    lists = {key: _values(key, listed, path) for key, listed in product.items()}
    if not lists:
        raise InputError("a product must have a list of values for each of its settings, got none", path=path)
    varied = [key for key, values in lists.items() if len(values) > 1] or list(lists)[-1:]
    along = max(varied, key=lambda key: (all_numbers(lists[key]), len(lists[key])))
    lines: dict[str, list[tuple[Any, str]]] = {}
    for combination in itertools.product(*lists.values()):
        changes = dict(zip(lists, combination, strict=True))
        label = ", ".join(f"{key} {value_text(changes[key])}" for key in varied if key != along)
        lines.setdefault(label, []).append((changes[along], grid.add(changes)))
    changed = {key: values[0] for key, values in lists.items() if key not in varied}
    fixed = [f"{key}-{value_text(value)}" for key, value in changed.items() if value != grid.base.values[key]]
    name = "_".join([along, *(f"by_{key}" for key in varied if key != along), *fixed])
    grid.add_axis(name, along, lines)


def all_numbers(values: Sequence[Any]) -> bool:
    """Return whether all values are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
