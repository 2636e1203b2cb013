"""Data set records, split CSVs as MONAI datalists, leak detection and seeded phantoms."""

from scripts.data.calibration_cases import CalibrationRole, load_calibration_cases
from scripts.data.datalist import load_datalist, load_datalists
from scripts.data.folders import data_dir, log_dir
from scripts.data.inputs import find_scans
from scripts.data.leaks import LeakReport, drop_leaks, find_leaks
from scripts.data.operating_points import OperatingPoints
from scripts.data.operating_points_file import write_operating_points
from scripts.data.participants import add_participants, find_participants
from scripts.data.raw_cases import find_raw_cases
from scripts.data.records import DatasetRecord, Role, Split, available_records, load_record, load_records
from scripts.data.result_files import relative_link, remove_result, result_path, write_dataset_description
from scripts.data.splits import load_splits
from scripts.data.volume_cache import VolumeCache

__all__ = [
    "CalibrationRole",
    "DatasetRecord",
    "LeakReport",
    "OperatingPoints",
    "Role",
    "Split",
    "VolumeCache",
    "add_participants",
    "available_records",
    "data_dir",
    "drop_leaks",
    "find_leaks",
    "find_participants",
    "find_raw_cases",
    "find_scans",
    "load_calibration_cases",
    "load_datalist",
    "load_datalists",
    "load_record",
    "load_records",
    "load_splits",
    "log_dir",
    "relative_link",
    "remove_result",
    "result_path",
    "write_dataset_description",
    "write_operating_points",
]
