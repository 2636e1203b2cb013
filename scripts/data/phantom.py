"""Write a folder of phantoms in the layout of `DATA_DIR`, for tests and for trying the workflows without real scans."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from zlib import crc32

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scripts.data.records import DatasetRecord, Role, Split, load_records
from scripts.errors import InputError, check_choice, check_whole
from scripts.files import replacing
from scripts.options.choices import Modality

__all__ = ["phantom_affine", "phantom_volume", "write_phantom_tree"]

BRAIN_CENTRE_MM = (-1.0, -19.0, 7.0)
MIN_SIZE = 8
_MAX_SIZE = 512


# Mean intensity of white matter, cortex, fluid and lesion.
CONTRAST = {Modality.T1: (0.85, 0.60, 0.20, 0.30), Modality.T2: (0.35, 0.50, 0.90, 0.75)}


def phantom_volume(
    shape: Sequence[int] = (24, 24, 16),
    seed: int = 0,
    modality: str = Modality.T1,
    *,
    lesion: bool = False,
    lesion_radius: float = 0.25,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Make a skull-stripped head phantom: a folded cortex, white matter, two ventricles, texture and a bias field.

    A seed fixes the anatomy: both modalities of a seed, with or without lesion, show the same head. The lesion lies in
    one hemisphere, is dark in T1 and bright in T2, and changes nothing outside of its label.

    Args:
        shape: voxels along x, y, z, at least 8 each.
        seed: seed of the anatomy, the texture and the lesion's place.
        modality: t1 or t2.
        lesion: whether there is a lesion.
        lesion_radius: mean semi-axis of the lesion in units of the brain's semi-axes, above 0 and at most 0.4.

    Returns:
        Image, float32 in [0, 1], exactly 0 outside the brain and at least 0.05 in it; brain mask and lesion label,
        uint8, 0 or 1. All of the shape `shape`.

    Raises:
        InputError: if an argument is out of its range.
    """
    size = _check_shape(shape)
    contrast = CONTRAST[check_choice(Modality, modality, "modality")]
    if not 0 < lesion_radius <= 0.4:
        raise InputError(f"`lesion_radius` must be above 0 and at most 0.4, got {lesion_radius!r}")
    anatomy, texture, place = (np.random.default_rng([seed, stream]) for stream in range(3))
    position = _brain_coordinates(size, anatomy)
    brain = np.linalg.norm(position, axis=0) <= 1
    white, cortex, fluid, injured = contrast
    image = np.where(_white_matter(position, anatomy), white, cortex)
    image = np.where(_ventricles(position, anatomy), fluid, image)
    label = _lesion(position, place, radius=lesion_radius) & brain
    if lesion:
        image = np.where(label, injured, image)
    image = image * (1 + 0.04 * _smooth_noise(size, texture, 0.25)) + 0.02 * _smooth_noise(size, texture, 0.03)
    image = np.where(brain, np.clip(image, 0.05, 1), 0)
    return image.astype(np.float32), brain.astype(np.uint8), (label & lesion).astype(np.uint8)


def phantom_affine(shape: Sequence[int] = (24, 24, 16), spacing: float | Sequence[float] = 2.0) -> NDArray[np.float64]:
    """Return the RAS affine that puts the centre of a phantom where MNI152 has the brain's centre, (-1, -19, 7) mm.

    For 96 x 96 x 80 voxels of 2 mm that is the grid of the template, with its origin at (-96, -114, -72) mm.

    Args:
        shape: voxels along x, y, z, at least 8 each.
        spacing: voxel size, mm; one for all axes or one each.

    Returns:
        4 x 4 matrix, voxel index to mm.

    Raises:
        InputError: if an argument is out of its range.
    """
    size = _check_shape(shape)
    steps = [*spacing] if isinstance(spacing, Sequence) else [spacing] * 3
    if len(steps) != 3 or not all(isinstance(step, int | float) and 0 < step < np.inf for step in steps):
        raise InputError(f"`spacing` must be one or three lengths in mm above 0, got {spacing!r}")
    affine = np.diag([*map(float, steps), 1.0])
    affine[:3, 3] = np.array(BRAIN_CENTRE_MM) - affine.diagonal()[:3] * (np.array(size) - 1) / 2
    return affine


def _check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    valid = isinstance(shape, Sequence) and len(shape) == 3
    if not valid or not all(isinstance(n, Integral) and n >= MIN_SIZE for n in shape):
        raise InputError(f"`shape` must be three numbers of voxels from {MIN_SIZE} on, got {shape!r}")
    if max(shape) > _MAX_SIZE:
        raise InputError(f"`shape` must be at most {_MAX_SIZE} voxels along each axis, got {shape!r}")
    return int(shape[0]), int(shape[1]), int(shape[2])


def _brain_coordinates(size: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return x, y, z of every voxel, [3, X, Y, Z], in units of the brain's semi-axes, 0 at its centre."""
    semi_axes = 0.42 * np.array(size) * rng.uniform(0.96, 1.04, 3)
    centre = (np.array(size) - 1) / 2
    return (np.indices(size) - centre[:, None, None, None]) / semi_axes[:, None, None, None]


def _white_matter(position: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    x, y, z = position
    phase = rng.uniform(0, 2 * np.pi, 2)
    folds = np.sin(6 * np.arctan2(y, x) + phase[0]) * np.cos(5 * z + phase[1])
    return np.linalg.norm(position, axis=0) < 0.76 + 0.06 * folds


def _ventricles(position: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    x, y, z = position
    semi_axes = np.array([0.12, 0.36, 0.22]) * rng.uniform(0.85, 1.15, 3)
    distance = ((np.abs(x) - 0.16) / semi_axes[0]) ** 2 + (y / semi_axes[1]) ** 2 + ((z - 0.1) / semi_axes[2]) ** 2
    return distance <= 1


def _lesion(position: NDArray[np.float64], rng: np.random.Generator, *, radius: float) -> NDArray[np.bool_]:
    centre = rng.uniform([0.42, -0.35, -0.2], [0.5, 0.35, 0.3]) * [rng.choice([-1, 1]), 1, 1]
    semi_axes = radius * rng.uniform(0.85, 1.15, 3)
    distance = np.linalg.norm((position - centre[:, None, None, None]) / semi_axes[:, None, None, None], axis=0)
    # The voxel nearest to the centre belongs to the lesion however small it is.
    return distance <= max(1.0, float(distance.min()))


def _smooth_noise(size: tuple[int, int, int], rng: np.random.Generator, width: float) -> NDArray[np.float64]:
    """Return noise of standard deviation 1 that is smooth over `width` of every axis."""
    noise = gaussian_filter(rng.standard_normal(size), [width * n for n in size], mode="wrap")
    return noise / max(float(noise.std()), np.finfo(float).tiny)


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

    Returns:
        The folder.

    Raises:
        InputError: if the folder is not empty, a record is unknown or names a modality that phantoms do not have.
        InputError: if a number is out of its range.
    """
    for name, number in (("num_train", num_train), ("num_val", num_val), ("num_test", num_test)):
        check_whole(number, name, least=1)
    if num_folds not in range(1, num_train + num_val + 1):
        largest = num_train + num_val
        raise InputError(f"`num_folds` must be from 1 to num_train + num_val = {largest}, got {num_folds!r}")
    root = Path(root)
    if root.exists() and not overwrite and (not root.is_dir() or any(root.iterdir())):
        raise InputError("is not an empty folder", path=root, fix="Choose another one or set `overwrite`")
    records = load_records(datasets)
    for record in records:
        if not set(record.modalities) <= set(Modality):
            what = f"the modalities of {record.name} must be out of {', '.join(Modality)}"
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
