"""The cases of a folder as rows of a split CSV, and the people in them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from scripts.data import find_raw_cases
from scripts.data.companions import mask_beside
from scripts.data.split_plan import Person
from scripts.errors import InputError

__all__ = ["SplitCase", "find_split_cases", "people_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SplitCase:
    """A session of a person, with its files.

    Attributes:
        name: of the case, without modality.
        subject: the person.
        images: the scan of each modality, t1 before t2.
        mask: its brain mask, where there is one.
        label: its lesion label, where there is one.
        session: of the person, or empty.
        facts: age, sex and group, each empty where unknown.
    """

    name: str
    subject: str
    images: Mapping[str, Path]
    mask: Path | None
    label: Path | None
    session: str
    facts: Mapping[str, str]


def find_split_cases(
    folder: Path, *, facts: Mapping[str, Mapping[str, str]], pattern: str | None = None
) -> list[SplitCase]:
    """Return the cases of a folder that have the first modality of the set (t1 if any case has it).

    Args:
        folder: of the data set.
        facts: age, sex and group by person, from `read_participants`.
        pattern: regular expression that finds the person in a case's name.

    Raises:
        InputError: if there is no scan, the pattern is none or does not fit a name.
    """
    raw = find_raw_cases(folder)
    cases = []
    for entry in raw:
        images = {scan["modality"]: Path(scan["image"]) for scan in entry["scans"]}
        subject = _person(entry["case"], pattern) if pattern else entry["subject"]
        labels = [Path(scan["label"]) for scan in entry["scans"] if "label" in scan]
        cases.append(
            SplitCase(
                name=entry["case"],
                subject=subject,
                images=images,
                mask=next(filter(None, map(mask_beside, images.values())), None),
                label=labels[0] if labels else None,
                session=entry["session"],
                facts=facts.get(subject.removeprefix("sub-"), {}),
            )
        )
    if facts and not any(case.facts for case in cases):
        logger.warning("the table of participants knows none of the people, such as %s", cases[0].subject)
    first = min(modality for case in cases for modality in case.images)
    left_out = [case.name for case in cases if first not in case.images]
    if left_out:
        logger.warning("left out %d case(s) without %s: %s", len(left_out), first, ", ".join(left_out))
    return [case for case in cases if first in case.images]


def people_of(cases: Sequence[SplitCase]) -> list[Person]:
    """Return the people in the cases, with the mean of their ages."""
    people = []
    for name in dict.fromkeys(case.subject for case in cases):
        own = [case.facts for case in cases if case.subject == name]
        ages = [float(facts["age"]) for facts in own if facts.get("age")]
        sex = next((facts["sex"] for facts in own if facts.get("sex")), "")
        people.append(Person(name, fmean(ages) if ages else None, sex))
    return people


def _person(case: str, pattern: str) -> str:
    try:
        match = re.search(pattern, case)
    except re.error as error:
        raise InputError(f"`subject_pattern` is no regular expression: {error}") from error
    found = match and (match[1] if match.re.groups else match[0])
    if not found:
        raise InputError(f"`subject_pattern` {pattern!r} finds no person in the name {case!r}")
    return found
