"""What quality control says of lesions, of wrong contrasts and of wrong places."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.quality import QualityControld
from scripts.report.tables import markdown_table, write_json, write_text
from scripts.scans.volume import read_notes
from tools.quality.heads import find_brain, sample_on_template, set_into_scan
from tools.quality.lesions import CONTRASTS, KINDS, Lesion, misplaced, noises, paint, recoloured

__all__ = ["markdown_report", "prove_quality_control"]

_SHOWN = (
    "template_similarity",
    "fluid_contrast",
    "grey_white_contrast",
    "template_overlap",
    "noise_ratio",
    "brightness_span",
)


def markdown_report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of what was checked: a line for each set and kind, with the numbers' smallest and largest."""
    named = [{**row, **row["numbers"], "group": row["group"] if row["wanted"] else "made wrong"} for row in rows]
    cells = []
    for (group, modality, what), members in pd.DataFrame(named).groupby(["group", "modality", "what"], sort=False):
        spans = [_span(members, f"{modality}_{name}" if name.endswith("contrast") else name) for name in _SHOWN]
        cells.append([group, modality, what, len(members), members["refused"].sum(), *spans])
    return markdown_table(["scans", "modality", "what", "n", "refused", *_SHOWN], cells)


def _span(rows: pd.DataFrame, name: str) -> str:
    values = rows[name].dropna() if name in rows else ()
    return f"{min(values):.2f} to {max(values):.2f}" if len(values) else ""


logger = logging.getLogger(__name__)
_PUSHES_MM = (0.0, 4.0, 8.0)
_VOLUME_ML = (20.0, 250.0)
_STRIDE = 7919  # a prime, so that every scan takes its turn, from all over the list
_WRITE_EVERY = 20
Row = dict[str, Any]
Found = tuple[str, str, Path, Path]  # set, modality, image, mask


@dataclass(frozen=True)
class Scan:
    """A scan in memory: `image` and `brain` [H, W, D], `affine` voxel to world, `name`, `modality` and its `group`."""

    group: str
    name: str
    modality: str
    image: NDArray
    brain: NDArray[np.bool_]
    affine: NDArray


def prove_quality_control(
    sets: Sequence[str],
    *,
    shapes: str,
    heads: Sequence[str],
    folder: str,
    numbers: Mapping[str, int],
    wrong: int,
    seed: int,
) -> None:
    """Check healthy scans, the same with lesions of 20 to 250 ml set in, and the same made wrong; write the tables.

    The command `tools.quality.command.prove` says what each argument is; `numbers` of lesions go by modality.

    Raises:
        InputError: if there are no scans.
    """
    lesions = _LesionSource(_read_shapes(shapes), np.random.default_rng(seed))
    files = [found for name in sets for found in _find(Path(name))]
    if not files:
        raise InputError("`sets` must name folders with t1 or t2 and mask, got none with scans", path=", ".join(sets))
    rows: list[Row] = []
    for row in _all_rows(files, heads, lesions, numbers=numbers, wrong=wrong):
        rows.append(row)
        words = " ".join(str(row[name]) for name in ("group", "name", "modality", "what"))
        surprise = row["refused"] == row["wanted"]
        logger.log(logging.WARNING if surprise else logging.INFO, "%s: %s", words, row["reasons"] or "passed")
        if len(rows) % _WRITE_EVERY == 0:
            _write(Path(folder), rows)
    _write(Path(folder), rows)


def _read_shapes(path: str) -> NDArray[np.bool_]:
    try:
        return np.asarray(nib.load(path).dataobj) > 0  # type: ignore[attr-defined]
    except (OSError, nib.filebasedimages.ImageFileError) as error:
        raise InputError(f"the shapes cannot be read ({error})", path=path, fix="Give a 4D NIfTI.") from error


def _write(folder: Path, rows: list[Row]) -> None:
    write_json(folder / "quality_control.json", {"rows": rows})
    write_text(folder / "quality_control.md", markdown_report(rows))


def _all_rows(
    files: list[Found], heads: Sequence[str], lesions: _LesionSource, *, numbers: Mapping[str, int], wrong: int
) -> Iterator[Row]:
    for modality, number in numbers.items():
        own = [found for found in files if found[1] == modality]
        for k in range(number if own else 0):
            yield _check_lesion(_load(own[(k * _STRIDE) % len(own)]), lesions, k)
        for found in own[:: max(1, len(own) // max(wrong, 1))][:wrong]:
            yield from _check_wrong(_load(found))
    for found in files:
        yield _check(_load(found), "healthy", healthy=True)
    for k, head in enumerate(heads):
        yield from _check_head(Path(head), lesions, k)


@dataclass(frozen=True)
class _LesionSource:
    shapes: NDArray[np.bool_]
    rng: np.random.Generator

    def sample(self, k: int) -> tuple[Lesion, float, float]:
        """Return the k-th lesion on the template grid, its ml and its push, mm: blobs and real shapes in turn."""
        volume = float(np.exp(self.rng.uniform(*np.log(_VOLUME_ML))))
        push = _PUSHES_MM[k % len(_PUSHES_MM)]
        shape = self.shapes[..., self.rng.integers(self.shapes.shape[-1])] if k % 2 else None
        return sample_on_template(volume, self.rng, push_mm=push, shape=shape), volume, push


def _find(folder: Path) -> Iterator[Found]:
    for modality in ("t1", "t2"):
        for path in sorted((folder / modality).glob("*.nii.gz")):
            case = path.name.removesuffix(f"_{modality}.nii.gz")
            yield folder.name, modality, path, folder / "mask" / f"{case}_mask.nii.gz"


def _load(found: Found) -> Scan:
    group, modality, path, mask = found
    file: Any = nib.load(path)  # its declared type lacks what every image has
    brain = np.asarray(nib.load(mask).dataobj) > 0  # type: ignore[attr-defined]
    image = np.asarray(file.dataobj, dtype=np.float32)
    return Scan(group, path.name.split(".")[0], modality, image * brain, brain, file.affine)


def _case(scan: Scan) -> dict[Any, Any]:
    volumes: dict[str, NDArray] = {"image": scan.image.astype(np.float32)}
    if scan.brain.any():
        volumes["brain_mask"] = scan.brain.astype(np.uint8)
    affine = torch.as_tensor(scan.affine)
    case = {key: MetaTensor(torch.from_numpy(array.copy())[None], affine=affine) for key, array in volumes.items()}
    return {**case, "modality": scan.modality}


def _row(scan: Scan, what: str, case: dict[Any, Any], *, healthy: bool, **facts: Any) -> Row:
    checks = read_notes(QualityControld("image", force=True)(case))["quality"]["checks"]
    fatal = [check for check in checks if check["fatal"]]
    return {
        "group": scan.group,
        "name": scan.name,
        "modality": scan.modality,
        "what": what,
        "wanted": healthy,
        "refused": bool(fatal),
        "reasons": [check["text"] for check in fatal],
        "warnings": [check["name"] for check in checks if not check["passed"] and not check["fatal"]],
        "numbers": {check["name"]: check["value"] for check in checks},
        **facts,
    }


def _check(scan: Scan, what: str, *, healthy: bool, **facts: Any) -> Row:
    return _row(scan, what, _case(scan), healthy=healthy, **facts)


def _check_lesion(scan: Scan, lesions: _LesionSource, k: int) -> Row:
    lesion, volume, push = lesions.sample(k)
    kind = KINDS[scan.modality][k % len(KINDS[scan.modality])]
    to_voxel = np.linalg.inv(scan.affine[:3, :3])
    image = paint(scan.image, scan.brain, to_voxel, lesion, kind=kind, modality=scan.modality, rng=lesions.rng)
    return _check(replace(scan, image=image), str(kind), healthy=True, volume_ml=round(volume), push_mm=push)


def _check_wrong(scan: Scan) -> Iterator[Row]:
    other = "t2" if scan.modality == "t1" else "t1"
    yield _check(replace(scan, modality=other), f"{scan.modality} said to be {other}", healthy=False)
    yield _check(replace(scan, image=(float(scan.image.max()) - scan.image) * scan.brain), "inverted", healthy=False)
    for name, (levels, noise) in CONTRASTS.items():
        image = recoloured(scan.image, scan.brain, modality=scan.modality, levels=levels, noise=noise)
        for said in ("t1", "t2"):
            yield _check(replace(scan, image=image, modality=said), f"{name}, said to be {said}", healthy=False)
    for name, image in noises(scan.brain):
        yield _check(replace(scan, image=image), name, healthy=False)
    for name, image, brain in misplaced(scan.image, scan.brain):
        yield _check(replace(scan, image=image * brain, brain=brain), name, healthy=False)


def _check_head(path: Path, lesions: _LesionSource, k: int) -> list[Row]:
    """Check a head, and the same with a lesion where the first run found the brain to be."""
    file: Any = nib.load(path)
    modality = "t2" if "t2" in path.name.lower() else "t1"
    image = np.asarray(file.dataobj, dtype=np.float32)
    head = Scan("heads", path.name.split(".")[0], modality, image, np.zeros(image.shape, bool), file.affine)
    case = find_brain(image, file.affine, modality)
    rows = [_row(head, "healthy, with skull", case, healthy=True)]
    lesion, volume, push = lesions.sample(k)
    kind = KINDS[modality][k % len(KINDS[modality])]
    painted = set_into_scan(image, file.affine, case, lesion, kind=kind, modality=modality, rng=lesions.rng)
    ill = replace(head, image=painted)
    facts = {"volume_ml": round(volume), "push_mm": push}
    try:
        case = find_brain(painted, file.affine, modality)
        rows.append(_row(ill, f"{kind}, with skull", case, healthy=True, **facts))
    except InputError as error:
        reported = {"refused": True, "reasons": [str(error)], "warnings": [], "numbers": {}}
        rows.append({**rows[0], "what": f"{kind}, with skull", **facts, **reported})
    return rows
