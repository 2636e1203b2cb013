"""Data set records, split CSVs as MONAI datalists without leaks, seeded phantoms."""

from scripts.data.datalists import VolumeCache, load_datalist, load_datalists, load_splits
from scripts.data.experiment_sets import CalibrationRole, load_calibration_cases
from scripts.data.folders import data_dir, log_dir
from scripts.data.inputs.find import find_scans
from scripts.data.inputs.raw_cases import find_raw_cases
from scripts.data.inputs.sessions import find_sessions
from scripts.data.records import Role, Split, load_record
from scripts.data.split_plan import add_participants, find_participants

__all__ = [
    "CalibrationRole",
    "Role",
    "Split",
    "VolumeCache",
    "add_participants",
    "data_dir",
    "find_participants",
    "find_raw_cases",
    "find_scans",
    "find_sessions",
    "load_calibration_cases",
    "load_datalist",
    "load_datalists",
    "load_record",
    "load_splits",
    "log_dir",
]
