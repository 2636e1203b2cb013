"""Choose thresholds on validation scans, measure what they mark in healthy subjects, and report both."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from scripts.data import CalibrationRole
from scripts.data.folders import check_writable
from scripts.errors import InputError
from scripts.evaluation import write_operating_points
from scripts.evaluation.case import EvaluatedCase, engine_items, read_case
from scripts.evaluation.operating_points import read_operating_points
from scripts.evaluation.scores import healthy_point
from scripts.metrics.score_counts import POOLED_MANTISSA_BITS, ScoreCounts
from scripts.metrics.segmentation import without_small_peaks
from scripts.metrics.thresholds import largest_p_value, pooled_best_dice, threshold_at_rate, threshold_at_volume
from scripts.ops import scan_score
from scripts.report.pages import Block, Table, as_markdown, write_document_page
from scripts.report.tables import DASH, format_number, write_csv, write_text
from scripts.results import check_min_volume, portable_command

__all__ = ["CalibrationHandler", "calibration_blocks"]

_AGES = (0, 40, 60, 200)  # years, edges of the groups


def calibration_blocks(
    entry: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    left_out: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> list[Block]:
    """Return the operating points and the scan scores for readers.

    Args:
        entry: of the thresholds file.
        rows: one a scan: `dataset`, `role`, `anomaly_score`, `p_value` (of a healthy scan of the calibration:
            against the other data sets; empty where there are none).
        left_out: of each healthy data set, what the threshold chosen on the others marks (see `CalibrationHandler`).
        command: how the run was started; left out when empty.
    """
    parts = [Block(command, command=True)] if command else []
    header = ["operating point", "threshold", "chosen on", "pooled Dice on lesion scans"]
    header += ["ml marked in held-out healthy scans: mean", "median", "95 %", "highest", "n"]
    lines = []
    for name, point in entry["points"].items():
        marked = point.get("false_positive_ml", {})
        shown = f"{name} (default)" if name == entry["default"] else name
        dice, threshold = format_number(point.get("lesion_dice")), format_number(point["threshold"], digits=4)
        volumes = [format_number(marked.get(key), digits=1) for key in ("mean", "median", "p95", "max")]
        lines.append([shown, threshold, point["source"], dice, *volumes, str(marked.get("n", DASH))])
    parts.append(Block(table=Table(header, lines)))
    if entry.get("healthy_scores"):
        count = len(entry["healthy_scores"])
        lowest = f"The lowest p-value that {count} healthy scans allow is {1 / (count + 1):.3f}."
        parts.append(Block(f"Score of a scan: {entry['healthy_source']}. {lowest}"))
    header = ["data set", "role", "n", "score, mean", "lowest", "highest", "p <= 0.1", "p <= 0.2"]
    parts.append(Block(table=Table(header, _scores(rows))))
    if left_out:
        header = ["data set", "n", "threshold", "ml marked: mean", "median", "95 %", "highest", "p <= 0.1"]
        text = "Each healthy data set left out: threshold and p-values from the others."
        parts.append(Block(text, Table(header, [_left_out(row) for row in left_out])))
    if by_age := _ages(entry, rows):
        header = ["age", "role", "n", "median", "95 %", "highest", "p <= 0.1"]
        parts.append(Block("Healthy scans by age, ml marked at the default point.", Table(header, by_age)))
    return parts


def _left_out(row: Mapping[str, Any]) -> list[str]:
    volumes = [format_number(row[key], digits=1) for key in ("mean", "median", "p95", "max")]
    return [row["dataset"], str(row["n"]), format_number(row["threshold"], digits=4), *volumes, str(row["low_p"])]


def _ages(entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    column = f"ml_at_{entry['default']}"
    lines = []
    for role in ("healthy", "held out"):
        for low, high in itertools.pairwise(_AGES):
            own = [row for row in rows if row["role"] == role and row.get("age") not in ("", None)]
            own = [row for row in own if low <= row["age"] < high]
            if own:
                volumes = [row[column] for row in own]
                shown = [np.median(volumes), np.quantile(volumes, 0.95), max(volumes)]
                low_p = sum(row["p_value"] != "" and row["p_value"] <= 0.1 for row in own)
                name = f"{low} to {high - 1}" if high < _AGES[-1] else f"from {low}"
                cells = [format_number(float(value), digits=1) for value in shown]
                lines.append([name, role, str(len(own)), *cells, str(low_p)])
    return lines


def _scores(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    lines = []
    for dataset, role in dict.fromkeys((row["dataset"], row["role"]) for row in rows):
        own = [row for row in rows if (row["dataset"], row["role"]) == (dataset, role)]
        scores = [row["anomaly_score"] for row in own]
        p_values = [row["p_value"] for row in own if row["p_value"] != ""]
        low = [f"{sum(p <= level for p in p_values)} of {len(p_values)}" if p_values else DASH for level in (0.1, 0.2)]
        shown = [format_number(float(value), digits=4) for value in (np.mean(scores), min(scores), max(scores))]
        lines.append([dataset, role, str(len(own)), *shown, *low])
    return lines


logger = logging.getLogger(__name__)
_BEST_DICE = "best_dice"
_HEALTHY_ML = "healthy_ml"
_MAP = "anomaly_map"


@dataclass(frozen=True)
class _Scan:
    """What is kept of a scan; its voxels are not."""

    dataset: str
    case: str
    role: CalibrationRole
    score: float
    counts: ScoreCounts  # of the brain's voxels, by score
    outside_lesion: int
    outside_other: int
    voxel_ml: float
    age: float | None = None

    def volume_counts(self) -> ScoreCounts:
        """Count all voxels of the volume, those outside the brain with score zero (the paper's way)."""
        return self.counts.with_zeros(positives=self.outside_lesion, negatives=self.outside_other)

    def ml_at(self, threshold: float) -> float:
        """Volume of the brain at or above a threshold, ml."""
        reached = self.counts.values >= np.float32(threshold)
        return float((self.counts.positives + self.counts.negatives)[reached].sum()) * self.voxel_ml


@dataclass
class CalibrationHandler:
    """Write operating points into `thresholds.json`, and `calibration.html`, `.md` and `.csv` beside the run.

    Each item of the evaluator's output has what `read_case` needs, `role` (see `CalibrationRole`) and `modality`.
    Points: `best_dice`, the threshold with the best Dice over all voxels of the lesion scans; `healthy_fpr_RATE`, the
    lowest threshold that at most this share of the brain voxels of the healthy scans reaches; `healthy_ml`, the lowest
    threshold that in each of the healthy data sets marks at most `max_median_ml` in the median scan and `max_p95_ml` at
    the 95th percentile. Each point records how many ml it marks in the held-out healthy scans. The healthy scans'
    scores are kept, by data set, for conformal p-values.

    With min-max scaling, maps of different volumes cannot be compared: then only `best_dice` is chosen, as the paper
    does, and there are no healthy points and no p-values.

    Args:
        path: the thresholds file; entries of other modalities and presets in it stay.
        output_dir: folder of the report.
        outputs: names of the inferer's channels, `anomaly_map` among them.
        preset: name of the entry.
        modality: t1 or t2.
        settings: of the map, with the checksum of the population statistics, kept with the entry.
        weights: `file` and `sha256` of the network's weights.
        rates: false positive rates, in (0, 1).
        max_median_ml: what `healthy_ml` may mark in the median healthy scan, ml.
        max_p95_ml: what it may mark at the 95th percentile of the healthy scans, ml.
        min_volume_ml: smallest candidate region that inference keeps, ml; smaller ones count as not marked here too.
        default: the point that inference uses; None takes `healthy_ml`, or without healthy scans `best_dice`.
        share: of the brain's voxels that make up the scan's score.

    Raises:
        InputError: if `outputs` lacks the anomaly map or a rate is out of range; at the end of the run if nothing can
            be calibrated.
    """

    path: str | Path
    output_dir: str | Path
    outputs: Sequence[str]
    preset: str
    modality: str
    settings: Mapping[str, Any]
    weights: Mapping[str, str]
    rates: Sequence[float] = (0.01, 0.05, 0.1)
    max_median_ml: float = 3.0
    max_p95_ml: float = 15.0
    min_volume_ml: float = 0.0
    default: str | None = None
    share: float = 0.01
    scans: list[_Scan] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Check the options."""
        if _MAP not in self.outputs:
            raise InputError(f"`outputs` must hold {_MAP}, got {list(self.outputs)}")
        if not self.rates or not all(0 < rate < 1 for rate in self.rates):
            raise InputError(f"`rates` must be in (0, 1), got {list(self.rates)}")
        self.min_volume_ml = check_min_volume(self.min_volume_ml)
        if not 0 < self.max_median_ml <= self.max_p95_ml:
            given = f"{self.max_median_ml} and {self.max_p95_ml}"
            raise InputError(f"`max_median_ml` and `max_p95_ml` must be 0 < max_median_ml <= max_p95_ml, got {given}")

        known = [_BEST_DICE, *map(healthy_point, self.rates), _HEALTHY_ML]
        if self.default is not None and self.default not in known:
            raise InputError(f"`default_point` must be one of {', '.join(known)}, got {self.default!r}")

    @property
    def comparable(self) -> bool:
        """Whether maps of different volumes have one scale."""
        return not self.settings.get("min_max")

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, lambda _: self._start())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, lambda _: self.write())

    def _start(self) -> None:
        """Forget an earlier run, and find out whether the results can be written."""
        self.scans.clear()
        check_writable(self.output_dir)
        check_writable(Path(self.path).parent)
        read_operating_points(self.path, modality=self.modality)

    def _collect(self, engine: Engine) -> None:
        for item in engine_items(engine):
            case = read_case(item, outputs=self.outputs, carry=("age",))
            self.scans.append(self._scan(case, CalibrationRole(item["role"])))

    def _scan(self, case: EvaluatedCase, role: CalibrationRole) -> _Scan:
        mask, scores = case.brain_mask, case.channels[_MAP]
        target = case.target
        outside = int(target[~mask].sum())
        voxel_ml = float(np.prod(case.spacing_mm)) / 1000
        marked = without_small_peaks(scores, voxel_ml=voxel_ml, min_volume_ml=self.min_volume_ml)
        return _Scan(
            dataset=case.dataset,
            case=case.case,
            role=role,
            score=scan_score(torch.from_numpy(scores), torch.from_numpy(mask), share=self.share),
            counts=ScoreCounts.count(marked[mask], target[mask], mantissa_bits=POOLED_MANTISSA_BITS),
            outside_lesion=outside,
            outside_other=int((~mask).sum()) - outside,
            voxel_ml=voxel_ml,
            age=_age(case.details.get("age")),
        )

    def _of(self, role: CalibrationRole) -> list[_Scan]:
        return [scan for scan in self.scans if scan.role is role]

    def _lesion_counts(self) -> ScoreCounts:
        return sum((scan.volume_counts() for scan in self._of(CalibrationRole.LESION)), start=ScoreCounts.empty())

    def entry(self) -> dict[str, Any]:
        """Return the entry of the thresholds file.

        Raises:
            InputError: if there is neither a lesion scan nor a healthy scan that can be used.
        """
        healthy, lesion = self._of(CalibrationRole.HEALTHY), self._of(CalibrationRole.LESION)
        points: dict[str, dict[str, Any]] = {}
        if lesion:
            best = pooled_best_dice(self._lesion_counts())
            source = f"best pooled Dice ({best.dice:.3f}) on {_named(lesion)}"
            points[_BEST_DICE] = {"threshold": float(best.threshold), "source": source, "n": len(lesion)}
        if healthy and self.comparable:
            counts = sum((scan.counts for scan in healthy), start=ScoreCounts.empty())
            for rate in sorted(self.rates):
                source = f"{100 * rate:g}% of the healthy brain's voxels lie above it, on {_named(healthy)}"
                threshold = float(threshold_at_rate(counts, rate))
                points[healthy_point(rate)] = {"threshold": threshold, "source": source, "n": len(healthy)}
            points[_HEALTHY_ML] = self._healthy_ml(healthy)
        if not points:
            raise InputError(
                "there is nothing to calibrate on: healthy scans need `min_max: false`, and there is no lesion scan",
                fix="Give --min_max false, or a lesion set.",
            )
        for point in points.values():
            point |= self._measured(point["threshold"])
        default = self.default or (_HEALTHY_ML if _HEALTHY_ML in points else _BEST_DICE)
        if default not in points:
            raise InputError(f"`default` must be one of {list(points)}, got {default!r}")
        entry: dict[str, Any] = {"default": default, "points": points}
        if healthy and self.comparable:
            entry["healthy_scores"] = sorted(round(scan.score, 6) for scan in healthy)
            entry["healthy_groups"] = _score_groups(healthy)
            entry["healthy_source"] = f"mean of the highest {self.share:.0%} of the brain's voxels, {_named(healthy)}"
        return {**entry, "settings": dict(self.settings), "weights": self.weights["sha256"]}

    def _volume_thresholds(self, healthy: Sequence[_Scan]) -> dict[str, float]:
        """Return for each healthy data set the lowest threshold that keeps within the volumes, by its name."""
        limits = {"median": self.max_median_ml, "p95": self.max_p95_ml}
        return {
            name: threshold_at_volume([scan.counts for scan in group], [scan.voxel_ml for scan in group], **limits)
            for name, group in _by_dataset(healthy).items()
        }

    def left_out(self) -> list[dict[str, Any]]:
        """Return for each healthy data set what the threshold of `healthy_ml` marks when it is chosen on the others.

        Returns:
            A row a data set: `dataset`, `n`, `threshold`, `median`, `p95`, `max` (ml), `low_p` (scans with p <= 0.1
            against the others); none where there are fewer than two data sets, or maps of volumes have no one scale.
        """
        healthy = self._of(CalibrationRole.HEALTHY)
        groups = _by_dataset(healthy)
        if len(groups) < 2 or not self.comparable:
            return []
        thresholds, scores = self._volume_thresholds(healthy), _score_groups(healthy)
        rows = []
        for name, group in groups.items():
            threshold = max(value for other, value in thresholds.items() if other != name)
            volumes = [scan.ml_at(threshold) for scan in group]
            others = {other: values for other, values in scores.items() if other != name}
            low_p = sum(largest_p_value(scan.score, others) <= 0.1 for scan in group)
            rows.append({"dataset": name, "n": len(group), "threshold": threshold, **_volumes(volumes), "low_p": low_p})
        return rows

    def _healthy_ml(self, healthy: Sequence[_Scan]) -> dict[str, Any]:
        """Return the point that bounds what is marked in the healthy scans of every data set."""
        thresholds = self._volume_thresholds(healthy)
        source = (
            f"marks at most {self.max_median_ml:g} ml in the median healthy scan and {self.max_p95_ml:g} ml at the "
            f"95th percentile of each data set{self._without_small()}, on {_named(healthy)}"
        )
        return {"threshold": max(thresholds.values()), "source": source, "n": len(healthy)}

    def _without_small(self) -> str:
        return f", regions below {self.min_volume_ml:g} ml left out" if self.min_volume_ml else ""

    def _measured(self, threshold: float) -> dict[str, Any]:
        """Return what a threshold marks in the held-out healthy scans, and its Dice on the lesion scans."""
        found: dict[str, Any] = {}
        held_out = [scan.ml_at(threshold) for scan in self._of(CalibrationRole.HELD_OUT)]
        if held_out:
            found["false_positive_ml"] = {**_volumes(held_out), "n": len(held_out)}
        if self._of(CalibrationRole.LESION):
            found["lesion_dice"] = round(_dice_at(self._lesion_counts(), threshold), 4)
        return found

    def rows(self, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a row for each scan: score, p-value, ml at each point."""
        groups = entry.get("healthy_groups", {})

        def p_value(scan: _Scan) -> float | str:
            # a healthy scan of the calibration is compared with the other data sets: those of another scanner
            others = {name: scores for name, scores in groups.items() if name != scan.dataset}
            used = others if scan.role is CalibrationRole.HEALTHY else groups
            return largest_p_value(scan.score, used) if used else ""

        return [
            {
                "dataset": scan.dataset,
                "case": scan.case,
                "role": str(scan.role),
                "age": "" if scan.age is None else scan.age,
                "anomaly_score": scan.score,
                "p_value": p_value(scan),
                **{f"ml_at_{name}": scan.ml_at(point["threshold"]) for name, point in entry["points"].items()},
            }
            for scan in self.scans
        ]

    def write(self) -> None:
        """Write the entry and the report."""
        entry = self.entry()
        rows = self.rows(entry)
        title = f"Calibration of {self.modality.upper()}, preset {self.preset}"
        blocks = calibration_blocks(entry, rows, left_out=self.left_out(), command=portable_command(sys.argv))
        if entry.get("weights"):
            blocks.append(Block(f"SHA-256 of the weights: {entry['weights']}"))
        text = as_markdown(title, blocks)
        folder = Path(self.output_dir)
        write_csv(folder / "calibration.csv", rows)
        write_text(folder / "calibration.md", text)
        point = entry["points"][entry["default"]]
        facts = [("Default point", entry["default"]), ("Threshold", format_number(point["threshold"], digits=4))]
        facts += [("Scans", str(len(rows))), ("Healthy scans", str(len(entry.get("healthy_scores", ()))))]
        write_document_page(folder / "calibration.html", title, blocks, facts=facts, files=["calibration.csv"])
        write_operating_points(self.path, entry, modality=self.modality, preset=self.preset)
        logger.info("%s\nwritten to %s, and the thresholds to %s", text, folder, self.path)


def _named(scans: Sequence[_Scan]) -> str:
    """Name the data sets and how many scans of each."""
    names = list(dict.fromkeys(scan.dataset for scan in scans))
    parts = [f"{sum(scan.dataset == name for scan in scans)} of {name}" for name in names]
    which = f"({', '.join(parts)})" if len(parts) > 1 else f"of {names[0]}"
    return f"{len(scans)} validation scans {which}"


def _by_dataset(scans: Sequence[_Scan]) -> dict[str, list[_Scan]]:
    names = dict.fromkeys(scan.dataset for scan in scans)
    return {name: [scan for scan in scans if scan.dataset == name] for name in names}


def _score_groups(scans: Sequence[_Scan]) -> dict[str, list[float]]:
    return {name: sorted(round(scan.score, 6) for scan in group) for name, group in _by_dataset(scans).items()}


def _volumes(volumes: Sequence[float]) -> dict[str, float]:
    """Return mean, median, 95th percentile and largest of some volumes, ml."""
    found = {"mean": np.mean(volumes), "median": np.median(volumes), "p95": np.quantile(volumes, 0.95)}
    return {name: round(float(value), 2) for name, value in found.items()} | {"max": round(max(volumes), 2)}


def _age(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _dice_at(counts: ScoreCounts, threshold: float) -> float:
    reached = counts.values >= np.float32(threshold)
    hits = int(counts.positives[reached].sum())
    predicted = hits + int(counts.negatives[reached].sum())
    return 2 * hits / (predicted + counts.num_positives)
