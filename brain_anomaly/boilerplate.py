"""The methods of a cohort in words that a paper may copy, with what to cite, as BIDS Apps write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.report.tables import write_text
from scripts.report.words import CITATION, methods_text

__all__ = ["boilerplate", "write_boilerplate"]

_NAMES = {"t1": "T1-weighted", "t2": "T2-weighted"}


def boilerplate(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown: what was done with how many scans, once for each way in which it was done, and the reference.

    Args:
        rows: `result.json` of each scan, refused ones too.

    Examples:
        >>> print(boilerplate([{"modality": "t1", "status": "refused"}] * 2).splitlines()[4])
        2 T1-weighted scans were refused.
    """
    ways: Counter[str] = Counter()
    for row in rows:
        if row.get("status") == "ok":
            ways[" ".join(methods_text(row))] += 1
    counts = Counter((str(row.get("modality")), str(row.get("status"))) for row in rows)
    parts = [
        f"{number} {_NAMES.get(modality, modality)} {'scan was' if number == 1 else 'scans were'} "
        f"{'analysed' if status == 'ok' else status}"
        for (modality, status), number in sorted(counts.items())
    ]
    compared = [row["change"] for row in rows if row.get("change")]
    lines = ["# Methods", "", "This text may be copied into a paper as it is.", "", f"{'; '.join(parts)}.", ""]
    for text, number in ways.most_common():
        lines += [f"*{number} of {len(rows)}:* {text}", ""]
    if compared:
        done = sum(change.get("status") == "ok" for change in compared)
        lines += [
            f"{done} of {len(compared)} follow-up scans were compared with the first session of their subject: both "
            "were aligned by a turn and a shift (mutual information), the anomaly maps were subtracted on the grid of "
            "the follow-up, and candidate regions were compared by volume and map.",
            "",
        ]
    return "\n".join([*lines, "## Reference", "", "```bibtex", CITATION.rstrip(), "```", ""])


def write_boilerplate(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `CITATION.md` and `CITATION.bib`.

    Args:
        folder: made if missing.
        rows: as for `boilerplate`.
    """
    write_text(folder / "CITATION.md", boilerplate(rows))
    write_text(folder / "CITATION.bib", CITATION)
