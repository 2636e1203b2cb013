"""Which scans are done: a result counts for the same bytes, weights, settings, threshold and version."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import file_sha256
from scripts.handlers.scan_result import ScanResult
from scripts.handlers.session_change import CHANGE_IMAGES
from scripts.results import BUNDLE, bundle_version, remove_result, result_path
from scripts.scans.dicom import is_dicom, series_of
from scripts.scans.volume import add_note, read_notes

__all__ = ["finished_result", "input_checksums", "with_checksums"]

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
