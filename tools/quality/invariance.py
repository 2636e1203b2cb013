"""Measure what other intensities and voxels do to results: `python -m tools.quality.invariance SCANS`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scripts.cli.analyze import analyze
from scripts.errors import InputError, ScansFailedError, reason
from scripts.options.command import run_command
from scripts.options.fields import Paths, PathText
from scripts.report.tables import format_number, markdown_table, write_json, write_text

if TYPE_CHECKING:
    import nibabel as nib

__all__ = ["compare", "main", "measure_invariance"]

logger = logging.getLogger(__name__)
_PLAIN = "unmodified"
_SAVED = ["anomaly_map", "lesion_mask", "brain_mask"]
_QUIET = {"picture": False, "report": False, "progress": False}
Row = dict[str, Any]


def measure_invariance(
    scans: Paths,
    *,
    output_dir: PathText = "runs/invariance",
    num_samples: Annotated[int, Field(ge=1, le=1000)] = 2,
    intensities: bool = True,
    voxels: bool = True,
    lesion_ml: Annotated[float, Field(gt=0, le=300)] | None = None,
    seed: Annotated[int, Field(ge=0)] = 3141,
) -> None:
    """Analyse scans and altered copies of them, compare the results, and write invariance.json and invariance.md.

    Copies have another scale or offset (x 1e-6, x 1e6, z-score, [-1, 1], -1024; of stripped scans also z-scored inside
    the brain, and NaN around it), voxels of 0.5 mm with white noise, or 25 slices of 6 mm. Results are compared on the
    grid of the scan, in the brain of the unmodified one: Dice of the candidate regions at the default threshold, and
    correlation of the anomaly maps.

    Args:
        scans: NIfTI files, T1w or T2w by name.
        output_dir: folder of the two files.
        num_samples: reconstructions of each slice.
        intensities: whether to measure other intensities.
        voxels: whether to measure other voxels.
        lesion_ml: volume of a lesion that is set into the brain first (dark in T1, bright in T2), as healthy scans have
            little that is marked; none if not given.
        seed: of the lesion's place and shape, which differ by scan.

    Raises:
        InputError: if there are no scans, or an unmodified one has no result.
    """
    from scripts.data import find_scans
    from scripts.data.folders import check_writable

    check_writable(output_dir)
    rows: list[Row] = []
    for number, item in enumerate(find_scans(scans)):
        path, modality = Path(item["image"]), item["modality"]
        image = _with_lesion(path, modality, lesion_ml, np.random.default_rng([seed, number]))
        rows += _of_scan(path, image, modality, num_samples, intensities=intensities, voxels=voxels)
        write_json(Path(output_dir) / "invariance.json", {"num_samples": num_samples, "rows": rows})
        write_text(Path(output_dir) / "invariance.md", _table(rows))


def _with_lesion(path: Path, modality: str, volume_ml: float | None, rng: np.random.Generator) -> Any:
    """Return a scan, with a lesion in its brain where a volume is given."""
    import nibabel as nib

    image: Any = nib.load(path)
    if volume_ml is None:
        return image
    from tools.quality.heads import find_brain, sample_on_template, set_into_scan
    from tools.quality.lesions import Kind

    voxels = np.asarray(image.dataobj, dtype=np.float32)
    case, lesion = find_brain(voxels, image.affine, modality), sample_on_template(volume_ml, rng)
    kind = Kind.DARK if modality == "t1" else Kind.BRIGHT
    painted = set_into_scan(voxels, image.affine, case, lesion, kind=kind, modality=modality, rng=rng)
    return nib.Nifti1Image(painted, image.affine)


def _of_scan(path: Path, image: Any, modality: str, num_samples: int, *, intensities: bool, voxels: bool) -> list[Row]:
    import nibabel as nib

    from tools.quality.alterations import Copy, finer, intensity_copies, thicker

    plain = Copy(_PLAIN, nib.Nifti1Image(np.asarray(image.dataobj, dtype=np.float32), image.affine))
    with tempfile.TemporaryDirectory() as folder:
        copies = [plain, *(intensity_copies(image) if intensities else ())]
        copies += [finer(image), thicker(image)] if voxels else []
        places = {}
        for number, copy in enumerate(copies):
            places[copy.name] = Path(folder, f"{number}_{modality}.nii.gz")
            nib.save(copy.image, places[copy.name])
        names = [copy.name for copy in copies]
        del copies
        try:
            files = [str(file) for file in places.values()]
            analyze(files, f"{folder}/out", modality=modality, num_samples=num_samples, save=_SAVED, **_QUIET)
        except Exception as error:
            if not isinstance(reason(error), ScansFailedError):
                raise
        found = {name: _read(places[name], Path(folder, "out"), modality) for name in names}
    unmodified = found[_PLAIN]
    if unmodified is None:
        raise InputError("the unmodified scan has no result", path=path)
    rows = [{"scan": path.name, "copy": name, **compare(unmodified, found[name])} for name in names[1:]]
    for row in rows:
        logger.info("%s", row)
    return rows


def _read(path: Path, out: Path, modality: str) -> dict[str, nib.Nifti1Image] | None:
    """Return the images of a result in memory, or None where there is none."""
    import nibabel as nib

    from scripts.data import find_scans
    from scripts.results import result_path

    (item,) = find_scans(str(path), modality=modality)
    places = {name: result_path(out, item, name) for name in _SAVED}
    if not all(place.is_file() for place in places.values()):
        return None
    images: dict[str, Any] = {name: nib.load(place) for name, place in places.items()}
    return {name: nib.Nifti1Image(image.get_fdata(dtype=np.float32), image.affine) for name, image in images.items()}


def compare(plain: Mapping[str, nib.Nifti1Image], other: Mapping[str, nib.Nifti1Image] | None) -> Row:
    """Return how alike the results of two scans of one head are, on the grid of the first.

    Args:
        plain: `anomaly_map`, `lesion_mask` and `brain_mask` of the unmodified scan.
        other: those of the copy; None if it was refused.

    Returns:
        `dice` of the candidate regions (1 where both mark nothing), `correlation` of the anomaly maps in the first
        brain, `brain_dice`, and the volume marked in both, `plain_ml` and `copy_ml`. The numbers of a copy without a
        result are None.
    """
    from scripts.brain_extraction.extract import volume_ml

    brain, marked = (np.asarray(plain[name].dataobj) > 0 for name in ("brain_mask", "lesion_mask"))
    affine = plain["brain_mask"].affine
    plain_ml = volume_ml(marked, affine)
    if other is None:
        return {"dice": None, "correlation": None, "brain_dice": None, "plain_ml": plain_ml, "copy_ml": None}
    target = plain["brain_mask"]
    other_brain, other_marked = (_moved(other[name], target, 0) > 0 for name in ("brain_mask", "lesion_mask"))
    anomaly = _moved(other["anomaly_map"], target, 1)
    return {
        "dice": _dice(marked, other_marked),
        "correlation": float(np.corrcoef(np.asarray(plain["anomaly_map"].dataobj)[brain], anomaly[brain])[0, 1]),
        "brain_dice": _dice(brain, other_brain),
        "plain_ml": plain_ml,
        "copy_ml": volume_ml(other_marked, affine),
    }


def _moved(image: nib.Nifti1Image, target: nib.Nifti1Image, order: int) -> NDArray:
    from nibabel.processing import resample_from_to

    if image.shape == target.shape and np.allclose(image.affine, target.affine, atol=1e-4):
        return np.asarray(image.dataobj)
    return np.asarray(resample_from_to(image, target, order=order).dataobj)


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:

    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else 1.0


def _table(rows: list[Row]) -> str:
    header = ["scan", "copy", "Dice", "correlation", "brain, Dice", "marked, ml", "in the copy, ml"]
    names = ("dice", "correlation", "brain_dice", "plain_ml", "copy_ml")
    cells = [[row["scan"], row["copy"], *(format_number(row[name]) for name in names)] for row in rows]
    return markdown_table(header, cells)


def main() -> None:
    """Run the command line."""
    run_command(measure_invariance)


if __name__ == "__main__":
    main()
