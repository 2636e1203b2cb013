"""The files of a new data set: its cases as CSV rows with paths that start at `DATA_DIR`, and its record."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from scripts.data import find_raw_cases
from scripts.data.inputs.raw_cases import mask_beside
from scripts.data.records import BrainMask, DatasetRecord, Role, Split
from scripts.data.split_plan import Participant, SplitPlan
from scripts.errors import InputError, check_choice
from scripts.report.tables import write_text

__all__ = [
    "SplitCase",
    "find_place",
    "find_split_cases",
    "link_into",
    "make_record",
    "participants_of",
    "split_files",
    "summary_line",
    "write_record",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SplitCase:
    """A session of a subject, with its files.

    Attributes:
        name: of the case, without modality.
        subject: the subject.
        images: the scan of each modality, t1 before t2.
        mask: its brain mask, where there is one.
        label: its lesion label, where there is one.
        session: of the subject, or empty.
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
        facts: age, sex and group by subject, from `read_participants`.
        pattern: regular expression that finds the subject in a case's name.

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
        logger.warning("the table of participants knows none of the subjects, such as %s", cases[0].subject)
    first = min(modality for case in cases for modality in case.images)
    left_out = [case.name for case in cases if first not in case.images]
    if left_out:
        logger.warning("left out %d case(s) without %s: %s", len(left_out), first, ", ".join(left_out))
    return [case for case in cases if first in case.images]


def participants_of(cases: Sequence[SplitCase]) -> list[Participant]:
    """Return the subjects in the cases, with the mean of their ages."""
    subjects = []
    for name in dict.fromkeys(case.subject for case in cases):
        own = [case.facts for case in cases if case.subject == name]
        ages = [float(facts["age"]) for facts in own if facts.get("age")]
        sex = next((facts["sex"] for facts in own if facts.get("sex")), "")
        subjects.append(Participant(name, fmean(ages) if ages else None, sex))
    return subjects


def _person(case: str, pattern: str) -> str:
    try:
        match = re.search(pattern, case)
    except re.error as error:
        raise InputError(f"`subject_pattern` is no regular expression: {error}") from error
    found = match and (match[1] if match.re.groups else match[0])
    if not found:
        raise InputError(f"`subject_pattern` {pattern!r} finds no subject in the name {case!r}")
    return found


Rows = list[dict[str, Any]]


def make_record(
    name: str, cases: Sequence[SplitCase], *, role: str, test: bool, licence: str, citation: str
) -> DatasetRecord:
    """Return the record of a set, with the folder that it has in a `DATA_DIR` of its own.

    Args:
        name: of the set.
        cases: its cases.
        role: healthy or lesion.
        test: whether a healthy set has a test set.
        licence: terms of the images.
        citation: what to cite.

    Raises:
        InputError: if the name or the role cannot be used, or a case of a lesion set has no label.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"`name` must be of letters, digits, - and _, got {name!r}", fix="Give --name")
    role = check_choice(Role, role, "role")
    unlabelled = [case.name for case in cases if case.label is None]
    if role == Role.LESION and unlabelled:
        what = f"{len(unlabelled)} case(s) of a lesion set have no label, such as {unlabelled[0]}"
        raise InputError(what, fix=f"Put {unlabelled[0]}_seg.nii.gz beside the scan, or use --role healthy")
    splits = {Split.VAL: f"{name}_val.csv", Split.TEST: f"{name}_test.csv"}
    if role == Role.HEALTHY:
        folds = {split: f"{name}_{split}_fold{{fold}}.csv" for split in (Split.TRAIN, Split.VAL)}
        splits = {**folds, Split.TEST: f"{name}_test.csv"} if test else folds
    modalities = sorted({modality for case in cases for modality in case.images})
    masked = all(case.mask for case in cases)
    if not masked:
        logger.warning(
            "%d of %d cases have no brain mask: their images are taken as skull-stripped, and as aligned to MNI152. "
            "Raw scans go through bundle/configs/preprocess.yaml first.",
            sum(case.mask is None for case in cases),
            len(cases),
        )
    return DatasetRecord(
        name=name,
        folder=f"{role.parent}/{name}",
        role=role,
        modalities=tuple(modalities),
        splits=splits,
        pathology="none" if role == Role.HEALTHY else "not stated",
        subject_column="subject",
        brain_mask=BrainMask.FILE if masked else BrainMask.NONZERO,
        licence=licence,
        citation=citation,
    )


def find_place(output_dir: str | None, folder: Path, record: DatasetRecord) -> tuple[Path, DatasetRecord]:
    """Return the `DATA_DIR` and the record with the set's folder in it.

    Args:
        output_dir: `DATA_DIR`; None takes the one that `folder` lies in, as DATA_DIR/Train/NAME.
        folder: of the set, absolute.
        record: of the set.

    Raises:
        InputError: if no `DATA_DIR` is given and `folder` lies in none, or the place for a link to it is taken.
    """
    if output_dir is None:
        if folder.parent.name not in [role.parent for role in Role]:
            what = "lies in no DATA_DIR/Train or DATA_DIR/Test"
            raise InputError(what, path=folder, fix="Give --output_dir DATA_DIR")
        root = folder.parent.parent
    else:
        root = Path(output_dir).expanduser().absolute()
    if folder.is_relative_to(root):
        return root, replace(record, folder=folder.relative_to(root).as_posix())
    place = root / record.folder
    if (place.exists() or place.is_symlink()) and place.resolve() != folder.resolve():
        raise InputError("there already, and another data set", path=place, fix="Give another --name")
    return root, record


def link_into(root: Path, folder: Path, record: DatasetRecord) -> None:
    """Link a set's folder that lies elsewhere into the `DATA_DIR` at `root`, where the record says."""
    place = root / record.folder
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(folder, target_is_directory=True)


def split_files(
    root: Path, record: DatasetRecord, plan: SplitPlan, cases: Sequence[SplitCase], *, folder: Path
) -> dict[Path, Rows]:
    """Return the CSV files of a plan and their rows.

    Args:
        root: `DATA_DIR`.
        record: of the set.
        plan: who is in which split.
        cases: of the set.
        folder: of the cases' files; it is `record.folder` in `root`.
    """
    members: dict[str, tuple[str, ...]] = {}
    for fold, (train, val) in enumerate(plan.folds):
        for split, names in ((Split.TRAIN, train), (Split.VAL, val)):
            if names:
                members[record.splits[split].format(fold=fold)] = names
    if plan.test:
        members[record.splits[Split.TEST]] = plan.test
    return {
        root / "splits" / file: [_row(case, record, folder) for case in cases if case.subject in names]
        for file, names in members.items()
    }


def write_record(path: Path, record: DatasetRecord) -> None:
    """Write a record as YAML, values that are the defaults left out."""
    defaults = {name: entry.default for name, entry in DatasetRecord.__dataclass_fields__.items()}
    values: dict[str, Any] = {}
    for name, value in asdict(record).items():
        if value and value != defaults[name]:
            values[name] = _plain(value)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
    write_text(path, f"# {record.name}: written by scripts.cli.make_splits.\n{text}")


def summary_line(file: Path, rows: Rows) -> str:
    """Return a line about a CSV file: subjects, scans, mean age and share of women."""
    subjects = {row["subject"]: row for row in rows}
    ages = [float(row["age"]) for row in subjects.values() if row["age"]]
    sexes = [row["sex"] for row in subjects.values() if row["sex"]]
    words = [f"{len(subjects)} subjects", f"{len(rows)} scans"]
    if ages:
        words.append(f"mean age {fmean(ages):.1f}")
    if sexes:
        words.append(f"{100 * sexes.count('f') / len(sexes):.0f} % female")
    return f"  {file.name}: {', '.join(words)}"


def _row(case: SplitCase, record: DatasetRecord, folder: Path) -> dict[str, Any]:
    def entry(path: Path | None) -> str:
        return "" if path is None else f"/{record.folder}/{path.absolute().relative_to(folder).as_posix()}"

    first, *others = record.modalities
    row = {
        "img_name": case.images[first].name,
        "age": case.facts.get("age", ""),
        "sex": case.facts.get("sex", ""),
        "label": int(record.role is Role.LESION),
        "img_path": entry(case.images[first]),
        "mask_path": entry(case.mask),
        "seg_path": entry(case.label),
        "subject": case.subject,
        "session": case.session,
        "group": case.facts.get("group", ""),
    }
    return row | {f"{modality}_path": entry(case.images.get(modality)) for modality in others}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return str(value)
