"""Describe the data sets that the splits in `DATA_DIR` belong to.

A record is one YAML file in `configs/datasets`, so that a data set is added with a record and not with code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated

import yaml
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from scripts.errors import InputError
from scripts.options.fields import shown
from scripts.paths import bundle_root

__all__ = [
    "BrainMask",
    "DatasetRecord",
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


IMAGE_SUFFIXES = (".nii.gz", ".nii")


class Role(StrEnum):
    """What the cases of a data set are used as."""

    HEALTHY = "healthy"
    LESION = "lesion"

    @property
    def parent(self) -> str:
        """The folder of `DATA_DIR` that holds such sets."""
        return "Test" if self is Role.LESION else "Train"


class BrainMask(StrEnum):
    """Where the brain mask of a case is: in a file of its own, or in the image, as its voxels other than 0."""

    FILE = "file"
    NONZERO = "nonzero"


class Split(StrEnum):
    """The parts of a data set."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def _with_placeholders(*names: str) -> AfterValidator:
    def check(text: str) -> str:
        used = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        if not used <= set(names):
            raise ValueError(f"must be a text with no other placeholders than {', '.join(names)}")
        return text

    return AfterValidator(check)


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("must name none twice")
    return names


_Text = Annotated[str, StringConstraints(pattern=r"\S")]
_SplitFile = Annotated[_Text, _with_placeholders("fold")]
_ImagePath = Annotated[_Text, _with_placeholders("parent", "stem", "modality", "ext")]


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """Describe one data set in the layout of `DATA_DIR`; what is read from a file is checked by these types.

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
        subject_column: CSV column that says which cases show the same subject.
        subject_source: data set that the names in `subject_column` belong to; the set itself if empty.
        brain_mask: file, which every case must have, or nonzero: the images are skull-stripped, and the CSV files may
            leave `mask_path` out.
        licence: terms under which the images may be used.
        citation: what to cite.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: _Text
    folder: _Text
    role: Role
    modalities: Annotated[tuple[_Text, ...], Field(min_length=1), AfterValidator(_distinct)]
    splits: Annotated[Mapping[Split, _SplitFile], Field(min_length=1)]
    pathology: _Text = "none"
    availability: Mapping[str, _Text] = field(default_factory=dict)
    derived_path: _ImagePath = "{parent}/{modality}/{stem}_{modality}{ext}"
    subject_column: _Text = "img_name"
    subject_source: str = ""
    brain_mask: BrainMask = BrainMask.FILE
    licence: _Text = "not stated"
    citation: _Text = "not stated"

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


def load_record(name_or_path: str | Path) -> DatasetRecord:
    """Load the record of a data set.

    Args:
        name_or_path: name of a record in `configs/datasets`, or path of a YAML file (ending in .yaml or .yml).

    Raises:
        InputError: if there is no such record, or if its file has an unknown key or an invalid value.

    Examples:
        >>> load_record("MSLUB").pathology
        'multiple sclerosis'
    """
    if str(name_or_path).endswith((".yaml", ".yml")):
        return _read_record(Path(name_or_path))
    folder, names = _records_dir(), available_records()
    if str(name_or_path) not in names:
        what = f"`dataset` must be one of {', '.join(names) or '(no records)'}, got {str(name_or_path)!r}"
        raise InputError(what, path=folder, fix="To add a data set, put a record for it into this folder")
    return _read_record(folder / f"{name_or_path}.yaml")


def load_records(datasets: str | Path | DatasetRecord | Sequence[str | Path | DatasetRecord]) -> list[DatasetRecord]:
    """Load the records of one or several data sets, each given by name, by path or as a record.

    Raises:
        InputError: as `load_record`, or if no set is named, or one twice.
    """
    entries = [datasets] if isinstance(datasets, str | Path | DatasetRecord) else list(datasets)
    records = [entry if isinstance(entry, DatasetRecord) else load_record(entry) for entry in entries]
    names = [record.name for record in records]
    if not names or len(set(names)) < len(names):
        raise InputError(f"`datasets` must name at least one data set and none twice, got {names}")
    return records


def available_records() -> tuple[str, ...]:
    """Return the names of the records in `configs/datasets`, sorted.

    Raises:
        InputError: if the folder does not exist.
    """
    return tuple(sorted(path.stem for path in _records_dir().glob("*.yaml")))


def _records_dir() -> Path:
    folder = Path(bundle_root()) / "configs" / "datasets"
    if not folder.is_dir():
        raise InputError("the folder of data set records is missing", path=folder, fix="Give the path of a record")
    return folder


def _read_record(path: Path) -> DatasetRecord:
    try:
        record = TypeAdapter(DatasetRecord).validate_python(load_yaml_mapping(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        given = "" if first["type"] == "missing" else f", got {shown(first['input'])}"
        what = f"`{key}`: {first['msg'].removeprefix('Value error, ')}{given}"
        fix = f"The keys are {', '.join(DatasetRecord.__dataclass_fields__)}"
        raise InputError(what, path=path, fix=fix) from error
    others = sorted(set(record.availability) - set(record.modalities))
    if others:
        what = f"`availability` must have keys out of {', '.join(record.modalities)}, got {', '.join(others)}"
        raise InputError(what, path=path)
    return replace(record, subject_source=record.subject_source or record.name)
