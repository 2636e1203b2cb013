"""Cases on the working grid, as the bundle's own preprocessing leaves them, and what was computed of them, on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from tqdm import tqdm

from scripts.data import Split, load_datalists
from scripts.errors import InputError
from scripts.files import replacing
from scripts.report.tables import write_json

__all__ = ["AblationCache", "AblationCase", "check_split", "digest_of", "load_cases", "read_cases"]


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
    def slices_with_brain(self) -> int:
        """Number of slices that are reconstructed."""
        return int(self.brain_mask.flatten(1).any(dim=1).sum())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of image and brain mask: all that a reconstruction can depend on, preprocessing included."""
        return _sha256(self.image, self.brain_mask)

    @cached_property
    def label_digest(self) -> str:
        """SHA-256 of the label; empty where there is none."""
        return "" if self.label is None else _sha256(self.label)


def check_split(split: str, *, allow_test: bool) -> None:
    """Raise `InputError` for an unknown split, and for the test split unless it is allowed."""
    if split not in list(Split):
        raise InputError(f"`split` must be one of {', '.join(Split)}, got {split!r}")
    if split == Split.TEST and not allow_test:
        raise InputError(
            "`split` must be train or val, got 'test': choices are made on validation cases only",
            fix="Add --allow_test true where nothing is chosen by the outcome.",
        )


def load_cases(
    parser: ConfigParser,
    datasets: Sequence[str],
    *,
    dataset_dir: str,
    split: str,
    modality: str,
    labelled: bool,
    fold: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> list[AblationCase]:
    """Load and preprocess one split of some data sets.

    Args:
        parser: the bundle's config, whose `preprocessing` is used.
        datasets: names of records; none gives no case.
        dataset_dir: `DATA_DIR`.
        split: train, val or test.
        modality: t1 or t2.
        labelled: whether the cases must have lesion labels; else labels are not looked at.
        fold: of the data sets that have folds.
        limit: the first so many cases of each set.
        progress: show a progress bar.

    Raises:
        InputError: as `load_datalists`, and if a label is missing.
    """
    if not datasets:
        return []
    items = load_datalists(dataset_dir, list(datasets), split, modality=modality, fold=fold, limit=limit)
    bare = sorted({item["dataset"] for item in items if labelled and "label" not in item})
    if bare:
        raise InputError(
            f"`datasets` must have lesion labels, which {', '.join(bare)} lacks", fix="Give healthy sets as --healthy."
        )
    bar = tqdm(items, desc="loading cases", unit="case", disable=not progress)
    return list(read_cases(parser, bar, labelled=labelled))


def read_cases(parser: ConfigParser, items: Iterable[Mapping[str, Any]], *, labelled: bool) -> Iterator[AblationCase]:
    """Load and preprocess the cases of a datalist, one after the other.

    Args:
        parser: the bundle's config, whose `preprocessing` is used.
        items: as `load_datalists` returns them.
        labelled: whether to read lesion labels.
    """
    preprocessing = parser.get_parsed_content("preprocessing")
    for item in items:
        yield _case(preprocessing(dict(item)), labelled=labelled)


def _case(data: dict, *, labelled: bool) -> AblationCase:
    image = data["image"]
    return AblationCase(
        dataset=data["dataset"],
        case=data["case"],
        image=_slices_first(image).float(),
        brain_mask=_slices_first(data["brain_mask"]) > 0,
        label=_slices_first(data["label"]) > 0 if labelled else None,
        voxel_ml=float(abs(np.linalg.det(np.asarray(image.affine)[:3, :3]))) / 1000,
    )


def _slices_first(volume: MetaTensor) -> torch.Tensor:
    """Turn [1, H, W, D] into [D, H, W], as the inferer does."""
    return volume.as_tensor()[0].permute(2, 0, 1).contiguous()


def _sha256(*tensors: torch.Tensor) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


logger = logging.getLogger(__name__)


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a mapping of plain values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class AblationCache:
    """A folder of reconstructions (a subfolder for each network, noise and timestep) and of finished rows.

    Reconstructions are kept exactly, float32, inside the brain mask only: 4 bytes a voxel and draw, about 11 MB for a
    brain on the 2 mm grid and K = 10. Files are written under another name and then renamed, and one that is cut short
    all the same counts as missing.

    Args:
        folder: made when something is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def _path(self, source: str, case: AblationCase) -> Path:
        return self.folder / "reconstructions" / source[:16] / f"{case.dataset}_{case.case}_{case.digest[:16]}.npy"

    def _row_path(self, key: str) -> Path:
        return self.folder / "rows" / f"{key[:32]}.json"

    def num_draws(self, source: str, case: AblationCase) -> int:
        """Return how many draws of a case there are; 0 where the file is missing or damaged."""
        stored = self._open(source, case)
        return 0 if stored is None else len(stored)

    def load(self, source: str, case: AblationCase, draws: slice) -> torch.Tensor:
        """Return draws [n, S, H, W], float32, zero outside the brain mask.

        Raises:
            FileNotFoundError: if they are not there.
        """
        stored = self._open(source, case)
        if stored is None:
            raise FileNotFoundError(self._path(source, case))
        values = torch.from_numpy(np.array(stored[draws]))
        volumes = torch.zeros(len(values), *case.image.shape)
        volumes[:, case.brain_mask] = values
        return volumes

    def save(self, source: str, case: AblationCase, reconstructions: torch.Tensor, about: Mapping[str, Any]) -> None:
        """Write reconstructions [K, S, H, W] of a case, in place of fewer, and what they were made with."""
        path = self._path(source, case)
        with replacing(path) as temporary:
            np.save(temporary, reconstructions[:, case.brain_mask].numpy())
        write_json(path.parent / "about.json", about)

    def _open(self, source: str, case: AblationCase) -> np.ndarray | None:
        path = self._path(source, case)
        if not path.is_file():
            return None
        try:
            stored = np.load(path, mmap_mode="r")
        except (ValueError, EOFError, OSError) as error:
            logger.warning("%s is damaged (%s); its reconstructions are made again", path, error)
            return None
        fits = stored.ndim == 2 and stored.shape[1] == int(case.brain_mask.sum()) and stored.dtype == np.float32
        return stored if fits else None

    def load_row(self, key: str) -> dict[str, Any] | None:
        """Return the figures of a finished row, None where there are none."""
        try:
            content = json.loads(self._row_path(key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def save_row(self, key: str, figures: Mapping[str, Any]) -> None:
        """Write the figures of a finished row; numbers that do not exist (NaN) become null."""
        write_json(self._row_path(key), figures)
