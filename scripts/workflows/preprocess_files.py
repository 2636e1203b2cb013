"""What preprocessing writes: volumes in the layout of `DATA_DIR`, and a record and pictures of each case."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.handlers.scan_volumes import as_volume, original_scan
from scripts.report.quality_picture import draw_quality_picture
from scripts.report.tables import write_json
from scripts.transforms import AtomicNibabelWriter
from scripts.transforms.notes import read_notes
from scripts.transforms.quality_control import picture_geometry

__all__ = ["CaseFiles", "draw_case_picture", "scaled", "write_volume"]

WHITE = 4095  # value of the 99.9th percentile inside the brain; int16 has room for what is brighter
_QUALITY = "quality"


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of a case are.

    Attributes:
        folder: of the data set, such as DATA_DIR/Train/NAME.
        case: its name.
    """

    folder: Path
    case: str

    def volume(self, kind: str) -> Path:
        """Return the path of a volume: t1, t2, mask or seg."""
        return self.folder / kind / f"{self.case}_{kind}.nii.gz"

    def picture(self, modality: str) -> Path:
        """Return the path of the picture of a scan."""
        return self.folder / _QUALITY / f"{self.case}_{modality}.png"

    @property
    def record(self) -> Path:
        """The path of what became of the case."""
        return self.folder / _QUALITY / f"{self.case}.json"

    def read_record(self) -> dict[str, Any]:
        """Return what became of the case in an earlier run, empty if there was none."""
        try:
            content = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def written_before(self) -> set[Path]:
        """Return the volumes that this command has written for the case, in whatever run."""
        record = self.read_record()
        rows = [record.get("written", []), *(scan.get("files", []) for scan in record.get("scans", []))]
        return {self.folder / name for names in rows for name in names}

    def is_finished(self, images: list[str]) -> bool:
        """Return whether an earlier run has brought all these scans, and nothing of it is missing."""
        scans = self.read_record().get("scans", [])
        done = [scan["input"] for scan in scans if scan.get("status") == "ok"]
        written = [self.folder / name for scan in scans for name in scan.get("files", [])]
        wanted = sorted(map(os.path.abspath, images))
        return sorted(done) == wanted and all(path.is_file() for path in written)

    def write_record(self, rows: list[dict[str, Any]], parameters: Mapping[str, Any]) -> None:
        """Write what became of the case; volumes of earlier runs stay known as this command's."""
        before = {path.relative_to(self.folder).as_posix() for path in self.written_before()}
        written = sorted(before.union(*(row.get("files", []) for row in rows)))
        content = {"case": self.case, "parameters": dict(parameters), "scans": rows, "written": written}
        write_json(self.record, content)


def scaled(image: torch.Tensor, brain: np.ndarray) -> np.ndarray:
    """Return an image [1, H, W, D] as int16 [H, W, D], 0 outside the brain, its 99.9th percentile inside at 4095.

    Args:
        image: any range.
        brain: [H, W, D], bool.
    """
    volume = np.where(brain, as_volume(image), 0)
    top = float(np.percentile(np.abs(volume[brain]), 99.9)) if brain.any() else 0.0
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(volume * (WHITE / (top or 1.0))), limits.min, limits.max).astype(np.int16)


def write_volume(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    """Write [H, W, D] as NIfTI of its own type, to a temporary name that is then changed."""
    writer = AtomicNibabelWriter(output_dtype=volume.dtype)
    writer.set_data_array(volume, channel_dim=None)
    writer.set_metadata({"affine": affine}, resample=False)
    writer.write(path)


def draw_case_picture(path: Path, data: Mapping[Any, Any], *, title: str) -> None:
    """Draw a scan as it came, with the outline of its brain, over the template as the alignment laid it.

    Args:
        path: the PNG file.
        data: the case after brain extraction and alignment, on the scan's own grid.
        title: a line above.
    """
    shown = original_scan(data["image"])
    mask = as_volume(data["brain_mask"])
    place = picture_geometry(data)
    draw_quality_picture(
        path,
        image=shown if shown.shape == mask.shape else as_volume(data["image"]),
        brain_mask=mask,
        checks=read_notes(data).get("quality", {}).get("checks", []),
        title=title,
        affine=place["affine"],
        template=place["template"],
        template_affine=place["template_affine"],
    )

