"""How a scan or a check ended, as a word, a sign and a tone: never told by a colour alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Status", "healthy_rank", "scan_status"]


@dataclass(frozen=True)
class Status:
    """What a page shows.

    Attributes:
        text: the word.
        symbol: a sign that differs between good, doubtful and bad; none where nothing is judged.
        tone: class name in `page.css`: `plain`, `good`, `warn` or `bad`.
    """

    text: str
    symbol: str
    tone: str


_SIGNS = {"plain": "", "good": "✓", "warn": "!", "bad": "✕"}
_TONES = {
    "analysed": "plain", "ok": "good", "passed": "good", "warning": "warn", "forced": "warn", "refused": "bad",
    "failed": "bad",
}  # fmt: skip


def scan_status(result: Mapping[str, Any], *, done: str = "analysed") -> Status:
    """Return what to show for `result["status"]`; a scan that was forced through the checks has a word of its own.

    A scan with a map is "analysed", without a sign or a colour: a tick beside a patient's name reads as "healthy".

    Args:
        result: the content of `result.json`, or anything with a `status`.
        done: the word for the status `ok`.
    """
    text = str(result.get("status") or "unknown")
    if text == "ok" and (result.get("quality") or {}).get("forced"):
        text = "forced"
    text = done if text == "ok" else text
    tone = _TONES.get(text, "warn")
    return Status(text, _SIGNS[tone], tone)


def healthy_rank(result: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the rank of a scan's score among healthy scans, and what its p-value is worth; None where not known.

    Args:
        result: `healthy_rank` (1 for the highest score), `num_healthy_scans`, `p_value` and `lowest_p_value` of
            `result.json`.

    Returns:
        Such as "rank 1 of 16" and "15 healthy scans and this one; p = 0.06, the lowest possible".
    """
    rank, count, p_value = (result.get(key) for key in ("healthy_rank", "num_healthy_scans", "p_value"))
    if rank is None or not count or p_value is None:
        return None
    lowest = float(result.get("lowest_p_value") or 1 / (count + 1))
    worth = "the lowest possible" if p_value <= lowest * (1 + 1e-9) else f"the lowest possible is {lowest:.2g}"
    return f"rank {rank} of {count + 1}", f"{count} healthy scans and this one; p = {p_value:.2g}, {worth}"
