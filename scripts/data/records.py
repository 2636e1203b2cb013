"""Describe the data sets that the splits in `DATA_DIR` belong to.

A record is one YAML file in `configs/datasets`, so that a data set is added with a record and not with code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from string import Formatter

import yaml
from scripts.errors import InputError
from scripts.paths import bundle_root

__all__ = [
    "BrainMask",
    "DatasetRecord",
    "Fields",
    "Role",
    "Split",
    "available_records",
    "load_record",
    "load_records",
    "load_yaml_mapping",
]


def load_yaml_mapping(path: Path) -> dict[str, object]:
    """Load a YAML file whose top level is a mapping.

    Raises:
        InputError: if the file is missing, is not YAML or holds something else.
    """
    if not path.is_file():
        raise InputError("file not found", path=path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not a YAML file ({' '.join(str(error).split())})", path=path) from error
    if not isinstance(values, dict):
        raise InputError(f"must hold a mapping of keys to values, got {type(values).__name__}", path=path)
    return {str(key): value for key, value in values.items()}


class Fields:
    """Give typed access to the values of a mapping that was read from a file.

    Args:
        values: the mapping.
        path: the file, for the messages.
    """

    def __init__(self, values: Mapping[str, object], *, path: Path) -> None:
        """Keep the mapping and the file that it came from."""
        self._values = values
        self._path = path

    def check_known(self, known: Iterable[str]) -> None:
        """Check that there are no other keys than the known ones.

        Raises:
            InputError: naming the unknown and the known keys.
        """
        known = list(known)
        unknown = [key for key in self._values if key not in known]
        if unknown:
            raise InputError(f"unknown key(s) {', '.join(unknown)}; known keys: {', '.join(known)}", path=self._path)

    def text(
        self, key: str, *, default: str | None = None, choices: tuple[str, ...] = (), placeholders: tuple[str, ...] = ()
    ) -> str:
        """Return a text.

        Args:
            key: key of the value.
            default: value if the key is absent; without one the key is required.
            choices: valid values; any if empty.
            placeholders: names that may stand in braces; if empty, braces have no meaning.

        Raises:
            InputError: if the value is missing, not a text, none of the choices or has another placeholder.
        """
        value = self._get(key, default)
        self._check_text(key, value, placeholders)
        if choices and value not in choices:
            raise self._invalid(key, f"one of {', '.join(choices)}", value)
        return str(value)

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of texts that has at least one entry and none twice.

        Raises:
            InputError: if the value is anything else.
        """
        value = self._get(key, None)
        if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
            raise self._invalid(key, "a list of names", value)
        if not value or len(set(value)) < len(value):
            raise self._invalid(key, "at least one name and none twice", value)
        return tuple(value)

    def texts(
        self,
        key: str,
        *,
        keys: tuple[str, ...],
        default: Mapping[str, str] | None = None,
        placeholders: tuple[str, ...] = (),
    ) -> dict[str, str]:
        """Return a mapping of some of `keys` to texts.

        Raises:
            InputError: if the value is anything else.
        """
        value = self._get(key, default)
        if not isinstance(value, dict) or not set(value) <= set(keys):
            raise self._invalid(key, f"a mapping with keys out of {', '.join(keys)}", value)
        for name, text in value.items():
            self._check_text(f"{key}.{name}", text, placeholders)
        return dict(value)

    def _get(self, key: str, default: object) -> object:
        value = self._values.get(key, default)
        if value is None:
            raise InputError(f"`{key}` is missing", path=self._path)
        return value

    def _check_text(self, key: str, value: object, placeholders: tuple[str, ...]) -> None:
        if not isinstance(value, str) or not value.strip():
            raise self._invalid(key, "a text that is not empty", value)
        if not placeholders:
            return
        try:
            used = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
        except ValueError as error:
            raise self._invalid(key, "a text with matching braces", value) from error
        if not used <= set(placeholders):
            raise self._invalid(key, f"a text with no other placeholders than {', '.join(placeholders)}", value)

    def _invalid(self, key: str, expected: str, value: object) -> InputError:
        return InputError(f"`{key}` must be {expected}, got {value!r}", path=self._path)


IMAGE_SUFFIXES = (".nii.gz", ".nii")


class Role(StrEnum):
    """What the cases of a data set are used as."""

    HEALTHY = "healthy"
    LESION = "lesion"


class BrainMask(StrEnum):
    """Where the brain mask of a case is: in a file of its own, or in the image, as its voxels other than 0."""

    FILE = "file"
    NONZERO = "nonzero"


class Split(StrEnum):
    """The parts of a data set."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """Describe one data set in the layout of `DATA_DIR`.

    Attributes:
        name: name of the set, as the CSV files and reports call it.
        folder: folder of its images, relative to `DATA_DIR`.
        role: healthy (for training and calibration) or lesion (needs a segmentation for every case).
        modalities: names of the modalities; the first is the one that the CSV files name.
        splits: file name in `DATA_DIR/splits` of each split; `{fold}` stands for the fold number.
        pathology: what the lesions are, in words.
        availability: CSV file in `DATA_DIR/splits` of the subjects that have a modality, for those not all have.
        derived_path: path of another modality than the first one, from `{parent}` (the folder that holds the
            modality folders), `{stem}` (file name without modality and extension), `{modality}` and `{ext}`.
        subject_column: CSV column that tells which cases show the same subject.
        subject_source: data set that the names in `subject_column` belong to; the set itself if empty.
        brain_mask: file, which every case must have, or nonzero: the images are skull-stripped, and the CSV files may
            leave `mask_path` out.
        licence: terms under which the images may be used.
        citation: what to cite.
    """

    name: str
    folder: str
    role: Role
    modalities: tuple[str, ...]
    splits: Mapping[Split, str]
    pathology: str = "none"
    availability: Mapping[str, str] = field(default_factory=dict)
    derived_path: str = "{parent}/{modality}/{stem}_{modality}{ext}"
    subject_column: str = "img_name"
    subject_source: str = ""
    brain_mask: BrainMask = BrainMask.FILE
    licence: str = "not stated"
    citation: str = "not stated"

    def split_pattern(self, split: str) -> str:
        """Return the file name pattern of a split.

        Raises:
            InputError: if the set has no such split.
        """
        if split not in self.splits:
            raise InputError(f"`split` must be one of {', '.join(self.splits)} for {self.name}, got {split!r}")
        return self.splits[Split(split)]

    def check_modality(self, modality: str) -> None:
        """Check that the set has a modality.

        Raises:
            InputError: if it does not.
        """
        if modality not in self.modalities:
            names = ", ".join(self.modalities)
            raise InputError(f"`modality` must be one of {names} for {self.name}, got {modality!r}")

    def stem(self, file_name: str) -> str:
        """Return the name of a file without folders, NIfTI extension and modality suffix (`_t1`, BIDS `_T1w`)."""
        stem, _ = self._split_name(file_name)
        return stem

    def image_path(self, csv_path: str, modality: str) -> str:
        """Return the path of a case's image in one modality, given the path that the CSV names.

        Raises:
            InputError: if the set has no such modality.
        """
        self.check_modality(modality)
        if modality == self.modalities[0]:
            return csv_path
        stem, ext = self._split_name(csv_path)
        parent = PurePosixPath(csv_path.replace("\\", "/")).parent.parent
        return self.derived_path.format(parent=parent, stem=stem, modality=modality, ext=ext)

    def _split_name(self, file_name: str) -> tuple[str, str]:
        name = PurePosixPath(file_name.replace("\\", "/")).name
        ext = next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), "")
        return re.sub(rf"_({'|'.join(self.modalities)})w?$", "", name.removesuffix(ext), flags=re.IGNORECASE), ext


def load_record(name_or_path: str | Path, *, records_dir: str | Path | None = None) -> DatasetRecord:
    """Load the record of a data set.

    Args:
        name_or_path: name of a record in `records_dir`, or path of a YAML file (ending in .yaml or .yml).
        records_dir: folder of the records; by default the one that belongs to this package.

    Raises:
        InputError: if there is no such record, or if its file has an unknown key or an invalid value.
    """
    if str(name_or_path).endswith((".yaml", ".yml")):
        return _read_record(Path(name_or_path))
    folder = _records_dir(records_dir)
    names = available_records(records_dir=folder)
    if str(name_or_path) not in names:
        what = f"`dataset` must be one of {', '.join(names) or '(no records)'}, got {str(name_or_path)!r}"
        raise InputError(what, path=folder, fix="To add a data set, put a record for it into this folder")
    return _read_record(folder / f"{name_or_path}.yaml")


def load_records(
    datasets: str | Path | DatasetRecord | Sequence[str | Path | DatasetRecord],
    *,
    records_dir: str | Path | None = None,
) -> list[DatasetRecord]:
    """Load the records of one or several data sets, each given by name, by path or as a record.

    Raises:
        InputError: as `load_record`, or if no set is named, or one twice.
    """
    entries = [datasets] if isinstance(datasets, str | Path | DatasetRecord) else list(datasets)
    records = [
        entry if isinstance(entry, DatasetRecord) else load_record(entry, records_dir=records_dir) for entry in entries
    ]
    names = [record.name for record in records]
    if not names or len(set(names)) < len(names):
        raise InputError(f"`datasets` must name at least one data set and none twice, got {names}")
    return records


def available_records(*, records_dir: str | Path | None = None) -> tuple[str, ...]:
    """Return the names of the records in a folder, sorted.

    Raises:
        InputError: if the folder does not exist.
    """
    return tuple(sorted(path.stem for path in _records_dir(records_dir).glob("*.yaml")))


def _records_dir(records_dir: str | Path | None) -> Path:
    if records_dir is not None:
        if not Path(records_dir).is_dir():
            raise InputError("`records_dir` is not a folder", path=records_dir)
        return Path(records_dir)
    folder = Path(bundle_root()) / "configs" / "datasets"
    if not folder.is_dir():
        raise InputError("the folder of data set records is missing", path=folder, fix="Pass `records_dir`")
    return folder


def _read_record(path: Path) -> DatasetRecord:
    fields = Fields(load_yaml_mapping(path), path=path)
    fields.check_known(DatasetRecord.__dataclass_fields__)
    modalities = fields.names("modalities")
    splits = fields.texts("splits", keys=tuple(Split), placeholders=("fold",))
    if not splits:
        raise InputError(f"`splits` must name at least one of {', '.join(Split)}", path=path)
    return DatasetRecord(
        name=fields.text("name"),
        folder=fields.text("folder"),
        role=Role(fields.text("role", choices=tuple(Role))),
        modalities=modalities,
        splits={Split(key): value for key, value in splits.items()},
        pathology=fields.text("pathology", default=DatasetRecord.pathology),
        availability=fields.texts("availability", keys=modalities, default={}),
        derived_path=fields.text(
            "derived_path", default=DatasetRecord.derived_path, placeholders=("parent", "stem", "modality", "ext")
        ),
        subject_column=fields.text("subject_column", default=DatasetRecord.subject_column),
        subject_source=fields.text("subject_source", default=fields.text("name")),
        brain_mask=BrainMask(fields.text("brain_mask", default=BrainMask.FILE, choices=tuple(BrainMask))),
        licence=fields.text("licence", default=DatasetRecord.licence),
        citation=fields.text("citation", default=DatasetRecord.citation),
    )
