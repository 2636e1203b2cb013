"""Group raw scans into cases: the T1- and the T2-weighted scan of one session, with the lesion label beside them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.data.inputs.companions import label_beside, session_of, without_modality
from scripts.data.inputs.files import check_distinct, list_names
from scripts.data.inputs.find import find_scans
from scripts.data.inputs.modality import Modality
from scripts.data.inputs.table import csv_labels

__all__ = ["find_raw_cases", "subject_of"]

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
        A dict for each case: `case`, its name without modality; `subject` and `session` (empty where the name tells
        none); `scans`, dicts with `image`, `modality` and, where there are such, `brain_mask`, `label` (the lesions)
        and `t1`, with the T1 first.

    Raises:
        InputError: as `find_scans`, or if two cases get the same name.
    """
    items = find_scans(scans, brain_mask=brain_mask, modality=modality, series=series)
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
    """Return the subject and the session that a case's name tells, as in BIDS; without `sub-` the name is the subject.

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
