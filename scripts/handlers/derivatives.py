"""What BIDS wants beside the results of BIDS scans: sidecars of images, and the files of a data set of derivatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scripts.report.tables import write_json, write_text
from scripts.results import bundle_version, result_path, write_dataset_description

__all__ = ["write_dataset_files", "write_sidecars"]

_SIDECARS: dict[str, dict[str, Any]] = {
    "anomaly_map": {"Description": "Anomaly map; higher is more anomalous"},
    "lesion_mask": {"Description": "Candidate regions: the anomaly map reaches the threshold", "Type": "Lesion"},
    "mahalanobis_map": {"Description": "Mahalanobis distance from the reconstructions"},
    "reconstruction": {"Description": "Healthy brain that the model makes of the scan", "SkullStripped": True},
    "uncertainty": {"Description": "Spread of the reconstructions"},
    "brain_mask": {"Description": "Brain mask", "Type": "Brain"},
    "difference_map": {"Description": "Anomaly map less that of the baseline session"},
    "change_dseg": {"Description": "Change since baseline: 1 new, 2 grown, 3 shrunken, 4 vanished, 5 unchanged"},
}
# what BIDS has no names for
_IGNORED = ("*.html", "*.csv", "*.png", "*.dcm", "*_map.nii.gz", "*_map.json", "*_result.json", "logs/")
_README = """\
Anomaly maps of T1- and T2-weighted brain scans. Research software; not a medical device, and not for diagnosis.

`index.html` and `summary.csv` list the scans, `regions.csv` their candidate regions. Beside each scan's images lie
`*_result.json` (all numbers) and `*_report.html`, a page with a viewer. Files that BIDS has no names for are listed in
`.bidsignore`.
"""


def write_sidecars(output_dir: str, item: Mapping[str, Any], names: Iterable[str]) -> None:
    """Write the JSON sidecar of each image of a BIDS scan; nothing for other scans.

    Args:
        output_dir: folder of all results.
        item: the scan.
        names: of its images, as for `result_path`.
    """
    if "bids_suffix" not in item:
        return
    source = f"bids:raw:{item['folder']}/{item['stem']}_{item['bids_suffix']}.nii.gz"
    for name in names:
        path = result_path(output_dir, item, name, suffix=".json")
        write_json(path, {**_SIDECARS[name], "SpatialReference": source, "Sources": [source]})


def write_dataset_files(output_dir: str) -> None:
    """Write `dataset_description.json`, `.bidsignore` and `README.md`; what another program wrote stays as it is."""
    write_dataset_description(output_dir, bundle_version())
    ignored = Path(output_dir, ".bidsignore")
    known = ignored.read_text(encoding="utf-8").splitlines() if ignored.is_file() else []
    lines = list(dict.fromkeys([*known, *_IGNORED]))
    if lines != known:
        write_text(ignored, "\n".join(lines) + "\n")
    if not any(Path(output_dir).glob("README*")):
        write_text(Path(output_dir, "README.md"), _README)
