"""Put a brain on the template by writing an affine into its header, without touching a voxel."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scripts.errors import InputError, check_choice
from scripts.options.choices import Alignment
from scripts.registration.fit import (
    AS_THE_HEADER_SAYS,
    Fit,
    Orientation,
    fit_quality,
    fit_to_template,
    header_fit,
    mean_shift_mm,
    rigid_between,
)
from scripts.registration.register import Scan, place, prepare_scan
from scripts.registration.template import mask_dice, masked_correlation
from scripts.scans.volume import add_note, as_float32, read_notes, source_path

__all__ = ["T1_TO_TEMPLATE", "AlignCased", "AlignToTemplated", "Alignment", "SessionFit", "align_sessions"]

logger = logging.getLogger(__name__)
STEP = "alignment"


class AlignToTemplated(MapTransform, InvertibleTransform):
    """Place brain-only images [1, H, W, D] on MNI152: their affines are multiplied by one of world to MNI world.

    What is aligned is `image`, 0 outside of `brain_mask`; of a T2 (`modality`), `t1` is the brain-only T1 of the same
    session, dropped afterwards. No voxel changes; the step that resamples comes later, so that a scan is interpolated
    once. `Invertd` gives each image the affine that it came with, to the last bit. What was found is noted under
    `alignment`:

    - `method`: `header` (it lies on the template already and stays as it is), `affine`, `affine through the t1`
      (a T2 whose data hold the T1 of the same session) or `never`;
    - `world_to_template`: scan world to MNI world, 4 rows of 4, RAS mm;
    - `similarity`, `overlap`, `seen_share`: see `scripts.registration.fit.Quality`;
    - `shift_mm`: how far the affine that was found moves the brain on average, whether it was used or not;
    - `orientation`, `header_similarity`, `orientation_gain`: see `scripts.registration.fit.Orientation`.

    Args:
        keys: images, masks and labels of one grid.
        mode: `auto` leaves a scan alone that lies on the template already, `always` aligns it nevertheless, `never`
            only measures, as far as there is something to measure.
        max_shift_mm: up to which mean shift of the brain (mm) a scan counts as lying on the template.
        seed: seed of the registrations' sampling.
        allow_missing_keys: whether a key may be absent.

    Raises:
        InputError: if `mode` is unknown or `max_shift_mm` negative.
        TypeError: on calling, if the image carries no affine.
        InputError: on calling, if the scan cannot be aligned.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mode: Alignment | str = Alignment.AUTO,
        max_shift_mm: float = 4.0,
        seed: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if max_shift_mm < 0:
            raise InputError(f"`max_shift_mm` must be at least 0, got {max_shift_mm}.")
        self.mode = check_choice(Alignment, mode, "mode")
        self.max_shift_mm = max_shift_mm
        self.seed = seed

    def _fit(self, data: Mapping[Hashable, Any], scan: Scan) -> tuple[str, Fit]:
        if self.mode is Alignment.NEVER:
            return "never", header_fit(scan)
        t1 = data.get("t1")
        if t1 is None or data.get("modality", "t2") != "t2":
            return "affine", fit_to_template(scan, seed=self.seed)
        t1_scan = _scan(t1, t1 != 0)
        t1_fit = fit_to_template(t1_scan, seed=self.seed)
        known = read_notes(data).get("brain_extraction", {}).get("t2_to_t1")
        to_t1 = rigid_between(scan, t1_scan, seed=self.seed) if known is None else np.asarray(known, dtype=np.float64)
        return "affine through the t1", Fit(t1_fit.transform @ to_t1, t1_fit.orientation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with affines in MNI world and the note, without the T1."""
        result = dict(data)
        try:
            scan = _scan(result["image"], result["brain_mask"])
            method, fit = self._fit(result, scan)
        except InputError as error:
            if self.mode is Alignment.NEVER:
                return self._leave(result)
            raise InputError(error.what, path=source_path(result["image"]), fix=error.fix) from error
        transform, shift = fit.transform, mean_shift_mm(fit.transform, scan)
        turned = fit.orientation.text != AS_THE_HEADER_SAYS
        if self.mode is Alignment.AUTO and not turned and shift <= self.max_shift_mm:
            method, transform = "header", np.eye(4)
        if turned:
            logger.warning("%s: %s.", source_path(result["image"]) or "image", fit.orientation.text)
        for key in self.key_iterator(result):
            result[key] = self._move(result[key], transform)
        add_note(
            result,
            STEP,
            method=method,
            world_to_template=transform.tolist(),
            shift_mm=shift,
            **asdict(fit_quality(scan, transform)),
            orientation=fit.orientation.text,
            header_similarity=fit.orientation.header_similarity,
            orientation_gain=fit.orientation.gain,
        )
        result.pop("t1", None)
        return result

    def _leave(self, result: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a case where it is, although it is too small or too flat to be measured."""
        for key in self.key_iterator(result):
            result[key] = self._move(result[key], np.eye(4))
        add_note(result, STEP, method="never", world_to_template=np.eye(4).tolist())
        result.pop("t1", None)
        return result

    def _move(self, image: MetaTensor, transform: NDArray) -> MetaTensor:
        own = image.affine.clone()
        moved = image.clone()
        if not np.array_equal(transform, np.eye(4)):
            moved.affine = torch.as_tensor(transform) @ own.to(torch.float64)
        return self.push_transform(moved, extra_info={"affine": own})

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the affines that the images came with."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key].clone()
            image.affine = self.pop_transform(image)["extra_info"]["affine"]
            result[key] = image
        return result


def _scan(image: torch.Tensor, mask: torch.Tensor) -> Scan:
    if not isinstance(image, MetaTensor):
        raise TypeError(f"the image must be a MetaTensor with an affine, got {type(image).__name__}.")
    affine = np.asarray(image.affine, dtype=np.float64)
    return prepare_scan(as_float32(image[0]), as_float32(mask[0]), affine)


T1_TO_TEMPLATE = "t1_to_template"


class _Follow(AlignToTemplated):
    """Place a T2 by its motion to the T1 and the T1's own affine."""

    def _fit(self, data: Mapping[Hashable, Any], scan: Scan) -> tuple[str, Fit]:
        to_t1 = np.asarray(read_notes(data)["brain_extraction"]["t2_to_t1"], dtype=np.float64)
        transform = np.asarray(data[T1_TO_TEMPLATE], dtype=np.float64) @ to_t1
        return "affine through the t1", Fit(transform, Orientation(transform, 0.0, 0.0, AS_THE_HEADER_SAYS))


class AlignCased(AlignToTemplated):
    """`AlignToTemplated` that takes the T1's affine where the case brings it, so that both scans overlay.

    A case brings it as `t1_to_template`, T1 world to MNI world, 4 rows of 4, beside the T2's note `t2_to_t1` of the
    brain extraction. Without, or with `mode` never, it does what `AlignToTemplated` does.

    Args:
        keys: images, masks and labels of one grid.
        mode: auto, always or never.
        **options: others of `AlignToTemplated`.
    """

    def __init__(self, keys: KeysCollection, *, mode: Alignment | str = Alignment.ALWAYS, **options: Any) -> None:
        super().__init__(keys, mode=mode, **options)
        self.follow = _Follow(keys, mode=Alignment.ALWAYS, **options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with affines in MNI world and the note `alignment`, without the T1 and its affine."""
        known = T1_TO_TEMPLATE in data and "t2_to_t1" in read_notes(data).get("brain_extraction", {})
        follows = known and self.mode is not Alignment.NEVER
        result = self.follow(data) if follows else super().__call__(data)
        result.pop(T1_TO_TEMPLATE, None)
        return result


_MIN_OVERLAP = 0.9
_MIN_SIMILARITY = 0.75
_HALF = 0.5


@dataclass(frozen=True)
class SessionFit:
    """Where a baseline lies on its follow-up.

    Attributes:
        transform: baseline's world to follow-up's world, [4, 4], mm: a turn and a shift.
        turn_deg: by how much the head was turned, degrees.
        shift_mm: how far the brain was moved on average, mm.
        overlap: Dice (0 to 1) of the brain masks where both fields of view reach.
        similarity: correlation (−1 to 1) of the scans where both have brain.
    """

    transform: NDArray[np.float64]
    turn_deg: float
    shift_mm: float
    overlap: float
    similarity: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**vars(self), "transform": self.transform.tolist()}

    def check(self) -> None:
        """Refuse two scans that do not look like one head.

        Raises:
            InputError: if they fit too badly.
        """
        if self.overlap < _MIN_OVERLAP or self.similarity < _MIN_SIMILARITY:
            what = (
                f"the two sessions do not fit each other (overlap of the brains {self.overlap:.2f}, at least "
                f"{_MIN_OVERLAP}; similarity {self.similarity:.2f}, at least {_MIN_SIMILARITY})"
            )
            raise InputError(what, fix="Check that both are of one subject, of one contrast, and complete")


def align_sessions(earlier: Scan, later: Scan, *, start: NDArray[np.float64] | None = None) -> SessionFit:
    """Find the turn and shift from a baseline to its follow-up, and measure how well they fit.

    Args:
        earlier: the baseline.
        later: the follow-up.
        start: one more place to begin at, baseline's world to follow-up's world, [4, 4], mm.

    Raises:
        InputError: if they cannot be brought together.
    """
    starts = [] if start is None else [start]
    transform = rigid_between(earlier, later, starts=starts, partner="follow-up")
    placed = place(earlier, transform, later.brain.affine, later.brain.image.shape)
    both = (placed.brain.mask > _HALF) & (later.brain.mask > _HALF)
    return SessionFit(
        transform=transform,
        turn_deg=float(np.degrees(Rotation.from_matrix(transform[:3, :3]).magnitude())),
        shift_mm=mean_shift_mm(transform, earlier),
        overlap=mask_dice(placed.brain.mask * placed.seen, later.brain.mask * placed.seen),
        similarity=masked_correlation(placed.brain.image, later.brain.image, both.astype(np.float32)),
    )
