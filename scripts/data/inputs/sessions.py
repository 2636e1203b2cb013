"""Which scan is the baseline of which: named by a user, or the first session of a subject in BIDS."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.data.inputs.bids_filter import read_bids_filter
from scripts.data.inputs.find import Item, Paths, as_paths, find_scans
from scripts.errors import InputError

__all__ = ["find_sessions"]

logger = logging.getLogger(__name__)
_NEEDED = "anomaly_map,brain_mask"  # images that a comparison reads
_OWN = ("brain_mask", "t1")


def find_sessions(
    scans: Paths | None,
    *,
    baseline: Paths | None = None,
    longitudinal: bool = False,
    session_label: str | Sequence[str] | None = None,
    bids_filter_file: str | Path | None = None,
    **options: Any,
) -> list[Item]:
    """Return a datalist in which follow-up scans know their baseline.

    Args:
        scans: as for `find_scans`.
        baseline: the earlier scan of the same subject; one for each modality of `scans`.
        longitudinal: whether the sessions of each subject in BIDS are compared with the first one, by acquisition time
            where `sub-*_sessions.tsv` has it, else by name.
        session_label: sessions of a BIDS data set to take, with or without `ses-`.
        bids_filter_file: JSON that chooses scans of a BIDS data set, as fMRIPrep has it.
        **options: others of `find_scans`; masks and T1 partners are those of `scans`, not of the baseline.

    Returns:
        Dicts as of `find_scans`. A follow-up has `baseline` and `baseline_case`, file and name of its baseline, which
        stands before it; both have `also_save`, the images that a comparison needs.

    Raises:
        InputError: as `find_scans`; if both options are given, or a baseline does not fit.
    """
    options["bids_filter"] = read_bids_filter(bids_filter_file, session_label)
    if not baseline:
        items = find_scans(scans, **options)
        return _with_first_sessions(items) if longitudinal else items
    if longitudinal:
        raise InputError("`baseline` and `longitudinal` exclude each other", fix="Leave one of them out")
    return _with_baseline(scans, baseline, options)


def _with_baseline(scans: Paths | None, baseline: Paths, options: Mapping[str, Any]) -> list[Item]:
    given = {item["image"]: item for item in find_scans(scans, **options)}
    shared = {name: value for name, value in options.items() if name not in _OWN}
    earlier = {item["image"] for item in find_scans(baseline, **shared)}
    # Named together, so that two scans of one name get folders of their own.
    items = find_scans([*as_paths(baseline), *as_paths(scans)], **shared)
    firsts = [item for item in items if item["image"] in earlier]
    followups = [
        {**item, **{name: given[item["image"]][name] for name in _OWN if name in given[item["image"]]}}
        for item in items
        if item["image"] in given
    ]
    most, count = Counter(item["modality"] for item in followups).most_common(1)[0]
    if count > 1:
        what = f"a baseline goes with one scan of a modality, and {count} {most} scans are named"
        raise InputError(what, fix="Name one; for the sessions of a BIDS data set give --longitudinal")
    pairs = {item["case"]: _fitting(item, firsts) for item in followups}
    used = {first["case"] for first in pairs.values()}
    left_out = [first["case"] for first in firsts if first["case"] not in used]
    if left_out:
        logger.info("left out of the baseline, as no scan of their modality is named: %s", ", ".join(left_out))
    kept = [{**first, "also_save": _NEEDED} for first in firsts if first["case"] in used]
    return kept + [_followup(item, pairs[item["case"]]) for item in followups]


def _fitting(item: Item, firsts: Sequence[Item]) -> Item:
    found = [first for first in firsts if first["modality"] == item["modality"]]
    if len(found) != 1:
        names = ", ".join(first["case"] for first in found) or "none"
        what = f"the baseline must hold one {item['modality']} scan to compare with, got {len(found)} ({names})"
        raise InputError(what, path=item["image"], fix="Name that scan's file as --baseline")
    return found[0]


def _followup(item: Item, first: Item) -> Item:
    return {**item, "baseline": first["image"], "baseline_case": first["case"], "also_save": _NEEDED}


def _with_first_sessions(items: Sequence[Item]) -> list[Item]:
    groups: dict[tuple[Path, str], list[Item]] = {}
    for item in items:
        session = Path(item["image"]).parent.parent
        if "bids_suffix" in item and session.name.startswith("ses-"):
            groups.setdefault((session.parent, item["modality"]), []).append(item)
    partners: dict[str, Item] = {}  # by the name of the follow-up
    for (subject, _), members in groups.items():
        order = _session_order(subject, {_session(item) for item in members})
        earliest = [item for item in members if _session(item) == order[0]]
        for item in members:
            if _session(item) != order[0]:
                partners[item["case"]] = min(earliest, key=lambda other: len(_entities(other) ^ _entities(item)))
    if not partners:
        logger.warning("No subject has two sessions of one modality: nothing is compared.")
    baselines = {first["case"] for first in partners.values()}
    result: dict[str, Item] = {}
    for item in items:
        if item["case"] in partners:
            first = partners[item["case"]]
            result.setdefault(first["case"], {**first, "also_save": _NEEDED})
            result[item["case"]] = _followup(item, first)
        else:
            result.setdefault(item["case"], {**item, "also_save": _NEEDED} if item["case"] in baselines else item)
    return list(result.values())


def _session(item: Item) -> str:
    return Path(item["image"]).parent.parent.name


def _entities(item: Item) -> frozenset[str]:
    """Return what a scan's name says beside the session, and its suffix."""
    return frozenset(part for part in item["case"].split("_") if not part.startswith("ses-"))


def _session_order(subject: Path, sessions: set[str]) -> list[str]:
    """Return the sessions, the earliest first."""
    times = _acquisition_times(subject / f"{subject.name}_sessions.tsv")
    if all(times.get(session) for session in sessions):
        return sorted(sessions, key=lambda session: (times[session], _natural(session)))
    return sorted(sessions, key=_natural)


def _acquisition_times(table: Path) -> dict[str, str]:
    """Return `acq_time` (ISO 8601, which sorts as text) by session; empty where there is no such table or column."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    times = {str(row.get("session_id")): str(row.get("acq_time") or "") for row in rows}
    return {session: time for session, time in times.items() if time not in ("", "n/a")}


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which `ses-2` comes before `ses-10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
