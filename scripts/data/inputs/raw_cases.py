"""Group raw scans into cases: the T1- and the T2-weighted scan of one session, with the label and mask beside them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from scripts.data.inputs.files import check_distinct, list_names, scan_stem
from scripts.data.inputs.find import csv_labels, find_scans
from scripts.options.choices import Modality

__all__ = ["find_raw_cases", "label_beside", "mask_beside", "session_of", "subject_of", "without_modality"]

_WORD = "(?:[iI]n[pP]lane)?[tT][12][wWnN]?$"
_MODALITY_WORD = re.compile(rf"[_\-. ]{_WORD}|(?<=[a-z0-9])(?:inplane)?T[12][wWnN]?$|^{_WORD}")  # not of patient1
_DESCRIPTION = re.compile(r"_desc-[^_]+")
_LABEL_ENDS = ("_label-lesion_mask", "_desc-lesion_mask", "_label-lesion_roi", "_lesion_mask", "_seg")
_MASK_ENDS = ("_desc-brain_mask", "_brain_mask", "_mask")
_SUFFIXES = (".nii.gz", ".nii", ".mgz")


def label_beside(image: Path) -> Path | None:
    """Return the lesion label that lies beside a scan, or None.

    That is `x_seg`, `x_lesion_mask`, `x_label-lesion_mask` or the like for `x_T1w`, in the same folder or, for a scan
    in a folder `t1` or `t2`, in the folder `seg` next to it.

    Args:
        image: the scan.
    """
    return _beside(image, "seg", _LABEL_ENDS)


def mask_beside(image: Path) -> Path | None:
    """Return the brain mask that lies beside a scan, or None.

    That is `x_mask`, `x_brain_mask` or `x_desc-brain_mask` for `x_T1w` or `x_desc-preproc_T1w`, in the same folder or,
    for a scan in a folder `t1` or `t2`, in the folder `mask` next to it.

    Args:
        image: the scan.
    """
    return _beside(image, "mask", _MASK_ENDS)


def without_modality(stem: str) -> str:
    """Return a scan's name without the word at its end that says T1 or T2; the name itself where that is all.

    Examples:
        >>> without_modality("sub-01_ses-2_T1w")
        'sub-01_ses-2'
    """
    return _MODALITY_WORD.sub("", stem) or stem


def session_of(image: Path) -> tuple[Path, str]:
    """Return what the scans of one session have in common: their folder, and their name but for T1 and T2."""
    return image.parent, _MODALITY_WORD.sub("", scan_stem(image))


def _beside(image: Path, folder: str, ends: tuple[str, ...]) -> Path | None:
    stem = scan_stem(image)
    plain = without_modality(stem)
    stems = dict.fromkeys((stem, plain, _DESCRIPTION.sub("", plain)))
    folders = [image.parent]
    if image.parent.name.lower() in ("t1", "t2"):
        folders.append(image.parent.parent / folder)
    names = ["".join(parts) for parts in product(stems, ends, _SUFFIXES)]
    return next((path for path in (f / name for f, name in product(folders, names)) if path.is_file()), None)


logger = logging.getLogger(__name__)
_SUBJECT = re.compile(r"(sub-[^_]+)(?:_(ses-[^_]+))?")


def find_raw_cases(
    scans: str | Path | Sequence[str | Path] | None,
    *,
    brain_mask: str | Path | Sequence[str | Path] | None = None,
    modality: str | None = None,
    series: str | int | None = None,
) -> list[dict[str, Any]]:
    """Return the cases of a folder, a BIDS data set, a CSV or a list of scans.

    A T2 belongs to the T1 of its session (BIDS), or to the one whose name differs in `T1` and `T2` alone. More than one
    T2 of a T1 is left out with a log line.

    Args:
        scans: as for `find_scans`.
        brain_mask: a mask for each scan, as for `find_scans`.
        modality: take only this one.
        series: which DICOM series, as for `find_scans`.

    Returns:
        A dict for each case: `case`, its name without modality; `subject` and `session` (empty where the name says
        none); `scans`, dicts with `image`, `modality` and, where there are such, `brain_mask`, `label` (the lesions)
        and `t1`, with the T1 first.

    Raises:
        InputError: as `find_scans`, or if two cases get the same name.
    """
    items = find_scans(scans, brain_mask=brain_mask, modality=modality, series=series, other_sessions=False)
    given = [scans] if scans is None or isinstance(scans, str | Path) else scans
    tables = [Path(str(entry)) for entry in given if str(entry).lower().endswith(".csv")]
    wanted = None if modality is None else Modality(modality)
    labels = {scan: label for table in tables for scan, label in csv_labels(table, modality=wanted).items()}
    firsts = [item for item in items if item["modality"] == Modality.T1]
    cases = {item["image"]: _new_case(item) for item in firsts}
    by_name = {case["case"]: path for path, case in cases.items()}
    by_session = {session_of(Path(path)): path for path in cases}
    left_out = []
    for item in items:
        if item["modality"] == Modality.T1:
            continue
        named = by_session.get(session_of(Path(item["image"]))) or by_name.get(without_modality(item["stem"]))
        partner = item["t1"] if item.get("t1") in cases else named
        if partner is None:
            cases[item["image"]] = _new_case(item)
        elif len(cases[partner]["scans"]) > 1:
            left_out.append(Path(item["image"]))
        else:
            cases[partner]["scans"].append({**item, "t1": partner})
    if left_out:
        logger.warning("left out %d T2 scan(s) of cases that have one: %s", len(left_out), list_names(left_out))
    for case in cases.values():
        _add_labels(case["scans"], labels)
    check_distinct([case["case"] for case in cases.values()])
    return sorted(cases.values(), key=lambda case: case["case"])


def subject_of(case: str) -> tuple[str, str]:
    """Return the subject and the session that a case's name says, as in BIDS; without `sub-` the name is the subject.

    Args:
        case: such as `sub-01_ses-2_run-1`.
    """
    match = _SUBJECT.match(case)
    return (match[1], match[2] or "") if match else (case, "")


def _add_labels(scans: Sequence[dict[str, Any]], named: Mapping[str, str]) -> None:
    """Give each label to one scan: a T2 lies on another grid than the label of its T1."""
    given = set()
    for scan in scans:
        label = str(named.get(scan["image"]) or label_beside(Path(scan["image"])) or "")
        if label and label not in given:
            scan["label"] = label
            given.add(label)


def _new_case(item: dict[str, str]) -> dict[str, Any]:
    name = without_modality(item["stem"])
    subject, session = subject_of(name)
    return {"case": name, "subject": subject, "session": session, "scans": [dict(item)]}
