"""The tables of the proof."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["markdown_report"]

_SHOWN = (
    "template_similarity",
    "fluid_contrast",
    "grey_white_contrast",
    "template_overlap",
    "noise_ratio",
    "brightness_span",
)


def markdown_report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of what was checked: a line for each set and kind, with the numbers' smallest and largest."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        group = row["group"] if row["wanted"] else "made wrong"
        groups[group, row["modality"], row["what"]].append(row)
    head = ["scans", "modality", "what", "n", "refused", *_SHOWN]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (group, modality, what), members in groups.items():
        refused = sum(row["refused"] for row in members)
        cells = [group, modality, what, str(len(members)), str(refused), *(_span(members, name) for name in _SHOWN)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _span(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    values = []
    for row in rows:
        full = f"{row['modality']}_{name}" if name.endswith("contrast") else name
        value = row["numbers"].get(full)
        values += [] if value is None else [value]
    return f"{min(values):.2f} to {max(values):.2f}" if values else ""
