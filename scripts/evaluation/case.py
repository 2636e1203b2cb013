"""One evaluated case as NumPy arrays: read from what the evaluator returns, and kept in a folder while it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from numpy.typing import NDArray
from scripts.errors import InputError

__all__ = ["CaseStore", "EvaluatedCase", "engine_items", "read_case"]


def engine_items(engine: Engine) -> list[dict[str, Any]]:
    """Return the cases of the current iteration, each with the entries of its batch and of its output.

    MONAI's evaluator keeps what came from the data loader in `engine.state.batch` and what is new in
    `engine.state.output`; where a name stands in both, the output counts.
    """
    outputs: Any = engine.state.output
    batch: Any = engine.state.batch
    if not isinstance(batch, list) or len(batch) != len(outputs):
        batch = [{}] * len(outputs)
    return [{**before, **after} for before, after in zip(batch, outputs, strict=True)]


@dataclass(frozen=True)
class EvaluatedCase:
    """Hold what the evaluator returned for one case.

    Attributes:
        dataset: name of the data set.
        case: name of the case.
        image: float32 [H, W, D], zero outside the brain.
        brain_mask: bool [H, W, D], not empty.
        label: bool [H, W, D], or None for a case without a lesion label.
        channels: float32 [H, W, D] per output name, finite, zero outside the brain.
        spacing_mm: voxel edges along H, W, D in mm.
        affine: float64 [4, 4], voxel indices to RAS mm.
        details: more columns for the tables, such as seconds or age.
    """

    dataset: str
    case: str
    image: NDArray[np.float32]
    brain_mask: NDArray[np.bool_]
    label: NDArray[np.bool_] | None
    channels: Mapping[str, NDArray[np.float32]]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> NDArray[np.bool_]:
        """Lesion voxels; all False without a label."""
        return np.zeros(self.brain_mask.shape, np.bool_) if self.label is None else self.label


def read_case(output: Mapping[str, Any], *, outputs: Sequence[str], carry: Sequence[str] = ()) -> EvaluatedCase:
    """Read one item of `engine.state.output` after decollation and postprocessing.

    Scores outside the brain mask are set to zero: nothing is reported there.

    Args:
        output: `image`, `brain_mask` [1, H, W, D], `pred` [C, H, W, D], `case` and `dataset` names, maybe `label`
            [1, H, W, D] (non-zero inside lesions).
        outputs: names of the C channels.
        carry: more keys to keep where they are present, in the output or in its `attributes`.

    Raises:
        InputError: when a key is missing, a shape or number of channels does not fit, the brain mask is empty, a value
            is not finite or the voxel size is unknown.
    """
    missing = [key for key in ("image", "brain_mask", "pred", "case", "dataset") if key not in output]
    if missing:
        raise InputError(f"the evaluator's output must have the keys {missing}, got {sorted(output)}")
    name = f"{output['dataset']}/{output['case']}"
    brain_mask = _volume(output["brain_mask"]) > 0
    if not brain_mask.any():
        raise InputError(f"`brain_mask` of {name} must hold at least one voxel, got an empty mask")
    pred = _array(output["pred"])
    if pred.shape != (len(outputs), *brain_mask.shape):
        expected = (len(outputs), *brain_mask.shape)
        raise InputError(f"`pred` of {name} must have shape {expected} for {list(outputs)}, got {pred.shape}")
    label = output.get("label")
    volumes = {"image": _volume(output["image"]), **dict(zip(outputs, pred, strict=True))}
    for key, volume in volumes.items():
        if volume.shape != brain_mask.shape:
            raise InputError(f"`{key}` of {name} must have the mask's shape {brain_mask.shape}, got {volume.shape}")
        bad = int((~np.isfinite(volume[brain_mask])).sum())
        if bad:
            raise InputError(f"`{key}` of {name} must be finite in the brain, got {bad} NaN or infinite voxels")
        volumes[key] = np.where(brain_mask, volume, np.float32(0))
    known = {**output.get("attributes", {}), **output}
    affine, spacing = _geometry(output["image"], name)
    case = EvaluatedCase(
        dataset=str(output["dataset"]),
        case=str(output["case"]),
        image=volumes.pop("image"),
        brain_mask=brain_mask,
        label=None if label is None else _volume(label) > 0,
        channels=volumes,
        spacing_mm=spacing,
        affine=affine,
        details={key: _scalar(known[key]) for key in carry if key in known},
    )
    if case.target.shape != brain_mask.shape:
        raise InputError(f"`label` of {name} must have the mask's shape {brain_mask.shape}, got {case.target.shape}")
    return case


def _array(value: Any) -> NDArray[np.float32]:
    """Return a tensor or array as float32 on the host."""
    tensor = torch.as_tensor(value)
    if isinstance(tensor, MetaTensor):
        tensor = tensor.as_tensor()
    return tensor.detach().to("cpu", torch.float32).numpy()


def _volume(value: Any) -> NDArray[np.float32]:
    """Return a one-channel tensor [1, H, W, D] as an array [H, W, D]."""
    array = _array(value)
    if array.ndim != 4 or array.shape[0] != 1:
        raise InputError(f"a volume of the evaluator's output must have shape [1, H, W, D], got {array.shape}")
    return array[0]


def _geometry(image: Any, name: str) -> tuple[NDArray[np.float64], tuple[float, float, float]]:
    """Return the affine and the voxel edges in mm."""
    if not isinstance(image, MetaTensor):
        what = f"`image` of {name} must be a MetaTensor, got {type(image).__name__}, so the voxel size is unknown"
        raise InputError(what, fix="Keep the meta data in the preprocessing.")
    affine = np.asarray(image.affine, dtype=np.float64)
    first, second, third = (float(edge) for edge in affine_to_spacing(affine, r=3))
    return affine, (first, second, third)


def _scalar(value: Any) -> Any:
    """Return a one-element tensor or array as a plain number, anything else as it is."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and np.size(np.asarray(value)) == 1:
        return value.item()
    return value


class CaseStore:
    """Keep cases in a folder, brain voxels only, so that memory does not grow with their number.

    Args:
        folder: an empty folder that the store may fill.
    """

    def __init__(self, folder: Path) -> None:
        """Start with no case."""
        self._folder = folder
        self._heads: list[dict[str, Any]] = []

    def append(self, case: EvaluatedCase) -> None:
        """Write one case: 4 bytes per brain voxel and channel, 1 bit per voxel and mask."""
        mask = case.brain_mask
        arrays: dict[str, Any] = {f"channel_{name}": volume[mask] for name, volume in case.channels.items()}
        arrays |= {"image": case.image[mask], "brain_mask": np.packbits(mask)}
        if case.label is not None:
            arrays["label"] = np.packbits(case.label)
        np.savez(self._path(len(self._heads)), **arrays)
        self._heads.append(
            {
                "dataset": case.dataset,
                "case": case.case,
                "shape": mask.shape,
                "spacing_mm": case.spacing_mm,
                "affine": case.affine,
                "details": case.details,
                "channels": list(case.channels),
            }
        )

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._heads)

    def __iter__(self) -> Iterator[EvaluatedCase]:
        """Read the cases back one by one, in the order in which they came."""
        for index, head in enumerate(self._heads):
            fields = dict(head)
            shape, names = fields.pop("shape"), fields.pop("channels")
            with np.load(self._path(index)) as arrays:
                mask = _unpacked(arrays["brain_mask"], shape)
                yield EvaluatedCase(
                    image=_scattered(arrays["image"], mask),
                    brain_mask=mask,
                    label=_unpacked(arrays["label"], shape) if "label" in arrays else None,
                    channels={name: _scattered(arrays[f"channel_{name}"], mask) for name in names},
                    **fields,
                )

    def _path(self, index: int) -> Path:
        """Return the file of a case."""
        return self._folder / f"{index:06d}.npz"


def _unpacked(bits: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask that `np.packbits` packed."""
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)


def _scattered(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a volume with `values` inside the mask and zero outside."""
    volume = np.zeros(mask.shape, np.float32)
    volume[mask] = values
    return volume
