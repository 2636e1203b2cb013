"""The thresholds that turn anomaly maps into lesion masks, what they hold for, and the one form of their files.

Every `thresholds.json` is `{key: {preset: entry}}`, with an entry as `OperatingPoints` describes it. The key is a
modality where calibrate.yaml wrote it, for the anomaly map of scans of that modality, and the name of a map where an
evaluation did.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import replacing
from scripts.options.choices import Modality
from scripts.report.tables import write_json

__all__ = [
    "OperatingPoints",
    "ThresholdsSource",
    "read_operating_points",
    "read_thresholds",
    "write_operating_points",
    "write_thresholds",
]

_MAP = "anomaly_map"  # what a modality's thresholds are for
logger = logging.getLogger(__name__)


class OperatingPoints:
    """Know the threshold for each modality, where it comes from and which healthy scans it was measured on.

    An entry of the file has `default` (the name of a point), `points`
    (`{name: {"threshold": number, "source": text, …}}`), and where it was calibrated on healthy scans `healthy_scores`,
    with the map's `settings` and the `weights` (SHA-256) that all of it holds for.

    Args:
        path: the file that was shipped, or written by calibrate.yaml.
        threshold: one threshold for every scan, in place of the file's; at least 0.
        preset: which of a modality's entries.
        point: which of an entry's points; None takes its default.
        settings: of the map in use. Where they differ from those of the entry, the source says so.

    Raises:
        InputError: if `threshold` is no number at or above 0, or the file is missing or holds something else, or a
            `point` is in none of the entries.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threshold: float | None = None,
        preset: str = "default",
        point: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.preset, self.point = Path(path), preset, point
        self.settings = dict(settings or {})
        if threshold is not None and (
            isinstance(threshold, bool) or not isinstance(threshold, int | float) or not threshold >= 0
        ):
            raise InputError(f"`threshold` must be a number at or above 0, got {threshold!r}")
        self.threshold = threshold
        self._entries = self._read() if threshold is None or self.path.is_file() else {}

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            entries = {name: presets[self.preset] for name, presets in content.items() if self.preset in presets}
            points = [point for entry in entries.values() for point in entry["points"].values()]
            valid = all(float(p["threshold"]) >= 0 and isinstance(p["source"], str) for p in points)
            valid = valid and all(entry["default"] in entry["points"] for entry in entries.values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"the thresholds cannot be read ({type(error).__name__}: {error})"
            raise InputError(what, path=self.path, fix="Give --threshold.") from error
        if not valid:
            what = "a threshold is below 0 or has no source, or the default is none of the points"
            raise InputError(what, path=self.path, fix="Give --threshold.")
        known = {name for entry in entries.values() for name in entry["points"]}
        if self.threshold is None and self.point is not None and self.point not in known:
            raise InputError(f"`operating_point` must be one of {sorted(known)}, got {self.point!r}", path=self.path)
        return entries

    def _chosen(self, entry: Mapping[str, Any]) -> dict[str, Any] | None:
        return entry["points"].get(self.point or entry["default"])

    @property
    def values(self) -> dict[str, float]:
        """The threshold of each modality that has one."""
        if self.threshold is not None:
            return dict.fromkeys(map(str, Modality), self.threshold)
        chosen = {name: self._chosen(entry) for name, entry in self._entries.items()}
        return {name: float(point["threshold"]) for name, point in chosen.items() if point is not None}

    def source(self, modality: str, *, weights_sha256: str | None = None) -> str:
        """Return in words where a modality's threshold comes from, and whether it was made for what is in use.

        Raises:
            InputError: if the modality has no threshold.
        """
        if self.threshold is not None:
            return "given by the user"
        point = self._chosen(self._entries[modality]) if modality in self._entries else None
        if point is None:
            which = f"the preset {self.preset!r}" + (f" at {self.point!r}" if self.point else "")
            what = f"there is no threshold for {modality} with {which}"
            raise InputError(what, path=self.path, fix="Give --threshold.")
        changed = self.changed(modality)
        notes = [f"; calibrated for other settings: {', '.join(changed)}"] if changed else []
        notes += ["; calibrated for other weights"] if self._other_weights(modality, weights_sha256) else []
        return str(point["source"]) + "".join(notes)

    def _other_weights(self, modality: str, used: str | None) -> bool:
        calibrated = self._entries.get(modality, {}).get("weights")
        return used is not None and calibrated is not None and used != calibrated

    def changed(self, modality: str) -> list[str]:
        """Return the settings in use that differ from those of the calibration, such as `num_samples 10, now 5`."""
        calibrated = self._entries.get(modality, {}).get("settings", {})
        used = json.loads(json.dumps(self.settings))  # tuples are lists in the file
        differ = [key for key in calibrated if key in used and used[key] != calibrated[key]]
        return [f"{key} {calibrated[key]}, now {used[key]}" for key in differ]

    def healthy_scores(self, modality: str, *, weights_sha256: str | None = None) -> list[float]:
        """Return the scores of the healthy scans that a scan can be compared with.

        Args:
            modality: t1 or t2.
            weights_sha256: of the network in use.

        Returns:
            One score a healthy scan; none where the entry has none, or was made with other settings or weights.
        """
        if self.changed(modality) or self._other_weights(modality, weights_sha256):
            return []
        return [float(score) for score in self._entries.get(modality, {}).get("healthy_scores", [])]

    def healthy_volumes(self, modality: str, *, weights_sha256: str | None = None) -> dict[str, float] | None:
        """Return what the threshold in use marks in held-out healthy scans (median, p95, max … in ml, and n).

        None where that was not measured, or with other settings or weights.

        Args:
            modality: t1 or t2.
            weights_sha256: of the network in use.
        """
        if self.threshold is not None or self.changed(modality) or self._other_weights(modality, weights_sha256):
            return None
        point = self._chosen(self._entries[modality]) if modality in self._entries else None
        return (point or {}).get("false_positive_ml")

    def healthy_groups(self, modality: str, *, weights_sha256: str | None = None) -> dict[str, list[float]]:
        """Return the same scores by data set, that is by scanner; one group without a name where the file has none.

        Args:
            modality: t1 or t2.
            weights_sha256: of the network in use.
        """
        scores = self.healthy_scores(modality, weights_sha256=weights_sha256)
        groups = self._entries.get(modality, {}).get("healthy_groups", {}) if scores else {}
        known = {str(name): [float(score) for score in group] for name, group in groups.items()}
        return known or ({"": scores} if scores else {})


def write_operating_points(path: str | Path, entry: Mapping[str, Any], *, modality: str, preset: str) -> None:
    """Put an entry into `{modality: {preset: entry}}`, under a temporary name first.

    Args:
        path: the JSON file; made if it is missing.
        entry: as `OperatingPoints` reads it.
        modality: t1 or t2.
        preset: name of the entry.

    Raises:
        InputError: if the file is there and is no such JSON; it is left alone.
    """
    path = Path(path)
    content = read_operating_points(path, modality=modality)
    content.setdefault(modality, {})[preset] = dict(entry)
    ordered = {name: dict(sorted(content[name].items())) for name in sorted(content)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_operating_points(path: str | Path, *, modality: str) -> dict[str, dict[str, Any]]:
    """Return the content of the file that `write_operating_points` adds to, empty if it does not exist.

    Args:
        path: the JSON file.
        modality: t1 or t2; whose entries are to be changed.

    Raises:
        InputError: if the file is there and is no such JSON.
    """
    path = Path(path)
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content[modality] = dict(content.get(modality, {}))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        what = f"the thresholds cannot be read ({type(error).__name__}: {error})"
        raise InputError(what, path=path, fix="Move the file away, or give another one.") from error
    return content


ThresholdsSource = str | PathLike[str] | Mapping[str, float | Mapping[str, float]] | None


def read_thresholds(
    source: ThresholdsSource, *, modality: str | None = None, preset: str = "default"
) -> dict[str, dict[str, float]]:
    """Read thresholds by map and by name.

    Args:
        source: path of a `thresholds.json`, of an evaluation or a calibration, or {map: {name: threshold}}; a bare
            number per map stands for its `best_dice`. None or an empty path gives no threshold.
        modality: whose entry of a calibration is taken, t1 or t2.
        preset: which of a key's entries.

    Returns:
        {map: {name: threshold}}.

    Raises:
        InputError: when the file is missing or no JSON, has no entry for this modality and preset, or a threshold is no
            finite number.

    Examples:
        >>> read_thresholds({"anomaly_map": 0.2})
        {'anomaly_map': {'best_dice': 0.2}}
    """
    if source is None or source == "":
        return {}
    path, content = (None, source) if isinstance(source, Mapping) else (source, _read_json(Path(source)))
    if not isinstance(content, Mapping):
        raise InputError(f"`thresholds` must be a mapping of map names, got {type(content).__name__}", path=path)
    named = {
        _MAP if key == modality else key: _by_name(entry, preset)
        for key, entry in content.items()
        if key not in list(Modality) or key == modality
    }
    if content and not any(named.values()):
        raise InputError(f"there is no threshold for {modality} with the preset {preset!r}", path=path)
    for map_name, entry in named.items():
        for point, value in entry.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(
                    f"threshold `{point}` of `{map_name}` must be a finite number, got {value!r}", path=path
                )
    return {name: {point: float(value) for point, value in entry.items()} for name, entry in named.items()}


def write_thresholds(path: str | Path, found: Mapping[str, Mapping[str, float]], *, source: str) -> None:
    """Write the thresholds that an evaluation found.

    Args:
        path: the JSON file; replaced as a whole.
        found: {map: {name: threshold}}.
        source: in words, where they come from.
    """
    content = {}
    for name, points in found.items():
        entry = {point: {"threshold": threshold, "source": source} for point, threshold in points.items()}
        content[name] = {"default": {"default": next(iter(points), None), "points": entry}}
    write_json(path, content)


def _by_name(entry: Any, preset: str) -> dict[str, Any]:
    """Return {name: threshold} of a key's presets as in a file, of such a mapping itself, or of a bare number."""
    if not isinstance(entry, Mapping):
        return {"best_dice": entry}
    if not any(isinstance(value, Mapping) for value in entry.values()):
        return dict(entry)
    points = dict(entry.get(preset) or {}).get("points") or {}
    return {name: dict(point).get("threshold") for name, point in points.items()}


def _read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "no such file of thresholds",
            path=path,
            fix="Evaluate a validation set first; its output folder then holds thresholds.json.",
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"not a JSON file: {error}", path=path, fix="Give a thresholds.json of an evaluation."
        ) from error
