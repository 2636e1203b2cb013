"""Every option of every command and workflow, declared once: name, type, range, unit and meaning.

`fields` says what a kind of value is and how it is refused; `map_options`, `workflows` and the signatures of commands
declare; `command` reads a command line of ours, `bundle_run` checks one of `python -m monai.bundle run`. Nothing here
imports torch before it is needed.
"""

from __future__ import annotations

from scripts.options.bundle_run import check_bundle_run
from scripts.options.map_options import MapOptions, SamplingOptions
from scripts.options.values import as_literal, flag, literal, number, usable_device, usable_dtype

__all__ = [
    "MapOptions",
    "SamplingOptions",
    "as_literal",
    "check_bundle_run",
    "flag",
    "literal",
    "number",
    "usable_device",
    "usable_dtype",
]
