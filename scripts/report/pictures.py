"""What the pictures of the pages share: short texts on a slice, and figures as PNG."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scripts.report.display import BACKGROUND, TEXT

__all__ = ["png_bytes", "write_on"]


def write_on(axis: Axes, x: float, y: float, text: str, side: str = "left", *, colour: str = TEXT) -> None:
    """Write a short text on a slice.

    Args:
        axis: where the slice is drawn.
        x: 0 (left) to 1.
        y: 0 (bottom) to 1.
        text: what to write.
        side: of the text that lies at x, left or right.
        colour: of the text.
    """
    axis.text(x, y, text, transform=axis.transAxes, color=colour, fontsize=6.5, ha=side, va="center")


def png_bytes(figure: Figure, dpi: int) -> bytes:
    """Return a figure as a PNG file; without the program's name and version the same picture is the same file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor=BACKGROUND, metadata={"Software": None})
    return stream.getvalue()
