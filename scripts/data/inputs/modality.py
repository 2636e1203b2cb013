"""Tell from its name whether a scan is T1- or T2-weighted."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scripts.data.inputs.files import list_names, scan_stem
from scripts.errors import InputError

__all__ = ["BIDS_SUFFIXES", "Hint", "Modality", "choose_modality", "modality_of", "read_words", "select_modality"]

logger = logging.getLogger(__name__)

_HOW = "Give --modality t1 or --modality t2"  # the fix of most problems here


class Modality(StrEnum):
    """The contrasts that there are weights for."""

    T1 = "t1"
    T2 = "t2"

    @classmethod
    def of(cls, value: object) -> Modality:
        """Return the member of that value.

        Raises:
            InputError: for anything but `t1` and `t2`.
        """
        if value not in list(cls):
            raise InputError(f"`modality` must be one of {', '.join(cls)}, got {value!r}")
        return cls(str(value))


BIDS_SUFFIXES = {"T1w": Modality.T1, "T2w": Modality.T2, "inplaneT1": Modality.T1, "inplaneT2": Modality.T2}

_SUFFIXES = {suffix.lower(): modality for suffix, modality in BIDS_SUFFIXES.items()}
_WORDS = dict.fromkeys(
    ("t1", "t1w", "t1n", "mprage", "memprage", "rage", "mpr", "spgr", "fspgr", "bravo", "tfl"), Modality.T1
) | dict.fromkeys(("t2", "t2w", "t2n"), Modality.T2)
_CONTRAST_AGENT = {"ce", "gd", "gad", "gadolinium", "t1ce", "t1c", "t1gd", "t1post"}
_T2_OTHER = {"flair", "t2flair", "t2f", "t2star", "t2starw", "t2s", "swi", "swan", "pdt2"}
_OTHER = _CONTRAST_AGENT | _T2_OTHER | {"dwi", "dti", "adc", "bold", "asl", "tof", "mra", "t1map", "t2map", "t1rho"}
_WEAK = {"pd", "pdw", "ct"}  # also initials of people and groups, so only where nothing else is said
_PARTS = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+")  # inplaneT2 -> inplane, T2


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What a name says: a modality, `decisive` where the BIDS suffix says it, or another contrast."""

    modality: Modality | None = None
    decisive: bool = False
    other: str | None = None


def modality_of(path: str | Path) -> Modality | None:
    """Return the modality that a file's name tells, else the one that the nearest folder named so does.

    A BIDS suffix (`_T1w`, `_T2w`, `_inplaneT1`, `_inplaneT2`) decides. Otherwise the words of the name count, then a
    parent folder that is called `t1`, `t1w`, `t2` or `t2w`.

    Args:
        path: the file; it need not exist.

    Returns:
        The modality, or None where nothing tells it, or both are named.

    Raises:
        InputError: if the name tells another contrast, such as FLAIR or T1 after a contrast agent.

    Examples:
        >>> str(modality_of("sub-01_T2w.nii.gz"))
        't2'
    """
    hint = _read_name(Path(path))
    if hint.other:
        raise _unsupported(path, hint.other)
    return hint.modality


def choose_modality(path: str | Path, given: Modality | None) -> Modality:
    """Return the modality of a scan that was named by itself: what the user gives, else what the name tells.

    Args:
        path: the file.
        given: what the user says about it.

    Raises:
        InputError: if neither tells the modality, a BIDS suffix contradicts `given`, or `given` is None and the name
            tells another contrast.
    """
    if given is None:
        modality = modality_of(path)
        if modality is None:
            raise _unknown([Path(path)])
        return modality
    hint = _read_name(Path(path))
    if hint.decisive and hint.modality is not given:
        raise InputError(
            f"`modality` is {given}, but the name says that the scan is {hint.modality}",
            path=path,
            fix="Leave --modality out, or rename the file",
        )
    said = hint.other or hint.modality
    if said not in (None, given):
        logger.warning("%s: taken as %s, as --modality says, although its name says %s.", path, given, said)
    return given


def select_modality(paths: Sequence[Path], given: Modality | None, *, source: Path) -> dict[Path, Modality]:
    """Return those files of a folder or list that are T1- or T2-weighted by name, each with its modality.

    Files whose name tells another contrast, or another modality than `given`, are left out with one log line.

    Args:
        paths: the files.
        given: the modality to select, which files whose name tells nothing take; None takes both.
        source: the folder or list they come from, for the messages.

    Raises:
        InputError: if a name tells nothing and `given` is None, or if no file is left.
    """
    hints = {path: _read_name(path) for path in paths}
    chosen = {path: given or hint.modality for path, hint in hints.items() if not hint.other}
    unknown = [path for path, modality in chosen.items() if modality is None]
    if unknown:
        raise _unknown(unknown)
    kept = {path: m for path, m in chosen.items() if m is not None and hints[path].modality in (None, m)}
    others = [path for path in paths if path not in kept]
    wanted = given or "t1 or t2"
    if not kept:
        what = f"none of its {len(paths)} scans is {wanted} by name: {list_names(others)}"
        raise InputError(what, path=source, fix="Name one scan and give --modality to run it nevertheless")
    if others:
        names = list_names(others)
        logger.info("%s: left out %d scan(s) that are not %s by name: %s", source, len(others), wanted, names)
    return kept


def _read_name(path: Path) -> Hint:
    stem = scan_stem(path)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", stem) if word]
    entities = {part.split("-")[0].lower() for part in stem.split("_") if "-" in part}
    suffix = _SUFFIXES.get(stem.rsplit("_", 1)[-1].lower()) if "_" in stem else None
    if suffix and "ce" not in entities:
        return Hint(modality=suffix, decisive=True)
    folders = [[parent.name.lower()] for parent in path.absolute().parents]
    hint = read_words(words) or next((hint for hint in map(_judge, folders) if hint), None)
    return hint or Hint(other=next((word.lower() for word in words if word.lower() in _WEAK), None))


def read_words(words: Sequence[str]) -> Hint | None:
    """Return what the words of a name or description say, as they stand or in parts; None if nothing."""
    whole = [word.lower() for word in words]
    parts = [part.lower() for word in words for part in _PARTS.findall(word)]
    return _judge(whole) or _judge(parts)


def _judge(words: Sequence[str]) -> Hint | None:
    """Return what words say, None if nothing; both modalities at once are nothing."""
    other = next((word for word in words if word in _OTHER), None)
    if other:
        return Hint(other=other)
    named = {_WORDS[word] for word in words if word in _WORDS}
    return Hint(modality=named.pop()) if len(named) == 1 else None


def _unknown(paths: Sequence[Path]) -> InputError:
    what = "the name does not tell whether the scan is T1- or T2-weighted"
    more = f" (nor do {len(paths) - 1} other names)" if len(paths) > 1 else ""
    return InputError(what + more, path=paths[0], fix=_HOW)


def _unsupported(path: str | Path, other: str) -> InputError:
    contrast = "T1 with contrast agent" if other in _CONTRAST_AGENT else other.upper()
    what = f"{contrast} is not supported, only T1- and T2-weighted scans without contrast agent ({other!r} in the name)"
    return InputError(what, path=path, fix=f"{_HOW} if the name misleads")
