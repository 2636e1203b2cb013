"""Write a folder of phantoms in the layout of `DATA_DIR`, for tests and for trying the workflows without real scans."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from scripts.data.phantom_volume import PhantomModality, phantom_affine, phantom_volume
from scripts.data.records import DatasetRecord, Role, Split, load_records
from scripts.errors import InputError
from scripts.files import replacing

__all__ = ["PhantomModality", "phantom_affine", "phantom_volume", "write_phantom_tree"]

PUBLISHED = ("IXI", "Brats21", "MSLUB", "ATLAS_v2", "WMH")
INTENSITY_MAX = 254


@dataclass(frozen=True, kw_only=True)
class _Plan:
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    seed: int
    num_train: int
    num_val: int
    num_test: int
    num_folds: int

    @property
    def num_pool(self) -> int:
        """Number of subjects that the folds divide."""
        return self.num_train + self.num_val


def write_phantom_tree(
    root: str | Path,
    *,
    datasets: Sequence[str | DatasetRecord] | str = PUBLISHED,
    shape: Sequence[int] = (24, 24, 16),
    spacing: float | Sequence[float] = 2.0,
    num_train: int = 3,
    num_val: int = 2,
    num_test: int = 2,
    num_folds: int = 5,
    seed: int = 0,
    overwrite: bool = False,
    records_dir: str | Path | None = None,
) -> Path:
    """Write phantoms as NIfTI files and the split CSVs that go with them.

    Names, folders, modalities and splits follow the records. A healthy set has `num_train + num_val` subjects, of which
    every fold takes others for validation, and `num_test` test subjects; a lesion set has `num_val` and `num_test`
    cases. If a record lists the subjects with a modality and there are two training and two validation subjects or
    more, the last training subject of fold 0 lacks it. A set whose subjects belong to another one is made from that
    set's heads of the same split (fold 0).

    Args:
        root: folder to write; it becomes a `DATA_DIR`.
        datasets: records or their names; by default the five published sets.
        shape: voxels along x, y, z, at least 8 each.
        spacing: voxel size, mm; one for all axes or one each.
        num_train: training subjects in a fold.
        num_val: validation subjects in a fold, validation cases of a lesion set.
        num_test: test subjects, test cases of a lesion set.
        num_folds: number of folds.
        seed: seed of all phantoms.
        overwrite: whether files may be written into a folder that is not empty; other files in it are left alone.
        records_dir: folder of the records; by default the one that belongs to this package.

    Returns:
        The folder.

    Raises:
        InputError: if the folder is not empty, a record is unknown or names a modality that phantoms do not have.
        ValueError: if a number is out of its range.
    """
    for name, number in (("num_train", num_train), ("num_val", num_val), ("num_test", num_test)):
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"`{name}` must be a number from 1 on, got {number!r}")
    if num_folds not in range(1, num_train + num_val + 1):
        largest = num_train + num_val
        raise ValueError(f"`num_folds` must be from 1 to num_train + num_val = {largest}, got {num_folds!r}")
    root = Path(root)
    if root.exists() and not overwrite and (not root.is_dir() or any(root.iterdir())):
        raise InputError("is not an empty folder", path=root, fix="Choose another one or set `overwrite`")
    records = load_records(datasets, records_dir=records_dir)
    for record in records:
        if not set(record.modalities) <= set(PhantomModality):
            what = f"the modalities of {record.name} must be out of {', '.join(PhantomModality)}"
            raise InputError(f"{what}, got {', '.join(record.modalities)}")
    affine = phantom_affine(shape, spacing)
    plan = _Plan(
        shape=tuple(shape),
        affine=affine,
        seed=seed,
        num_train=num_train,
        num_val=num_val,
        num_test=num_test,
        num_folds=num_folds,
    )
    for record in records:
        _write_dataset(root, record, plan)
    return root


def _write_dataset(root: Path, record: DatasetRecord, plan: _Plan) -> None:
    names = [f"{record.name}-{number:03d}" for number in range(1, plan.num_pool + plan.num_test + 1)]
    pool, test = names[: plan.num_pool], names[plan.num_pool :]
    lacking = pool[-1:] if record.availability and min(plan.num_train, plan.num_val) > 1 else []
    members: dict[str, list[str]] = {}
    for fold in range(plan.num_folds):
        turned = pool[fold * plan.num_val % len(pool) :] + pool[: fold * plan.num_val % len(pool)]
        for split, subjects in zip(Split, (turned[plan.num_val :], turned[: plan.num_val], test), strict=True):
            if split in record.splits:
                members.setdefault(record.splits[split].format(fold=fold), subjects)
    written = list(dict.fromkeys(name for subjects in members.values() for name in subjects))
    rows = {
        name: _write_subject(root, record, plan, name, index=names.index(name), lacks_extra=name in lacking)
        for name in written
    }
    for file_name, subjects in members.items():
        _write_csv(root / "splits" / file_name, [rows[name] for name in subjects])
    for modality, file_name in record.availability.items():
        listed = [{"0": f"{name}_{modality}.nii.gz"} for name in written if name not in lacking]
        _write_csv(root / "splits" / file_name, listed)


def _write_subject(
    root: Path, record: DatasetRecord, plan: _Plan, name: str, *, index: int, lacks_extra: bool
) -> dict[str, str]:
    is_lesion = record.role is Role.LESION
    source = record.subject_source or record.name
    # Subjects are numbered alike in all sets, so this is a head of the same split of the source.
    head = name if source == record.name else f"{source}-{index + 1:03d}"
    first = record.modalities[0]
    img_path = f"/{record.folder}/{first}/{name}_{first}.nii.gz"
    row = {
        "img_name": name if is_lesion else f"{name}_{first}.nii.gz",
        "age": str(20 + crc32(head.encode()) % 60),
        "sex": "fm"[crc32(head.encode()) // 60 % 2],
        "label": str(int(is_lesion)),
        "img_path": img_path,
        "mask_path": f"/{record.folder}/mask/{name}_mask.nii.gz",
        "seg_path": f"/{record.folder}/seg/{name}_seg.nii.gz" if is_lesion else "",
    }
    row.setdefault(record.subject_column, f"{head}_{first}.nii.gz")
    seed = crc32(f"{plan.seed}/{head}".encode())
    for modality in record.modalities:
        if lacks_extra and modality in record.availability:
            continue
        image, brain_mask, label = phantom_volume(plan.shape, seed, modality, lesion=is_lesion)
        scaled = np.rint(image * INTENSITY_MAX).astype(np.uint8)
        _write_nifti(root / record.image_path(img_path, modality).lstrip("/"), scaled, plan.affine)
    _write_nifti(root / row["mask_path"].lstrip("/"), brain_mask, plan.affine)
    if is_lesion:
        _write_nifti(root / row["seg_path"].lstrip("/"), label, plan.affine)
    return row


def _write_nifti(path: Path, volume: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        nib.save(image, temporary)


def _write_csv(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write rows as the published files have them, with a row index in an unnamed first column."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["", *rows[0]])
        writer.writeheader()
        writer.writerows({"": str(number), **row} for number, row in enumerate(rows))
