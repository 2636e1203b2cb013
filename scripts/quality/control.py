"""Refuse scans whose result would mean nothing, and say why."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from numpy.typing import NDArray
from scripts.data.inputs.modality import contrast_agent_of
from scripts.errors import InputError
from scripts.quality.bounds import BOUNDS, Check, judge
from scripts.quality.measures import MIN_VOXELS, TissueFit, measure_on_template, measure_scan
from scripts.registration.fit import AS_THE_HEADER_SAYS
from scripts.registration.template import load_template
from scripts.scans.volume import add_note, read_notes, source_path

__all__ = ["QualityControld", "ScanRefused", "picture_geometry"]

logger = logging.getLogger(__name__)
# Words of the reader for headers whose two ways to state the orientation contradict each other about left and right.
_SIDES_IN_DOUBT = ("disagree", "mirror each other")
_OVERLAP = "template_overlap"
_WELL_PLACED = 0.9  # overlap from which on grey and white matter lie where the template has them


class ScanRefused(InputError):  # noqa: N818 - what it reports is an answer, not a mistake
    """Report that quality control refuses a scan.

    Args:
        reasons: what is wrong, one text for each failed check.
        path: the scan's file.
        data: the dict of the case as it was when it was refused, for a picture.

    The reasons, the case and its notes are kept as `reasons`, `data` and `notes`.
    """

    def __init__(  # noqa: B042 - it does not leave its process
        self, reasons: list[str], *, path: Path | None, data: dict[Hashable, Any]
    ) -> None:
        """Compose the message from the reasons."""
        super().__init__(
            f"refused by quality control: {'; '.join(reasons)}",
            path=path,
            fix="Look at the scan, or at quality.png; --force true runs it all the same",
        )
        self.reasons = list(reasons)
        self.data = data
        self.notes = read_notes(data)


class QualityControld(MapTransform, InvertibleTransform):
    """Measure a brain-only scan that is aligned to the template, and refuse it where a bound says so.

    Voxels of `brain_mask` [1, H, W, D] above 0 count; without a `modality` the contrast is not checked.

    What is measured, the bounds and the reasons for them stand in `scripts.quality.bounds.BOUNDS`; the header's
    orientation, the one that the alignment found, and a contrast agent in the file's name are checked besides. A lesion
    refuses no scan: how tissues look is judged where the brain is normal (`tissue_fit`).

    The note `quality` gets `passed` (no check refused the scan), `forced` (it goes on although one did) and `checks`, a
    list of `Check` as dicts. Failed checks that do not refuse a scan are logged as warnings. Data pass through
    unchanged, both ways.

    Which side is left cannot be seen in a brain: a mirrored scan is caught only if its header contradicts itself. The
    contrast of fluid is checked only where the brain overlaps with the template's enough not to be refused, that of
    grey and white matter only where it overlaps by a Dice of 0.9.

    Args:
        keys: the image [1, H, W, D], 0 outside the brain, whose affine leads to MNI world.
        force: whether a scan that would be refused goes on.
        enabled: whether anything is measured at all.

    Raises:
        TypeError: on calling, if the image carries no affine.
        ScanRefused: on calling, if a check refuses the scan and `force` is off.
    """

    def __init__(self, keys: KeysCollection, *, force: bool = False, enabled: bool = True) -> None:
        super().__init__(keys)
        self.force = force
        self.enabled = enabled

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the note, or raise."""
        result = dict(data)
        for key in self.key_iterator(result) if self.enabled else ():
            image = result[key]
            if not isinstance(image, MetaTensor):
                raise TypeError(f"`{key}` must be a MetaTensor with an affine, got {type(image).__name__}.")
            checks = self._checks(result, image)
            reasons = [check.text for check in checks if check.fatal]
            add_note(
                result,
                "quality",
                passed=not reasons,
                forced=bool(reasons) and self.force,
                checks=[asdict(check) for check in checks],
            )
            path = source_path(image)
            if reasons and not self.force:
                raise ScanRefused(reasons, path=path, data=result)
            for check in checks:
                if not check.passed:
                    logger.warning("%s: %s%s.", path or key, check.text, " (forced)" if check.fatal else "")
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it is."""
        return dict(data)

    def _checks(self, data: Mapping[Hashable, Any], image: MetaTensor) -> list[Check]:
        alignment = read_notes(data).get("alignment", {})
        to_template = _world_to_template(data)
        volume, mask = (torch.as_tensor(item)[0].cpu().numpy() for item in (image, data["brain_mask"]))
        mask = mask > 0
        affine = np.linalg.solve(to_template, np.asarray(image.affine, dtype=np.float64))  # to the scan's own world
        checks = [_header_check(image.meta), *_agent_check(source_path(image)), *_orientation_check(alignment)]
        numbers = measure_scan(volume, mask, affine)
        checks += [judge(name, value) for name, value in numbers.items()]
        if np.count_nonzero(mask) < MIN_VOXELS or numbers["noise_ratio"] == np.inf:
            return checks  # nothing to compare with the template
        numbers, fit = measure_on_template(volume, mask, affine, to_template)
        checks += [judge(name, value) for name, value in numbers.items()]
        overlap = next(check for check in checks if check.name == _OVERLAP)
        if not overlap.fatal:
            placed = (overlap.value or 0.0) >= _WELL_PLACED
            checks += self._contrast_checks(str(data.get("modality", "")), fit, well_placed=placed)
        return checks

    def _contrast_checks(self, modality: str, fit: TissueFit | None, *, well_placed: bool) -> list[Check]:
        if fit is None or f"{modality}_fluid_contrast" not in BOUNDS:
            return []
        reason = _contrast_reason(modality, fit, well_placed=well_placed)
        values = {"fluid": fit.fluid} | ({"grey_white": fit.grey_white} if well_placed else {})
        checks = []
        for tissue, value in values.items():
            name = f"{modality}_{tissue}_contrast"
            checks.append(judge(name, value, fatal_reason=reason))
            if checks[-1].fatal:  # a scan of another kind contradicts in both, and is reported once
                break
        return checks


def picture_geometry(data: Mapping[Hashable, Any]) -> dict[str, NDArray]:
    """Return where a case and the template lie to each other, by the names that `draw_quality_picture` has for it.

    Args:
        data: a case with its notes, such as `ScanRefused.data`; the affine of its `image` leads to MNI world.

    Returns:
        `affine`, voxel to the scan's own world [4, 4]; `template` [96, 96, 80]; `template_affine`, its voxel to that
        same world; mm.
    """
    template, to_template = load_template(), _world_to_template(data)
    return {
        "affine": np.linalg.solve(to_template, np.asarray(data["image"].affine, dtype=np.float64)),
        "template": template.image,
        "template_affine": np.linalg.solve(to_template, template.affine),
    }


def _world_to_template(data: Mapping[Hashable, Any]) -> NDArray[np.float64]:
    found = read_notes(data).get("alignment", {}).get("world_to_template")
    return np.eye(4) if found is None else np.asarray(found, dtype=np.float64)


def _contrast_reason(modality: str, fit: TissueFit, *, well_placed: bool) -> str | None:
    """Say what kind of scan the contrast looks like, where that is not its modality."""
    if fit.fluid > 0:
        kind, looks, fix = "t2", "T2-weighted (fluid is bright)", "give --modality t2"
    elif well_placed and fit.grey_white > (BOUNDS["t1_grey_white_contrast"].refuse[1] or 0.0):
        looks = "like FLAIR or CT (fluid is dark, grey matter no darker than white)"
        kind, fix = "other", "there are no weights for that"
    else:
        looks, fix = "T1-weighted (fluid is dark, white matter brighter than grey)", "give --modality t1"
        kind = "t1"
    return None if kind == modality else f"the contrast looks {looks}, but the modality is {modality}: {fix}"


def _header_check(meta: Mapping[str, Any]) -> Check:
    problems, remarks = (str(meta.get(name) or "") for name in ("header_problems", "header_notes"))
    if problems:
        fatal = any(words in problems for words in _SIDES_IN_DOUBT)
        return Check(name="header", text=problems, passed=False, fatal=fatal)
    return Check(name="header", text="orientation in the header" + (f" ({remarks})" if remarks else ""))


def _agent_check(path: Path | None) -> list[Check]:
    word = contrast_agent_of(path) if path else None
    if word is None:
        return []
    text = (
        f"the name ({word!r}) says contrast agent: the network knows scans without one, so that vessels and "
        "tissue that takes it up may be marked"
    )
    return [Check(name="contrast_agent", text=text, passed=False)]


def _orientation_check(alignment: Mapping[str, Any]) -> list[Check]:
    found = alignment.get("orientation")
    if not found:
        return []
    if found == AS_THE_HEADER_SAYS:
        return [Check(name="orientation", text="orientation of the brain, as the header says")]
    text = (
        f"the brain does not lie as the header says: {found}. Correct the header; forced, the scan goes on with the "
        "orientation that was found"
    )
    return [Check(name="orientation", text=text, passed=False, fatal=True)]
