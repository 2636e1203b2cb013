"""Measure what a comparison of sessions finds: `python -m tools.quality.session_change SCANS`."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scripts.cli.analyze import analyze
from scripts.errors import InputError
from scripts.options.command import run_command
from scripts.options.fields import Paths, PathText
from scripts.report.tables import format_number, markdown_table, write_json, write_text

if TYPE_CHECKING:
    import nibabel as nib

    from tools.quality.sessions import Lesion

__all__ = ["judge", "main", "measure_session_change"]

logger = logging.getLogger(__name__)
_OPTIONS = {
    "save": ["anomaly_map", "lesion_mask", "brain_mask"], "alignment": "always", "picture": False, "report": False,
    "progress": False,
}  # fmt: skip
_CHANGED = ("new", "grown", "shrunken", "vanished")
# name of the pair, baseline, follow-up, what should be found where the lesion lies
_PAIRS = (
    ("no change", "first", "repeat", None), ("lesion appears", "first", "small", "new"),
    ("large lesion appears", "first", "large", "new"), ("lesion grows", "small", "large", "grown"),
    ("lesion shrinks", "large", "small", "shrunken"), ("large lesion vanishes", "large", "first", "vanished"),
)  # fmt: skip
_RADIUS_MM = 60.0
# a lesion that comes to lie beside a region of the baseline makes that grow
_MORE, _LESS = ("new", "grown"), ("shrunken", "vanished")
_SAME_WAY = dict.fromkeys(_MORE, _MORE) | dict.fromkeys(_LESS, _LESS)
_NEAR_MM = 4.0  # of the lesion's surface
Row = dict[str, Any]


def measure_session_change(
    scans: Paths,
    *,
    output_dir: PathText = "runs/session_change",
    num_samples: Annotated[int, Field(ge=1, le=1000)] = 10,
    small_ml: Annotated[float, Field(gt=0, le=100)] = 3.0,
    large_ml: Annotated[float, Field(gt=0, le=100)] = 12.0,
    lesions: bool = True,
    seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
) -> None:
    """Compare healthy scans with moved copies of themselves, and with copies that hold a lesion of two sizes.

    Each scan is one session as it is; others are turned, shifted, resampled, rescaled and noisy copies, one without
    any change and two with a dark lesion of a small and a large volume at one place. What the comparisons find at the
    place of the lesion, and what they find elsewhere, which is false, is written to session_change.json and .md. Scans
    that have a result there are not analysed again.

    Args:
        scans: NIfTI files of healthy subjects, T1w by name.
        output_dir: of the copies, their results and the two files.
        num_samples: reconstructions of each slice.
        small_ml: volume of the lesion at first.
        large_ml: its volume later.
        lesions: whether to make the copies with a lesion.
        seed: of motion, noise and lesions.

    Raises:
        InputError: if there are no T1-weighted scans, small_ml is not below large_ml, or a scan cannot be analysed.
    """
    from scripts.data import find_scans
    from scripts.data.folders import check_writable
    from scripts.data.inputs.raw_cases import without_modality

    if small_ml >= large_ml:
        raise InputError(f"`small_ml` must be below `large_ml` ({large_ml:g}), got {small_ml:g}")
    folder = Path(output_dir)
    check_writable(folder)
    rows: list[Row] = []
    for number, item in enumerate(find_scans(scans, modality="t1")):
        subject = _Subject(folder, without_modality(item["case"]), seed + number, (small_ml, large_ml), num_samples)
        rows += subject.compared(item["image"], lesions=lesions)
        write_json(folder / "session_change.json", {"num_samples": num_samples, "seed": seed, "rows": rows})
        write_text(folder / "session_change.md", _table(rows))
    logger.info("%s", _table(rows))


@dataclass(frozen=True)
class _Subject:
    """One scan and what is made of it."""

    folder: Path
    name: str
    seed: int
    volumes_ml: tuple[float, float]
    num_samples: int

    def compared(self, path: str, *, lesions: bool) -> Iterator[Row]:
        """Yield a row for each pair of sessions."""
        import nibabel as nib

        from tools.quality.sessions import motion_of, moved_again, place_lesion, with_lesion

        source: Any = nib.load(path)
        image = nib.Nifti1Image(np.asarray(source.dataobj, dtype=np.float32), source.affine)
        self._keep("first", image)
        self._keep("repeat", moved_again(image, seed=self.seed))
        made_ml = {"first": 0.0, "repeat": 0.0}
        motion = {"first": np.eye(4), "repeat": motion_of(image, seed=self.seed)}
        lesion = None
        if lesions:
            brain = np.asarray(self._result("first", "brain_mask").dataobj) > 0
            lesion = place_lesion(brain, image.affine, largest_ml=self.volumes_ml[1], seed=self.seed)
            for number, (session, volume) in enumerate(zip(("small", "large"), self.volumes_ml, strict=True)):
                made, made_ml[session] = with_lesion(image, brain, lesion, volume_ml=volume)
                own_seed = 1000 + 10 * self.seed + number
                motion[session] = motion_of(made, seed=own_seed)
                self._keep(session, moved_again(made, seed=own_seed))
        for pair, before, after, expected in _PAIRS:
            if before in made_ml and after in made_ml:
                facts = self._compare(before, after)
                place = None if lesion is None or expected is None else motion[after] @ [*lesion.centre_mm, 1.0]
                found = judge(facts, None if place is None else place[:3], radius_mm=_reach(lesion, self.volumes_ml[1]))
                row = {"scan": self.name, "pair": pair, "expected": expected, "made_before_ml": made_ml[before]}
                error = _error_mm(facts, motion[after] @ np.linalg.inv(motion[before]), image)
                yield {**row, "made_after_ml": made_ml[after], **found, "alignment_error_mm": error}

    def _path(self, session: str) -> Path:
        return self.folder / "scans" / f"{self.name}_{session}_T1w.nii.gz"

    def _item(self, session: str) -> dict[str, str]:
        from scripts.data import find_scans

        return find_scans(str(self._path(session)))[0]

    def _keep(self, session: str, image: nib.Nifti1Image) -> None:
        """Write a session where it is not there yet, and analyse it."""
        import nibabel as nib

        from scripts.files import replacing

        if not self._path(session).is_file():
            with replacing(self._path(session)) as temporary:
                nib.save(image, temporary)
        analyze(str(self._path(session)), str(self.folder / "results"), num_samples=self.num_samples, **_OPTIONS)

    def _result(self, session: str, name: str) -> Any:
        import nibabel as nib

        from scripts.results import result_path

        return nib.load(result_path(self.folder / "results", self._item(session), name))

    def _compare(self, before: str, after: str) -> dict[str, Any]:
        import nibabel as nib

        from scripts.handlers.session_change import compare_sessions
        from scripts.results import result_path

        out, item = self.folder / "results", self._item(after)
        result = json.loads(result_path(out, item, "result", suffix=".json").read_text(encoding="utf-8"))
        images = {name: self._result(after, name) for name in ("anomaly_map", "brain_mask", "lesion_mask")}
        volumes: dict[str, NDArray[np.float32]] = {name: _voxels(image) for name, image in images.items()}
        scan: Any = nib.load(item["image"])
        volumes["image"] = _voxels(scan)
        baseline = self._item(before)
        return compare_sessions(str(out), baseline, result=result, volumes=volumes, affine=scan.affine).facts


def _error_mm(facts: Mapping[str, Any], motion: NDArray[np.float64], image: Any) -> float | None:
    """Return by how much the alignment misses the motion, mm: the mean over points 60 mm from the scan's middle."""
    if facts["status"] != "ok":
        return None
    middle = (image.affine @ [*(np.asarray(image.shape) - 1) / 2, 1.0])[:3]
    points = np.concatenate([middle + _RADIUS_MM * np.eye(3), middle - _RADIUS_MM * np.eye(3)])
    found = np.asarray(facts["alignment"]["transform"])
    ends = [points @ matrix[:3, :3].T + matrix[:3, 3] for matrix in (motion, found)]
    return float(np.linalg.norm(ends[1] - ends[0], axis=1).mean())


def _voxels(image: Any) -> NDArray[np.float32]:

    return np.asarray(image.dataobj, dtype=np.float32)


def _reach(lesion: Lesion | None, volume_ml: float) -> float:
    """Return how far from a lesion's centre what belongs to it may lie, mm."""
    radius = math.cbrt(volume_ml * 1000 * 3 / (4 * math.pi))
    return 0.0 if lesion is None else radius * float(lesion.axes.max()) + _NEAR_MM


def judge(facts: Mapping[str, Any], place_mm: NDArray[np.float64] | None, *, radius_mm: float) -> Row:
    """Part what a comparison found into what lies at a place and the rest, which is false.

    Args:
        facts: of `compare_sessions`.
        place_mm: [3], in the follow-up's world; None where nothing changed.
        radius_mm: how far from the place a region's peak may lie.

    Returns:
        `found` (the change there with the most evidence; "unchanged" or None count as missed), its volumes before and
        after in ml, and number and volume (ml, sizes of the changes) of the false changes.
    """
    if facts["status"] != "ok":
        return {"status": facts["status"], "found": None, "false_count": None, "false_ml": None}
    own, false = None, []
    for row in facts["regions"]:
        near = place_mm is not None and np.linalg.norm(np.subtract(row["peak_mm"], place_mm)) <= radius_mm
        if near:
            own = own or row
        elif row["change"] in _CHANGED:
            false.append(abs(row["change_ml"]))
    volumes = {name: own[name] if own else None for name in ("before_ml", "after_ml")}
    alignment = {name: facts["alignment"][name] for name in ("turn_deg", "shift_mm", "overlap", "similarity")}
    found = {"status": "ok", "found": own["change"] if own else None, **volumes}
    return {**found, "false_count": len(false), "false_ml": float(sum(false)), **alignment}


def _table(rows: list[Row]) -> str:
    header = ["pair", "n", "found", "set in, ml", "found, ml", "false changes", "pairs with any", "ml, median; highest"]
    header.append("alignment off by, mm")
    lines = []
    for pair, _, _, expected in _PAIRS:
        own = [row for row in rows if row["pair"] == pair and row["status"] == "ok"]
        if not own:
            continue
        hits = sum(row["found"] in _SAME_WAY.get(str(expected), ()) for row in own)
        false = [row["false_ml"] for row in own]
        lines.append(
            [
                pair, len(own), "–" if expected is None else f"{hits} of {len(own)}",
                _mean(own, "made_before_ml", "made_after_ml"), _mean(own, "before_ml", "after_ml"),
                sum(row["false_count"] for row in own), sum(row["false_count"] > 0 for row in own),
                f"{format_number(statistics.median(false), digits=2)}; {format_number(max(false), digits=2)}",
                format_number(max(row["alignment_error_mm"] for row in own), digits=2),
            ]
        )  # fmt: skip
    return markdown_table(header, lines)


def _mean(rows: list[Row], before: str, after: str) -> str:
    """Return "mean before → mean after" over the rows that have both."""
    pairs = [(row[before], row[after]) for row in rows if row.get(before) is not None]
    if not pairs:
        return "–"
    return " → ".join(format_number(sum(values) / len(pairs), digits=1) for values in zip(*pairs, strict=True))


def main() -> None:
    """Run the command line."""
    run_command(measure_session_change)


if __name__ == "__main__":
    main()
