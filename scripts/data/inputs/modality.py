"""Whether a scan is T1- or T2-weighted, by its name."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.data.inputs.files import list_names, scan_stem
from scripts.errors import InputError
from scripts.options.choices import Modality

__all__ = [
    "BIDS_SUFFIXES",
    "Hint",
    "choose_modality",
    "contrast_agent_of",
    "modality_of",
    "read_words",
    "select_modality",
]

logger = logging.getLogger(__name__)

_HOW = "Give --modality t1 or --modality t2"  # the fix of most problems here


BIDS_SUFFIXES = {"T1w": Modality.T1, "T2w": Modality.T2, "inplaneT1": Modality.T1, "inplaneT2": Modality.T2}

_SUFFIXES = {suffix.lower(): modality for suffix, modality in BIDS_SUFFIXES.items()}
_WORDS = dict.fromkeys(
    ("t1", "t1w", "t1n", "mprage", "memprage", "rage", "mpr", "spgr", "fspgr", "bravo", "tfl"), Modality.T1
) | dict.fromkeys(("t2", "t2w", "t2n"), Modality.T2)
_AGENT_T1 = {"t1ce", "t1c", "t1gd", "t1gad", "t1post"}
_WORDS |= dict.fromkeys(_AGENT_T1, Modality.T1)
_AGENT = _AGENT_T1 | {"ce", "gd", "gad", "gado", "gadolinium", "postcontrast", "postgad", "postgd", "contrast"}
_MAYBE_AGENT = {"post"}  # also said of a visit after an operation or a treatment
_NO_AGENT = {"pre", "no", "non", "without"}  # before "contrast"
_AGENT_SIGN = re.compile(r"\+[ _-]*(c|ce|gd|gad|gado|km)(?![a-z])", re.IGNORECASE)  # T1+C
_FLAIR = {"flair", "t2flair", "t2f", "darkfluid", "tirm"}
_OTHER = _FLAIR | {
    "t2star", "t2starw", "t2s", "swi", "swan", "pdt2", "dwi", "dti", "adc", "bold", "asl", "tof", "mra",
    "t1map", "t2map", "t1rho",
}  # fmt: skip
_WEAK = {"pd", "pdw", "ct"}  # also initials of people and groups, so only where nothing else is said
_DARK_FLUID = re.compile(r"dark[ _-]?fluid", re.IGNORECASE)
_PARTS = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+")  # inplaneT2 -> inplane, T2


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What a name says: a modality, `decisive` where the BIDS suffix says it, or another contrast; a contrast agent."""

    modality: Modality | None = None
    decisive: bool = False
    other: str | None = None
    agent: str | None = None


def modality_of(path: str | Path) -> Modality | None:
    """Return the modality that a file's name says, else the one that the nearest folder named so does.

    A BIDS suffix (`_T1w`, `_T2w`, `_inplaneT1`, `_inplaneT2`) decides. Otherwise the words of the name count, then a
    parent folder that is called `t1`, `t1w`, `t2` or `t2w`. Scans after a contrast agent count as what they are
    otherwise; see `contrast_agent_of`.

    Args:
        path: the file; it need not exist.

    Returns:
        The modality, or None where nothing says it, or both are named.

    Raises:
        InputError: if the name says another contrast, such as FLAIR.

    Examples:
        >>> str(modality_of("sub-01_T2w.nii.gz"))
        't2'
    """
    hint = _read_name(Path(path))
    if hint.other:
        raise _unsupported(path, hint.other)
    return hint.modality


def contrast_agent_of(path: str | Path) -> str | None:
    """Return the word of a file's name that means a contrast agent, such as "t1ce", "gad" or "T1+C", or None.

    A name with "post" may mean one. The names of subject and session in BIDS do not count, and folders only where
    the name of the file does not say the modality.
    """
    words = map(str.lower, _words_of(scan_stem(Path(path))))
    return _read_name(Path(path)).agent or next((word for word in words if word in _MAYBE_AGENT), None)


def choose_modality(path: str | Path, given: Modality | None) -> Modality:
    """Return the modality of a scan that was named by itself: what the user gives, else what the name says.

    Args:
        path: the file.
        given: what the user says about it.

    Raises:
        InputError: if neither says the modality, a BIDS suffix contradicts `given`, or `given` is None and the name
            says another contrast.
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

    Files whose name says another contrast, or another modality than `given`, are left out with one log line; so are
    those after a contrast agent, unless there are no others.

    Args:
        paths: the files.
        given: the modality to select, which files whose name says nothing take; None takes both.
        source: the folder or list they come from, for the messages.

    Raises:
        InputError: if a name says nothing and `given` is None, or if no file is left.
    """
    hints = {path: _read_name(path) for path in paths}
    chosen = {path: given or hint.modality for path, hint in hints.items() if not hint.other}
    unknown = [path for path, modality in chosen.items() if modality is None]
    if unknown:
        raise _unknown(unknown)
    fitting = {path: m for path, m in chosen.items() if m is not None and hints[path].modality in (None, m)}
    kept = {path: m for path, m in fitting.items() if not hints[path].agent} or fitting
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
    stem = _DARK_FLUID.sub("darkfluid", scan_stem(path))
    suffix = _SUFFIXES.get(stem.rsplit("_", 1)[-1].lower()) if "_" in stem else None
    words = _words_of(stem)
    said = read_words(words) or Hint()
    sign = _AGENT_SIGN.search(stem)
    agent = sign[0] if sign else said.agent
    flair = next((word for word in map(str.lower, words) if word in _FLAIR), None)
    if suffix is Modality.T2 and flair:  # unlike T2-weighted FLAIR, T1-weighted FLAIR looks like any other T1
        return Hint(other=flair)
    if suffix:
        return Hint(modality=suffix, decisive=True, agent=agent)
    if not (said.modality or said.other):
        folders = [[parent.name.lower()] for parent in path.absolute().parents]
        weak = next((word for word in map(str.lower, words) if word in _WEAK), None)
        said = next((hint for hint in map(_judge, folders) if hint), None) or Hint(other=weak)
    return replace(said, agent=agent or said.agent)


def read_words(words: Sequence[str]) -> Hint | None:
    """Return what the words of a name or description say, as they stand or in parts; None if nothing."""
    whole = [word.lower() for word in words]
    parts = [part.lower() for word in words for part in _PARTS.findall(word)]
    agent = _agent(whole) or _agent(parts)
    hint = _judge(whole) or _judge(parts) or (Hint() if agent else None)
    return replace(hint, agent=agent or hint.agent) if hint else None


def _words_of(stem: str) -> list[str]:
    """Return the words of a name, without those of subject and session in BIDS."""
    named = "_".join(part for part in stem.split("_") if not part.startswith(("sub-", "ses-")))
    return [word for word in re.split(r"[^A-Za-z0-9]+", named) if word]


def _agent(words: Sequence[str]) -> str | None:
    """Return which of the words, in small letters, means a contrast agent."""
    denied = bool(_NO_AGENT.intersection(words))
    return next((word for word in words if word in _AGENT and not (denied and word == "contrast")), None)


def _judge(words: Sequence[str]) -> Hint | None:
    """Return what words say, None if nothing; both modalities at once are nothing."""
    other = next((word for word in words if word in _OTHER), None)
    if other:
        return Hint(other=other)
    named = {_WORDS[word] for word in words if word in _WORDS}
    agent = next((word for word in words if word in _AGENT_T1), None)
    return Hint(modality=named.pop(), agent=agent) if len(named) == 1 else None


def _unknown(paths: Sequence[Path]) -> InputError:
    what = "the name does not say whether the scan is T1- or T2-weighted"
    more = f" (nor do {len(paths) - 1} other names)" if len(paths) > 1 else ""
    return InputError(what + more, path=paths[0], fix=_HOW)


def _unsupported(path: str | Path, other: str) -> InputError:
    contrast = "FLAIR" if other in _FLAIR else other.upper()
    what = f"{contrast} is not supported, only T1- and T2-weighted scans ({other!r} in the name)"
    return InputError(what, path=path, fix=f"{_HOW} if the name misleads")
