"""Cases on the working grid, as the bundle's own preprocessing leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from scripts.data import Split
from scripts.errors import InputError

__all__ = ["AblationCase", "check_labels", "check_split", "read_cases"]


@dataclass(frozen=True, eq=False)
class AblationCase:
    """One scan, axial slices first.

    Attributes:
        dataset: name of the data set.
        case: name of the case.
        image: [S, H, W] float32 in [0, 1].
        brain_mask: [S, H, W] bool.
        label: [S, H, W] bool, None where there is no lesion label.
        voxel_ml: volume of a voxel, ml.
    """

    dataset: str
    case: str
    image: torch.Tensor
    brain_mask: torch.Tensor
    label: torch.Tensor | None
    voxel_ml: float

    @property
    def name(self) -> str:
        """Data set and case."""
        return f"{self.dataset}/{self.case}"

    @cached_property
    def digest(self) -> str:
        """Hash of image and brain mask: all that a reconstruction can depend on, preprocessing included."""
        return joblib.hash([self.image.numpy(), self.brain_mask.numpy()])

    @cached_property
    def label_digest(self) -> str:
        """Hash of the label."""
        return joblib.hash(None if self.label is None else self.label.numpy())


def check_split(split: str, *, allow_test: bool) -> None:
    """Raise `InputError` for the test split, unless it is allowed."""
    if split == Split.TEST and not allow_test:
        raise InputError(
            "`split` must be train or val, got 'test': choices are made on validation cases only",
            fix="Add --allow_test true where nothing is chosen by the outcome.",
        )


def check_labels(items: Iterable[Mapping[str, Any]]) -> None:
    """Raise `InputError` if there are no cases, or one has no lesion label."""
    if not items:
        raise InputError("`datasets` must name at least one lesion set, got none")
    bare = sorted({item["dataset"] for item in items if "label" not in item})
    if bare:
        what = f"`datasets` must have lesion labels, which {', '.join(bare)} lacks"
        raise InputError(what, fix="Give healthy sets as --healthy.")


def read_cases(parser: ConfigParser, items: Iterable[Mapping[str, Any]], *, labelled: bool) -> Iterator[AblationCase]:
    """Load and preprocess the cases of a datalist, one after the other.

    Args:
        parser: the bundle's config, whose `preprocessing` is used.
        items: as `load_datalists` returns them.
        labelled: whether to read lesion labels.
    """
    preprocessing = parser.get_parsed_content("preprocessing")
    for item in items:
        data = preprocessing(dict(item))
        yield AblationCase(
            dataset=data["dataset"],
            case=data["case"],
            image=_slices_first(data["image"]).float(),
            brain_mask=_slices_first(data["brain_mask"]) > 0,
            label=_slices_first(data["label"]) > 0 if labelled else None,
            voxel_ml=float(abs(np.linalg.det(np.asarray(data["image"].affine)[:3, :3]))) / 1000,
        )


def _slices_first(volume: MetaTensor) -> torch.Tensor:
    """Turn [1, H, W, D] into [D, H, W], as the inferer does."""
    return volume.as_tensor()[0].permute(2, 0, 1).contiguous()
