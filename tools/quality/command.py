"""Show what quality control says of lesions and of wrong contrasts: `python -m tools.quality --help`."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from pydantic import Field

from scripts.options.command import run_command
from scripts.options.fields import Paths, PathText

__all__ = ["main", "prove"]

Count = Annotated[int, Field(ge=0, le=100_000)]


def prove(
    sets: Paths,
    *,
    shapes: PathText,
    heads: Paths | None = None,
    output_dir: PathText = "runs/quality",
    t1_lesions: Count = 60,
    t2_lesions: Count = 60,
    wrong: Count = 8,
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0,
) -> None:
    """Check healthy scans, the same with lesions of 20 to 250 ml set in, and the same made wrong; write the tables.

    Writes quality_control.json (each scan) and quality_control.md (the tables of the documentation). Stripped scans on
    the template grid are checked as they are; heads go through brain extraction and alignment, before and after a
    lesion is set in.

    Args:
        sets: folders such as DATA_DIR/Train/NAME, with t1 or t2 and mask on the template grid.
        shapes: 4D NIfTI of lesion shapes on the template grid.
        heads: NIfTI files of healthy heads, T1w or T2w by name.
        output_dir: folder of the two files.
        t1_lesions: how many lesions to set into stripped T1, spread over the scans.
        t2_lesions: likewise for T2.
        wrong: how many scans of each modality are made wrong in every way.
        seed: of all that is random.

    Raises:
        InputError: if there are no scans.
    """
    from scripts.data.folders import check_writable
    from tools.quality.run import prove_quality_control

    check_writable(output_dir)
    logging.getLogger("scripts.quality.control").setLevel(logging.ERROR)  # its warnings are what is counted here
    numbers = {"t2": t2_lesions, "t1": t1_lesions}
    options: dict[str, Any] = {"shapes": shapes, "folder": output_dir, "numbers": numbers, "wrong": wrong, "seed": seed}
    prove_quality_control(_listed(sets), heads=_listed(heads or []), **options)


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def main() -> None:
    """Run the command line."""
    run_command(prove)
