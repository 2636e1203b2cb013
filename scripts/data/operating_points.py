"""The thresholds that turn anomaly maps into lesion masks, by modality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.errors import InputError

__all__ = ["OperatingPoints"]

_MODALITIES = ("t1", "t2")


class OperatingPoints:
    """Know the threshold for each modality, and where it comes from.

    The file is JSON: `{modality: {preset: {"threshold": number, "source": text, …}}}`.

    Args:
        path: the file that was shipped or calibrated.
        threshold: one threshold for every scan, in place of the file's; at least 0.
        preset: which of a modality's entries.

    Raises:
        InputError: if `threshold` is no number at or above 0, or the file is missing or holds something else.
    """

    def __init__(self, path: str | Path, *, threshold: float | None = None, preset: str = "default") -> None:
        self.path = Path(path)
        self.preset = preset
        if threshold is None:
            self._points = self._read()
        elif isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not threshold >= 0:
            raise InputError(f"`threshold` must be a number at or above 0, got {threshold!r}")
        else:
            self._points = {name: {"threshold": threshold, "source": "given by the user"} for name in _MODALITIES}

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            points = {name: presets[self.preset] for name, presets in content.items() if self.preset in presets}
            valid = all(float(p["threshold"]) >= 0 and isinstance(p["source"], str) for p in points.values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"the thresholds cannot be read ({type(error).__name__}: {error})"
            raise InputError(what, path=self.path, fix="Give --threshold.") from error
        if not valid:
            raise InputError("a threshold is below 0 or has no source", path=self.path, fix="Give --threshold.")
        return points

    @property
    def values(self) -> dict[str, float]:
        """The threshold of each modality that has one."""
        return {name: float(point["threshold"]) for name, point in self._points.items()}

    def source(self, modality: str) -> str:
        """Return in words where a modality's threshold comes from.

        Raises:
            InputError: if the modality has no threshold.
        """
        if modality not in self._points:
            raise InputError(
                f"there is no threshold for {modality} with the preset {self.preset!r}",
                path=self.path,
                fix="Give --threshold.",
            )
        return str(self._points[modality]["source"])
