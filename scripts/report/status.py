"""How a scan or a check ended, as a word, a sign and a tone: never told by a colour alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Status", "scan_status"]


@dataclass(frozen=True)
class Status:
    """What a page shows.

    Attributes:
        text: the word.
        symbol: a sign that differs between good, doubtful and bad.
        tone: class name in `page.css`: `good`, `warn` or `bad`.
    """

    text: str
    symbol: str
    tone: str


_SIGNS = {"good": "✓", "warn": "!", "bad": "✕"}
_TONES = {"ok": "good", "passed": "good", "warning": "warn", "forced": "warn", "refused": "bad", "failed": "bad"}


def scan_status(result: Mapping[str, Any]) -> Status:
    """Return what to show for `result["status"]`; a scan that was forced through the checks is told apart.

    Args:
        result: the content of `result.json`, or anything with a `status`.
    """
    text = str(result.get("status") or "unknown")
    if text == "ok" and (result.get("quality") or {}).get("forced"):
        text = "forced"
    tone = _TONES.get(text, "warn")
    return Status(text, _SIGNS[tone], tone)
