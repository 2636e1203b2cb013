"""Tell from a DICOM header whether a series is T1- or T2-weighted."""

from __future__ import annotations

import re

from scripts.data.inputs.modality import Hint, Modality, read_words
from scripts.scans.dicom import DicomSeries
from scripts.scans.dicom.frames import attribute

__all__ = ["contrast_of"]

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
