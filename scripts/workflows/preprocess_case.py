"""Bring the scans of one case onto the template grid and write them, with a record and pictures."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scripts.errors import InputError, reason
from scripts.quality import ScanRefused
from scripts.quality.control import picture_geometry
from scripts.registration.align import T1_TO_TEMPLATE
from scripts.report.panel import draw_quality_picture
from scripts.report.tables import write_json
from scripts.scans import AtomicNibabelWriter
from scripts.scans.volume import as_volume, grid_of, original_scan, read_notes
from scripts.workflows.scan_steps import input_checksums

__all__ = ["CaseFiles", "CaseSteps", "draw_case_picture", "scaled", "write_volume"]

WHITE = 4095  # value of the 99.9th percentile inside the brain; int16 has room for what is brighter
_QUALITY = "quality"


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of a case are.

    Attributes:
        folder: of the data set, such as DATA_DIR/Train/NAME.
        case: its name.

    Examples:
        >>> CaseFiles(Path("Train/Mine"), "sub-01").volume("t1").as_posix()
        'Train/Mine/t1/sub-01_t1.nii.gz'
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

    def is_finished(self, inputs: Sequence[Mapping[str, str]]) -> bool:
        """Return whether an earlier run has brought scans of these checksums, and nothing of it is missing.

        Args:
            inputs: `input_sha256` of each scan.
        """
        scans = self.read_record().get("scans", [])
        done = [scan.get("input_sha256") for scan in scans if scan.get("status") == "ok"]
        written = [self.folder / name for scan in scans for name in scan.get("files", [])]
        return done == [dict(entry) for entry in inputs] and all(path.is_file() for path in written)

    def claim(self, kinds: Iterable[str], parameters: Mapping[str, Any]) -> None:
        """Note that volumes are about to be written.

        A run that ends before its record is written finds them as its own, and the case as unfinished.
        """
        self.write_record([], parameters, also=[self.volume(kind) for kind in kinds])

    def write_record(
        self, rows: list[dict[str, Any]], parameters: Mapping[str, Any], *, also: Iterable[Path] = ()
    ) -> None:
        """Write what became of the case; volumes of earlier runs, and those of `also`, are known as this command's."""
        before = {path.relative_to(self.folder).as_posix() for path in {*self.written_before(), *also}}
        written = sorted(before.union(*(row.get("files", []) for row in rows)))
        content = {"case": self.case, "parameters": dict(parameters), "scans": rows, "written": written}
        write_json(self.record, content)


def scaled(image: torch.Tensor, brain: np.ndarray) -> np.ndarray:
    """Return an image [1, H, W, D] as int16 [H, W, D], 0 outside the brain, its 99.9th percentile inside at 4095.

    Args:
        image: any range.
        brain: [H, W, D], bool.

    Examples:
        >>> scaled(torch.tensor([[[[7.0, 2.0]]]]), np.array([[[False, True]]])).tolist()
        [[[0, 4095]]]
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


logger = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CaseSteps:
    """The way of a case from its raw scans to files; it can be sent to another process.

    Args:
        preparation: what brings a scan to MNI world on its own grid: loading, brain extraction, alignment, checks.
        resampling: what brings image, mask and label onto the output grid.
        folder: of the data set, such as DATA_DIR/Train/NAME.
        parameters: what to note beside the results.
        overwrite: whether files that this command did not write may be replaced.
    """

    preparation: Callable[[dict[str, Any]], dict[Any, Any]]
    resampling: Callable[[dict[Any, Any]], dict[Any, Any]]
    folder: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False

    def finished(self, case: Mapping[str, Any]) -> list[Row] | None:
        """Return the rows of a case that an earlier run has brought with the same parameters, else None."""
        files = CaseFiles(self.folder, case["case"])
        try:
            inputs = [input_checksums(scan) for scan in case["scans"]]
        except InputError:
            return None  # reported when its turn comes
        if self.overwrite or not files.is_finished(inputs):
            return None
        record = files.read_record()
        before, now = record.get("parameters", {}), json.loads(json.dumps(dict(self.parameters)))
        changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if changed:
            logger.warning("%s: done again, as it was finished with another %s.", case["case"], ", ".join(changed))
            return None
        return record["scans"]

    def go_on(self, case: Mapping[str, Any]) -> list[Row]:
        """Run a case, unless a worker has brought it that died before its answer was fetched."""
        return self.finished(case) or self.run(case)

    def run(self, case: Mapping[str, Any]) -> list[Row]:
        """Bring a case onto the grid, the T1 first; a scan that fails is reported, not raised.

        Args:
            case: from `find_raw_cases`.

        Returns:
            A row for each scan: `case`, `subject`, `session`, `modality`, `input`, `status` (ok, refused or failed),
            `reasons`, `warnings`, `files` (relative to the folder), `seconds` and what the steps noted.
        """
        files = CaseFiles(self.folder, case["case"])
        rows: list[Row] = []
        shared: dict[str, Any] = {}
        for item in case["scans"]:
            began = time.perf_counter()
            row = {name: case[name] for name in ("case", "subject", "session")}
            name = Path(item["image"]).name
            row |= {"modality": item["modality"], "input": name, "status": "ok", "reasons": []}
            try:
                row["input_sha256"] = input_checksums(item)
                row |= self._scan(item, files, shared)
            except Exception as error:
                first = reason(error)
                row |= {"status": "failed", "reasons": [str(first) or type(first).__name__]}
                shared.setdefault("failed", item["modality"])
                if isinstance(first, ScanRefused):
                    row |= {"status": "refused", "reasons": first.reasons}
                    row |= self._refusal(first, files, item)
                elif not isinstance(first, InputError):
                    logger.error("%s: %s", case["case"], first, exc_info=error)
            row["seconds"] = round(time.perf_counter() - began, 2)
            rows.append(row)
        files.write_record(rows, self.parameters)
        return rows

    def _scan(self, item: Mapping[str, Any], files: CaseFiles, shared: dict[str, Any]) -> Row:
        if "failed" in shared:
            raise InputError(f"the {shared['failed']} of this case could not be brought onto the grid")
        self._check_free(files, item, shared)
        extra = {T1_TO_TEMPLATE: shared["way"]} if item["modality"] == "t2" and "way" in shared else {}
        data = self.preparation({**item, **extra})
        notes = read_notes(data)
        title = f"{item['case']}: {notes.get('alignment', {}).get('method', '')}"
        draw_case_picture(files.picture(item["modality"]), data, title=title)
        if item["modality"] == "t1":
            shared["way"] = notes["alignment"]["world_to_template"]
        on_grid = self.resampling(data)
        written = self._write(on_grid, files, item["modality"], shared)
        return {**_facts(notes), "files": [path.relative_to(self.folder).as_posix() for path in written]}

    def _check_free(self, files: CaseFiles, item: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
        """Refuse to replace a volume that this command has not written."""
        common = [kind for kind, wanted in (("mask", True), ("seg", "label" in item)) if wanted and kind not in shared]
        own = files.written_before()
        for target in (files.volume(kind) for kind in (item["modality"], *common)):
            if target.is_file() and target not in own and not self.overwrite:
                fix = "Choose another --dataset, or --overwrite true to replace it"
                raise InputError("the file exists already, and not from this command", path=target, fix=fix)

    def _write(self, data: Mapping[Any, Any], files: CaseFiles, modality: str, shared: dict[str, Any]) -> list[Path]:
        affine = grid_of(data["image"])
        brain = as_volume(data["brain_mask"]) >= 0.5
        if not brain.any():
            raise InputError("no brain is left on the output grid", fix="Look at the picture; use --alignment always")
        # One mask for the case, the T1's: the T2 shows nothing outside of it.
        brain = shared.setdefault("brain", brain)
        volumes = {modality: scaled(data["image"], brain)}
        if "mask" not in shared:
            volumes["mask"] = brain.astype(np.uint8)
            shared["mask"] = True
        if data.get("label") is not None and "seg" not in shared:
            volumes["seg"] = (as_volume(data["label"]) >= 0.5).astype(np.uint8)
            shared["seg"] = True
        files.claim(volumes, self.parameters)
        for kind, volume in volumes.items():
            write_volume(files.volume(kind), volume, affine)
        return [files.volume(kind) for kind in volumes]

    def _refusal(self, refusal: ScanRefused, files: CaseFiles, item: Mapping[str, Any]) -> Row:
        data: dict[Any, Any] = {**item, **refusal.data}
        draw_case_picture(files.picture(item["modality"]), data, title=f"{item['case']}: refused")
        return _facts(read_notes(data))


def _facts(notes: Mapping[str, Mapping[str, Any]]) -> Row:
    """Return what the steps noted, under the names of the table's columns."""
    brain, way, quality = (notes.get(name, {}) for name in ("brain_extraction", "alignment", "quality"))
    checks = [check for check in quality.get("checks", []) if not check["passed"] and not check["fatal"]]
    return {
        "warnings": [check["text"] for check in checks],
        "forced": bool(quality.get("forced")),
        "brain_extraction": brain.get("method"),
        "brain_volume_ml": brain.get("volume_ml"),
        "alignment": way.get("method"),
        "shift_mm": way.get("shift_mm"),
        "overlap": way.get("overlap"),
        "similarity": way.get("similarity"),
        "world_to_template": way.get("world_to_template"),
        "steps_seconds": notes.get("seconds", {}),
    }
