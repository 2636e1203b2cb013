"""Which scans of a BIDS data set are wanted: labels of sessions, and filter files as fMRIPrep has them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.options.choices import Modality

__all__ = ["BidsFilter", "read_bids_filter"]

logger = logging.getLogger(__name__)
_SECTIONS = {"t1w": Modality.T1, "t2w": Modality.T2}
# names of PyBIDS, which filter files use, and what stands in file names
_ENTITIES = {
    "subject": "sub", "session": "ses", "acquisition": "acq", "ceagent": "ce", "tracer": "trc", "stain": "stain",
    "reconstruction": "rec", "direction": "dir", "run": "run", "modality": "mod", "echo": "echo", "flip": "flip",
    "inversion": "inv", "mtransfer": "mt", "part": "part", "processing": "proc", "proc": "proc", "space": "space",
    "split": "split", "recording": "recording", "chunk": "chunk", "resolution": "res", "res": "res", "density": "den",
    "den": "den", "label": "label", "description": "desc", "desc": "desc", "sample": "sample", "task": "task",
}  # fmt: skip
_SUFFIX, _DATATYPE, _EXTENSION = "suffix", "datatype", "extension"
_ANY, _NONE = ("*", "Query.ANY"), ("Query.NONE",)
_SHAPE = 'Give JSON such as {"t1w": {"session": "01", "acquisition": null}}'


@dataclass(frozen=True)
class BidsFilter:
    """What scans must have in their names.

    Attributes:
        sections: for each modality, an entity's name or `suffix`, and its value: a text, a list of texts, None (the
            entity must be absent) or `*` (it must be there).
        sessions: labels, without `ses-`; none allows all.
    """

    sections: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    sessions: tuple[str, ...] = ()

    def keeps(self, stem: str, suffix: str, modality: Modality, *, any_session: bool = False) -> bool:
        """Return whether a scan is wanted.

        Args:
            stem: its name without suffix, such as `sub-01_ses-1_run-2`.
            suffix: such as `T1w`.
            modality: of the scan.
            any_session: leave the session out of account, as for the T1 that a T2 takes its brain mask from.
        """
        entities = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)
        if not any_session and self.sessions and entities.get("ses") not in self.sessions:
            return False
        return all(
            _fits(suffix if name == _SUFFIX else entities.get(_ENTITIES[name]), wanted)
            for name, wanted in self.sections.get(modality, {}).items()
            if not (any_session and name == "session")
        )


def _fits(value: str | None, wanted: Any) -> bool:
    if wanted is None or wanted in _NONE:
        return value is None
    if wanted in _ANY:
        return value is not None
    if isinstance(wanted, list):
        return any(_fits(value, one) for one in wanted)
    text = str(wanted)
    if value is None or value == text:
        return value == text
    return value.isdigit() and text.isdigit() and int(value) == int(text)  # run 1 is run-01


def read_bids_filter(path: str | Path | None, sessions: Sequence[str] | str | None = None) -> BidsFilter | None:
    """Return what a filter file and labels of sessions ask for; None where both are absent.

    Args:
        path: JSON with a section for `t1w`, `t2w` or both; sections for other kinds of scans are ignored.
        sessions: labels, with or without `ses-`.

    Raises:
        InputError: if the file is no such JSON, or names an entity that BIDS does not have.
    """
    labels = [sessions] if isinstance(sessions, str) else list(sessions or ())
    if path is None:
        return BidsFilter(sessions=_labels(labels)) if labels else None
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the BIDS filter cannot be read ({error})", path=path, fix=_SHAPE) from error
    if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
        raise InputError("the BIDS filter must hold a section for each kind of scan", path=path, fix=_SHAPE)
    others = sorted(set(content) - set(_SECTIONS))
    if others:
        logger.info("%s: sections for other scans than t1w and t2w are ignored: %s", path, ", ".join(others))
    sections = {_SECTIONS[name]: _checked(content[name], path) for name in _SECTIONS if name in content}
    return BidsFilter(sections, _labels(labels))


def _labels(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(label).removeprefix("ses-") for label in labels)


def _checked(section: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """Return the parts of a section that choose among T1w and T2w scans."""
    known = {*_ENTITIES, _SUFFIX, _DATATYPE, _EXTENSION}
    unknown = sorted(set(section) - known)
    if unknown:
        fix = f"Entities have the names of PyBIDS: {', '.join(sorted(known))}"
        raise InputError(f"the BIDS filter names no entity of BIDS: {', '.join(unknown)}", path=path, fix=fix)
    if section.get(_DATATYPE) not in (None, "anat"):
        raise InputError(f"`datatype` must be anat, got {section[_DATATYPE]!r}", path=path, fix="Leave it out")
    return {name: value for name, value in section.items() if name not in (_DATATYPE, _EXTENSION)}
