"""What is done to one scan of a cohort: nothing where it has a result, the evaluator over it, or why it has none."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.utils import set_determinism
from scripts.data.folders import check_writable
from scripts.errors import InputError, reason
from scripts.files import file_sha256
from scripts.handlers.scan_result import ScanResult, scan_facts
from scripts.handlers.session_change import CHANGE_IMAGES
from scripts.networks import ModalityWeights
from scripts.quality import ScanRefused
from scripts.registration.template import load_template
from scripts.report.panel import draw_quality_picture
from scripts.report.scan_page import write_scan_page
from scripts.report.tables import write_json
from scripts.results import BUNDLE, bundle_version, remove_result, result_path
from scripts.scans.dicom import is_dicom, series_of
from scripts.scans.volume import add_note, as_volume, grid_of, original_scan, read_notes

__all__ = ["ScanSteps", "failed_row", "finished_result", "input_checksums", "with_checksums", "write_refusal"]

logger = logging.getLogger(__name__)
# what a scan is made of, and what the log calls it
_INPUTS = {
    "image": "input", "brain_mask": "brain mask", "label": "label", "t1": "T1 of the session", "baseline": "baseline",
}  # fmt: skip


def with_checksums(item: Mapping[str, str]) -> dict[str, Any]:
    """Return a scan with the SHA-256 of its files in its notes, which go into its result.

    Raises:
        InputError: if a file cannot be read.
    """
    result: dict[str, Any] = dict(item)
    add_note(result, "input_sha256", **input_checksums(item))
    return result


def input_checksums(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file of a scan: `image`, and those of `brain_mask`, `label`, `t1`, `baseline` it has.

    Raises:
        InputError: if a file cannot be read.
    """
    return {key: _checksum(item[key]) for key in _INPUTS if item.get(key)}


def finished_result(
    results: ScanResult, item: Mapping[str, Any], weights_sha256: str, *, overwrite: bool = False
) -> dict[str, Any] | None:
    """Return the result of a scan that is done already, or None if it is not.

    A scan counts as done if its `result.json` says so, each file that is wanted exists, and it was made from the same
    bytes, with the same weights, settings, threshold and version. Where it was not, the log says what differs, and a
    result of other files is removed: it must not be taken for this scan's if the run ends early.

    Args:
        results: what writes a scan's files.
        item: a scan, from `with_checksums`.
        weights_sha256: checksum of the weights for its modality.
        overwrite: whether it is done again in any case.
    """
    path = result_path(results.output_dir, item, "result", suffix=".json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("status") != "ok":
        return None
    changed = _differences(results, item, found, weights_sha256)
    if found.get("input_sha256") != read_notes(item)["input_sha256"]:
        remove_result(results.output_dir, item)
    if overwrite:
        return None
    if changed:
        logger.warning("%s: done again, as its result is of another %s.", item["case"], ", ".join(changed))
        return None
    missing = [wanted.name for wanted in results.wanted_files(item) if not wanted.is_file()]
    if not _is_compared(found):
        missing = [name for name in missing if not any(kind in name for kind in CHANGE_IMAGES)]
    if missing:
        logger.info("%s: done again, as its result lacks %s.", item["case"], ", ".join(missing))
        return None
    logger.info("%s: skipped, has a result; --overwrite true does it again.", item["case"])
    return found


def _differences(
    results: ScanResult, item: Mapping[str, Any], found: Mapping[str, Any], weights_sha256: str
) -> list[str]:
    """Return in words what an earlier result was made from that is different now."""
    now = {**dict.fromkeys(_INPUTS), **read_notes(item)["input_sha256"]}
    before = {**dict.fromkeys(_INPUTS), **(found.get("input_sha256") or {})}
    changed = [_INPUTS[key] for key in _INPUTS if now[key] != before[key]]
    settings, old = json.loads(json.dumps(dict(results.parameters))), found.get("parameters") or {}
    changed += sorted(name for name in {*settings, *old} if settings.get(name) != old.get(name))
    facts = {
        "modality": (found.get("modality"), item["modality"]),
        "threshold": (found.get("threshold"), results.operating_points.values.get(item["modality"])),
        "weights": ((found.get("weights") or {}).get("sha256"), weights_sha256),
        "version of the bundle": ((found.get("versions") or {}).get(BUNDLE), bundle_version()),
    }
    changed += [name for name, (then, today) in facts.items() if then != today]
    baseline = results.baselines.get(str(item.get("baseline_case")))
    return changed + ([] if baseline is None or _is_compared(found) else _result_of(results, baseline, found))


def _is_compared(found: Mapping[str, Any]) -> bool:
    return (found.get("change") or {}).get("status") == "ok"


def _result_of(results: ScanResult, baseline: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return what is different where a comparison failed for lack of a baseline's result that is there now."""
    had_one = (found.get("change") or {}).get("baseline_date") is not None
    path = result_path(results.output_dir, baseline, "result", suffix=".json")
    try:
        is_done = json.loads(path.read_text(encoding="utf-8")).get("status") == "ok"
    except (OSError, ValueError, AttributeError):
        return []
    return ["result of the baseline"] if is_done and not had_one else []


def _checksum(path: str) -> str:
    """Return the SHA-256 of a scan's file, or of those of all files of a DICOM series one after the other."""
    file = Path(path)
    try:
        if not is_dicom(file):
            return file_sha256(file)
        each = "".join(file_sha256(one) for one in series_of(file).files)
        return hashlib.sha256(each.encode()).hexdigest()
    except OSError as error:
        raise InputError(f"the file cannot be read ({error.strerror})", path=path) from error


def write_refusal(output_dir: str, item: Mapping[str, str], refusal: ScanRefused) -> dict[str, Any]:
    """Write `result.json`, `quality.png` and `report.html` of a refused scan, and return the result."""
    data: dict[Any, Any] = {**item, **refusal.data}
    remove_result(output_dir, item)
    result: dict[str, Any] = {**scan_facts(data), "status": "refused", "reasons": list(refusal.reasons)}
    result["input"] = Path(item["image"]).name
    picture = result_path(output_dir, item, "quality", suffix=".png")
    template = load_template()
    draw_quality_picture(
        picture,
        image=original_scan(data["image"]),
        brain_mask=as_volume(data["brain_mask"]),
        affine=grid_of(data["image"]),
        template=template.image,
        template_affine=template.affine,
        checks=(result["quality"] or {}).get("checks", []),
        title=f"{item['case']}: refused",
    )
    write_scan_page(result_path(output_dir, item, "report", suffix=".html"), result=result, quality_picture=picture)
    write_json(result_path(output_dir, item, "result", suffix=".json"), result)
    return result


def failed_row(item: Mapping[str, str], *reasons: str) -> dict[str, Any]:
    """Return the row of a scan without a result."""
    row = {name: item[name] for name in ("case", "modality")} | {"input": Path(item["image"]).name}
    return {**row, "status": "failed", "reasons": list(reasons)}


@dataclass(kw_only=True)
class ScanSteps:
    """Find the anomalies of one scan after the other; it can be pickled, for other processes and machines.

    Args:
        make_evaluator: makes the engine, with its postprocessing, given `val_data_loader`.
        preprocessing: what turns an entry of the datalist into the network's input.
        results: the evaluator's handler that writes a scan's files.
        weights: the network's weights, changed when the modality does.
        overwrite: whether scans with a finished result are done again.
        seed: that torch, NumPy and Python start each scan from; None leaves them.
    """

    make_evaluator: Callable[..., SupervisedEvaluator]
    preprocessing: Callable
    results: ScanResult
    weights: ModalityWeights
    overwrite: bool = False
    seed: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the engine, which every process makes for itself."""
        return {name: value for name, value in self.__dict__.items() if name != "evaluator"}

    @cached_property
    def evaluator(self) -> SupervisedEvaluator:
        """The engine."""
        evaluator = self.make_evaluator(val_data_loader=[])
        logging.getLogger(evaluator.__class__.__module__).setLevel(logging.WARNING)
        evaluator.logger.setLevel(logging.CRITICAL)  # the reason of a failure is said once, below
        evaluator.interrupt_resume_enabled = False  # ignite would go on with a scan that failed
        return evaluator

    def __call__(self, item: Mapping[str, str]) -> dict[str, Any]:
        """Return the result of a scan as in its `result.json`, or a row that says why it has none."""
        try:
            return self.run(item)
        except Exception as error:
            row = self.failure(item, error)
            logger.error("%s: %s: %s", item["case"], row["status"], "; ".join(row["reasons"]))
            if not isinstance(reason(error), InputError):
                logger.debug("%s:", item["case"], exc_info=error)
            return row

    def run(self, item: Mapping[str, str]) -> dict[str, Any]:
        """Return the result of a scan, or raise what it failed for."""
        self._check_room(item)
        item = with_checksums(item)
        weights = self.weights.sha256(item["modality"])
        done = finished_result(self.results, item, weights, overwrite=self.overwrite)
        return self._analyze(item) if done is None else done

    def failure(self, item: Mapping[str, str], error: BaseException) -> dict[str, Any]:
        """Return the row of a scan that `run` raised an error for; write the files of one that was refused."""
        first = reason(error)
        if isinstance(first, ScanRefused):
            return write_refusal(self.results.output_dir, item, first)
        return failed_row(item, _in_one_line(first))

    def _check_room(self, item: Mapping[str, Any]) -> None:
        """Find out whether the files of a scan can be written, before anything is computed."""
        paths = [*self.results.wanted_files(item), result_path(self.results.output_dir, item, "quality", ".png")]
        below = {part for path in paths for part in path.relative_to(self.results.output_dir).parts}
        check_writable(paths[0].parent, sorted(below))

    def _analyze(self, item: Mapping[str, str]) -> dict[str, Any]:
        if self.seed is not None:
            set_determinism(self.seed)
        self.weights.use(item["modality"])
        self.results.results.clear()
        self.evaluator.data_loader = DataLoader(Dataset([dict(item)], self.preprocessing), batch_size=1, num_workers=0)
        self.evaluator.state.epoch_length = 1
        began = time.perf_counter()
        self.evaluator.run()
        result = self.results.results[0]
        logger.info(
            "%s: %d candidate regions, %.1f ml, score %.3f, %.0f s",
            item["case"],
            result["num_regions"],
            result["region_volume_ml"],
            result["anomaly_score"],
            time.perf_counter() - began,
        )
        return result


def _in_one_line(error: BaseException) -> str:
    """Return what was wrong without line breaks, and without the folders of the file that it is about."""
    if isinstance(error, InputError):
        place = f"{Path(error.path).name}: " if error.path is not None else ""
        text = f"{place}{error.what.rstrip('.')}. {error.fix or ''}"
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())
