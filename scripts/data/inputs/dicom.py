"""The T1- and T2-weighted series of DICOM studies, as a datalist, and what their headers say of the contrast."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.data.inputs.files import scan_stem
from scripts.data.inputs.modality import Hint, modality_of, read_words
from scripts.errors import InputError
from scripts.options.choices import Modality
from scripts.scans.dicom import DicomSeries, find_series, is_dicom, series_of
from scripts.scans.dicom.volume import attribute, check_modality

__all__ = ["contrast_of", "dicom_items", "known_modality"]

_NO_AGENT = {"", "NO", "NONE", "N"}
_ACQUIRED = {"T1": Modality.T1, "T2": Modality.T2}  # Acquisition Contrast of enhanced MR
_FLAIR_INVERSION_MS = 1500.0  # water is nulled from here on; MPRAGE inverts for about 1000 ms
_FLAIR_ECHO_MS = 50.0
_STIR_INVERSION_MS = 300.0  # fat is nulled up to here
_SPOILED_ECHO_MS = 10.0  # of gradient echoes: T1 up to here, T2* above
_T1_ECHO_MS, _T1_REPETITION_MS = 35.0, 1000.0  # of spin echoes
_T2_ECHO_MS, _T2_REPETITION_MS = 60.0, 1800.0


def contrast_of(series: DicomSeries) -> Hint:
    """Return what a series' header says about its contrast.

    First what speaks against both (a contrast agent, echo-planar imaging, the inversion time of FLAIR or STIR), then
    the words of series description and protocol, then the acquisition contrast of enhanced MR, then echo and
    repetition time.

    Args:
        series: MR.

    Returns:
        A modality, another contrast, or a hint that says neither.
    """
    hints = (_excluded(series), *(_words(series.text(name)) for name in ("SeriesDescription", "ProtocolName")))
    return next((hint for hint in hints if hint), None) or _acquired(series) or _timed(series)


def known_modality(path: str | Path) -> Modality | None:
    """Return the modality that a scan's name says, else its DICOM header, or None where neither does.

    For a file that is no DICOM itself the header is that of the one series in the folder beside it that has its name,
    as hosts keep the series `x/` that they made `x.nii.gz` from.

    Args:
        path: the file; it need not exist.

    Raises:
        InputError: if the name or the header says another contrast, such as FLAIR.
    """
    named = modality_of(path)
    series = _series_behind(Path(path)) if named is None else None
    if series is None:
        return named
    hint = contrast_of(series)
    if hint.other:
        what = f"the DICOM header says {hint.other}; only T1- and T2-weighted scans are supported"
        raise InputError(what, path=path, fix="Give --modality t1 or --modality t2 if that misleads")
    return hint.modality


def _series_behind(path: Path) -> DicomSeries | None:
    folder = path.parent / scan_stem(path)
    try:
        if path.is_file() and is_dicom(path):
            return series_of(path)
        found = find_series(folder) if folder != path and folder.is_dir() else []
    except InputError:
        return None  # no series after all, or nothing to read DICOM with
    return found[0] if len(found) == 1 else None


def _words(text: str) -> Hint | None:
    hint = read_words([word for word in re.split(r"[^A-Za-z0-9]+", text) if word])
    return Hint(other=hint.agent) if hint and hint.agent else hint


def _excluded(series: DicomSeries) -> Hint | None:
    agent = series.text("ContrastBolusAgent") or series.text("ContrastBolusAgentSequence")
    if agent.upper() not in _NO_AGENT:
        return Hint(other="contrast agent")
    if "EP" in series.text("ScanningSequence"):
        return Hint(other="echo-planar")
    echo, inversion = _echo_ms(series), _time_ms(series, "MRModifierSequence", "InversionTimes", "InversionTime")
    if inversion and inversion >= _FLAIR_INVERSION_MS and echo and echo >= _FLAIR_ECHO_MS:
        return Hint(other="FLAIR")
    return Hint(other="STIR") if inversion and inversion <= _STIR_INVERSION_MS else None


def _acquired(series: DicomSeries) -> Hint | None:
    said = series.text("AcquisitionContrast").upper()
    if said in ("", "UNKNOWN"):
        return None
    return Hint(modality=_ACQUIRED[said]) if said in _ACQUIRED else Hint(other=said)


def _timed(series: DicomSeries) -> Hint:
    echo = _echo_ms(series)
    repetition = _time_ms(series, "MRTimingAndRelatedParametersSequence", "RepetitionTime", "RepetitionTime")
    if echo is None:
        return Hint()
    if "GR" in series.text("ScanningSequence") or series.text("EchoPulseSequence") == "GRADIENT":
        return Hint(modality=Modality.T1) if echo <= _SPOILED_ECHO_MS else Hint(other="T2*")
    if repetition is None:
        return Hint()
    inverted = _time_ms(series, "MRModifierSequence", "InversionTimes", "InversionTime") is not None
    if echo >= _T2_ECHO_MS and repetition >= _T2_REPETITION_MS:
        return Hint(modality=Modality.T2)
    if echo <= _T1_ECHO_MS:
        short = repetition <= _T1_REPETITION_MS or inverted
        return Hint(modality=Modality.T1) if short else Hint(other="proton density")
    return Hint()


def _echo_ms(series: DicomSeries) -> float | None:
    return _time_ms(series, "MREchoSequence", "EffectiveEchoTime", "EchoTime")


def _time_ms(series: DicomSeries, group: str, keyword: str, plain: str) -> float | None:
    """Return a time above 0, from an enhanced file's functional groups or a classic file's header."""
    value = attribute(series.header, group, keyword)
    value = series.header.get(plain, None) if value is None else value
    first = value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value
    return float(first) if first not in (None, "") and float(first) > 0 else None


logger = logging.getLogger(__name__)
Item = dict[str, str]
_FEWEST_SLICES = 10  # a whole brain has more, even in thick slices
_NO_VOLUME = ("LOCALIZER", "PROJECTION IMAGE", "MOSAIC", "PHASE", "P")  # in the image type
_SHORTEST_NAME = 3  # letters: shorter parts of names stand in many words
_HOW = "Name one: --series followed by its number or a part of its description"


@dataclass(frozen=True, kw_only=True)
class _Found:
    series: DicomSeries
    hint: Hint

    @property
    def study(self) -> str:
        return self.series.text("StudyInstanceUID")

    def is_meant(self, modality: Modality | None) -> bool:
        """Whether it is a scan of the head as the network knows them, as far as the header says."""
        kind = {str(part) for part in self.series.header.get("ImageType", None) or []}
        usable = self.series.text("Modality") == "MR" and self.series.num_images >= _FEWEST_SLICES
        wanted = self.hint.modality is not None and modality in (None, self.hint.modality)
        return usable and wanted and not kind & set(_NO_VOLUME)

    def __str__(self) -> str:
        kind = self.hint.modality or self.hint.other or "contrast unknown"
        reported = f"{kind}, " if self.series.text("Modality") == "MR" else ""
        name = f"{self.series.number or '?'} {self.series.description!r}"
        return f"{name} ({self.series.text('Modality')}, {reported}{self.series.num_images} images)"


def dicom_items(source: Path, *, modality: Modality | None = None, series: str | int | None = None) -> list[Item]:
    """Return the series of a DICOM folder as a datalist: a T1 and a T2 of each study at most.

    Args:
        source: the folder, searched with its sub-folders, or one file of a series.
        modality: take only this one; for a series that is named, what it is.
        series: its number, its UID, or a part of its description in any case. By default those whose header says that
            they are T1- or T2-weighted without contrast agent, which have to be one of each in a study.

    Returns:
        Dicts as of `find_scans`: `image` is the first file of the series. Names are made of series number and
        description, with a checksum of the study where there are several; patients' names are not used.

    Raises:
        InputError: if there is no such series, none is MR, several could be meant, or a header does not say the
            modality.
    """
    paths = [series_of(source)] if source.is_file() else find_series(source)
    found = [_Found(series=one, hint=contrast_of(one)) for one in paths]
    if not any(one.series.text("Modality") == "MR" for one in found) and found:
        check_modality(found[0].series)
    if series is not None or source.is_file():
        chosen = _named(found, series, source)
        kinds = {id(one): _modality(one, modality) for one in chosen}
    else:
        chosen = [one for one in found if one.is_meant(modality)]
        kinds = {id(one): Modality(str(one.hint.modality)) for one in chosen}
    if not chosen:
        what = f"no series is {modality or 't1 or t2'} by its header; there are: {_listed(found)}"
        raise InputError(what, path=source, fix=f"{_HOW}, and --modality")
    _check_one_each(chosen, kinds, source)
    others = [one for one in found if id(one) not in kinds]
    if others:
        logger.info("%s: left out %s", source, _listed(others))
    several = len({one.study for one in chosen}) > 1
    return [_item(one, kinds[id(one)], found, several=several) for one in chosen]


def _named(found: Sequence[_Found], series: str | int | None, source: Path) -> list[_Found]:
    if series is None:
        return list(found)
    word = str(series).strip()
    exact = [one for one in found if word in (one.series.number, one.series.text("SeriesInstanceUID"))]
    chosen = exact or [one for one in found if word.lower() in one.series.description.lower()]
    if not chosen:
        raise InputError(f"there is no DICOM series {word!r}; there are: {_listed(found)}", path=source, fix=_HOW)
    return chosen


def _modality(one: _Found, given: Modality | None) -> Modality:
    check_modality(one.series)
    if given is not None:
        if one.hint.other or one.hint.modality not in (None, given):
            said = one.hint.other or one.hint.modality
            logger.warning("%s: taken as %s, although the header says %s.", one.series.files[0], given, said)
        return given
    if one.hint.modality is None:
        said = f"says {one.hint.other}" if one.hint.other else "does not say T1 or T2"
        what = f"the header of series {one} {said}; only T1- and T2-weighted scans without contrast agent are supported"
        fix = "Give --modality t1 or --modality t2 if that misleads"
        raise InputError(what, path=one.series.files[0], fix=fix)
    return one.hint.modality


def _check_one_each(chosen: Sequence[_Found], kinds: dict[int, Modality], source: Path) -> None:
    groups: dict[tuple[str, str], list[_Found]] = {}
    for one in chosen:
        groups.setdefault((one.study, kinds[id(one)]), []).append(one)
    for (_, kind), members in groups.items():
        if len(members) > 1:
            what = f"{len(members)} series of one study could be the {kind} scan: {_listed(members)}"
            raise InputError(what, path=source, fix=_HOW)


def _item(one: _Found, kind: Modality, found: Sequence[_Found], *, several: bool) -> Item:
    case = _name(one.series)
    if several:
        case = f"study-{hashlib.sha256(one.study.encode()).hexdigest()[:8]}_{case}"
    item = {"image": str(one.series.files[0]), "case": case, "modality": str(kind), "folder": case, "stem": case}
    partners = [other for other in found if other.study == one.study and other.is_meant(Modality.T1)]
    if kind is Modality.T2 and len(partners) == 1:
        item["t1"] = str(partners[0].series.files[0])
    return item


def _name(series: DicomSeries) -> str:
    """Return a name for results of series number and description; the number alone where that holds patient data."""
    private = [part for name in ("PatientName", "PatientID") for part in re.split(r"[\W_]+", series.text(name))]
    plain = series.description.lower()
    reported = any(len(part) >= _SHORTEST_NAME and part.lower() in plain for part in private)
    words = "" if reported else re.sub(r"[^A-Za-z0-9.+-]+", "_", series.description).strip("_.")
    return "_".join(part for part in (f"series-{series.number or '0'}", words) if part)


def _listed(found: Sequence[_Found]) -> str:
    return "; ".join(map(str, found)) or "none"
