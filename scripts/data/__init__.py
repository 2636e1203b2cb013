"""Data set records, split CSVs as MONAI datalists, leak detection and seeded phantoms."""

from scripts.data.datalist import load_datalist, load_datalists
from scripts.data.inputs import find_scans
from scripts.data.leaks import LeakReport, drop_leaks, find_leaks
from scripts.data.operating_points import OperatingPoints
from scripts.data.records import DatasetRecord, Role, Split, available_records, load_record, load_records
from scripts.data.result_files import relative_link, result_path, write_dataset_description
from scripts.data.splits import load_splits

__all__ = [
    "DatasetRecord",
    "LeakReport",
    "OperatingPoints",
    "Role",
    "Split",
    "available_records",
    "drop_leaks",
    "find_leaks",
    "find_scans",
    "load_datalist",
    "load_datalists",
    "load_record",
    "load_records",
    "load_splits",
    "relative_link",
    "result_path",
    "write_dataset_description",
]
