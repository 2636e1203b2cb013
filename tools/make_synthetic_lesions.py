"""Set lesion shapes into healthy scans: `python -m tools.make_synthetic_lesions --help`."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from scripts.errors import InputError
from scripts.files import replacing
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.report.tables import write_csv, write_text

__all__ = ["add_lesion", "main", "make_synthetic_lesions"]

_LESION_PERCENTILE = {"t1": 3.0, "t2": 97.0}  # of the brain: towards the intensity of cerebrospinal fluid
_EDGE_SIGMA = 1.0  # voxels, of the soft edge
_TEXTURE_SIGMA = 1.5  # voxels
_TEXTURE = 0.1  # standard deviation, of the brain's interquartile range
_STRENGTH = (0.5, 0.9)  # how far towards that intensity


def add_lesion(
    image: NDArray[np.floating],
    brain_mask: NDArray[np.bool_],
    shape: NDArray[np.bool_],
    *,
    modality: str,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Blend a lesion into a scan: darker than the tissue in T1, brighter in T2, with a soft edge and some texture.

    It looks like a lesion to an intensity-based method, and has none of its effects on the tissue around: no swelling,
    no shift, no rim.

    Args:
        image: [H, W, D], zero outside the brain, any unit.
        brain_mask: [H, W, D].
        shape: [H, W, D], the lesion's voxels on the same grid; what lies outside the brain is cut off.
        modality: t1 or t2.
        rng: of strength and texture.

    Returns:
        The image, float32, and the lesion's label: voxels with at least half of its strength.

    Raises:
        InputError: for shapes that differ, an unknown modality, and a shape with no voxel in the brain.
    """
    from scipy import ndimage

    if modality not in _LESION_PERCENTILE:
        raise InputError(f"`modality` must be one of {', '.join(_LESION_PERCENTILE)}, got {modality!r}")
    if not image.shape == brain_mask.shape == shape.shape:
        shapes = f"{image.shape}, {brain_mask.shape} and {shape.shape}"
        raise InputError(f"`image`, `brain_mask` and `shape` must lie on one grid, got {shapes}")
    inside = shape & brain_mask
    if not inside.any():
        raise InputError("`shape` must have voxels in the brain, got none")
    brain = image[brain_mask]
    target = np.percentile(brain, _LESION_PERCENTILE[modality])
    spread = np.subtract(*np.percentile(brain, [75, 25]))
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape), _TEXTURE_SIGMA)
    texture = _TEXTURE * spread * noise / noise.std()
    weight = ndimage.gaussian_filter(inside.astype(np.float64), _EDGE_SIGMA) * brain_mask
    weight *= 1 / weight.max()
    strength = rng.uniform(*_STRENGTH)
    blended = image + strength * weight * (target + texture - image)
    return np.clip(blended, 0, None).astype(np.float32) * brain_mask, weight >= 0.5


logger = logging.getLogger(__name__)
_IN_BRAIN = 0.9  # share of a shape that must lie in the brain
_COLUMNS = ("img_name", "group", "label", "img_path", "mask_path", "seg_path")


def make_synthetic_lesions(
    shapes: PathText,
    output_dir: PathText,
    *,
    dataset: str,
    dataset_dir: PathText | None = None,
    modality: Literal["t1", "t2"] = "t1",
    split: Literal["train", "val", "test"] = "val",
    fold: Annotated[int, Field(ge=0, le=999)] = 0,
    name: str = "SyntheticLesions",
    per_scan: Annotated[int, Field(ge=1, le=1000)] = 4,
    min_ml: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5,
    max_ml: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0,
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0,
) -> None:
    """Write a lesion set for validation: healthy scans with lesion shapes blended in, labels, split and record.

    The result is a DATA_DIR of its own with Test/NAME/{MODALITY,mask,seg}, splits/NAME_SPLIT.csv and NAME.yaml, the
    record to name in `--datasets`. Shapes must lie on the scans' grid. Every shape is used once at most.

    Args:
        shapes: 4D NIfTI of lesion masks, [H, W, D, shapes], non-zero inside.
        output_dir: DATA_DIR to write; must be empty or not exist yet.
        dataset: record of the healthy set.
        dataset_dir: its DATA_DIR; by default that of the environment or of .env, else data.
        modality: t1 for dark lesions, t2 for bright ones.
        split: of the healthy scans, train, val or test; the new set has the same.
        fold: of the healthy set.
        name: of the new set.
        per_scan: lesion cases made of each scan, one shape each.
        min_ml: smallest shape to use, ml.
        max_ml: largest shape to use, ml.
        seed: of the choice of shapes, strengths and textures.

    Raises:
        InputError: if a file cannot be used, the folder is not empty, or there are too few shapes.
    """
    from scripts.data import data_dir, load_datalist

    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"`name` must be a name of letters, digits, - and _, got {name!r}")
    target = Path(output_dir)
    if target.exists() and any(target.iterdir()):
        raise InputError("the folder is not empty", path=target, fix="Give another one.")
    data = str(dataset_dir or data_dir())
    items = load_datalist(data, dataset, split, modality=modality, fold=fold)
    masks, voxel_ml = _read_shapes(shapes)
    rng = np.random.default_rng(seed)
    order = [int(k) for k in rng.permutation(masks.shape[-1]) if min_ml <= masks[..., k].sum() * voxel_ml <= max_ml]
    rows: list[dict[str, Any]] = []
    for item in items:
        image = _load(item["image"])
        brain = np.asarray(_load(item["brain_mask"] if "brain_mask" in item else item["image"]).dataobj) != 0
        if image.shape != masks.shape[:3]:
            what = f"the shapes lie on a grid of {masks.shape[:3]}, the scan on one of {image.shape}"
            raise InputError(what, path=item["image"], fix="Give shapes on the scans' grid.")
        for number in range(per_scan):
            shape = _next_shape(order, masks, brain, path=shapes)
            volume, label = add_lesion(image.get_fdata(), brain, shape, modality=modality, rng=rng)
            stem = f"{item['case']}_{number:02d}"
            rows.append(_write_case(target, name, stem, modality, volume, brain, label, image.affine))
            rows[-1]["group"] = Path(item["image"]).name
            logger.info("%s: %.1f ml", stem, label.sum() * voxel_ml)
    write_csv(target / "splits" / f"{name}_{split}.csv", rows, columns=_COLUMNS, for_people=False)
    record = {
        "name": name, "folder": f"Test/{name}", "role": "lesion", "pathology": "synthetic", "modalities": [modality],
        "splits": {split: f"{name}_{split}.csv"}, "subject_column": "group", "subject_source": dataset,
    }  # fmt: skip
    write_text(target / f"{name}.yaml", yaml.safe_dump(record, sort_keys=False))
    logger.info("%d cases of %d scans in %s; the record is %s", len(rows), len(items), target, target / f"{name}.yaml")


def _load(path: str) -> Any:  # its declared type lacks what every image has
    import nibabel as nib

    return nib.load(path)


def _read_shapes(path: str) -> tuple[NDArray[np.bool_], float]:
    from nibabel.filebasedimages import ImageFileError

    try:
        image = _load(path)
        masks = np.asarray(image.dataobj) > 0
    except (OSError, ImageFileError) as error:
        raise InputError(f"the shapes cannot be read ({error})", path=path, fix="Give a 4D NIfTI.") from error
    if masks.ndim != 4:
        what = f"the shapes must be [H, W, D, shapes], got {masks.shape}"
        raise InputError(what, path=path, fix="Give a 4D NIfTI.")
    return masks, float(abs(np.linalg.det(image.affine[:3, :3])) / 1000)


def _next_shape(
    order: list[int], masks: NDArray[np.bool_], brain: NDArray[np.bool_], *, path: str
) -> NDArray[np.bool_]:
    """Take the next shape off the list that lies in this brain."""
    for k in order:
        shape = masks[..., k]
        if (shape & brain).sum() >= _IN_BRAIN * shape.sum():
            order.remove(k)
            return shape
    raise InputError("there are too few shapes for that many cases", path=path, fix="Lower --per_scan.")


def _write_case(
    target: Path,
    name: str,
    stem: str,
    modality: str,
    volume: NDArray[np.float32],
    brain: NDArray[np.bool_],
    label: NDArray[np.bool_],
    affine: NDArray[np.float64],
) -> dict[str, Any]:
    import nibabel as nib

    arrays = {modality: volume, "mask": brain.astype(np.uint8), "seg": label.astype(np.uint8)}
    paths = {}
    for kind, array in arrays.items():
        relative = f"Test/{name}/{kind}/{stem}_{kind}.nii.gz"
        with replacing(target / relative) as temporary:
            nib.save(nib.Nifti1Image(array, affine), temporary)
        paths[kind] = f"/{relative}"
    columns = {"img_path": paths[modality], "mask_path": paths["mask"], "seg_path": paths["seg"]}
    return {"img_name": stem, "label": 1, **columns}


def main() -> None:
    """Run `make_synthetic_lesions` from the command line."""
    run_command(make_synthetic_lesions)


if __name__ == "__main__":
    main()
