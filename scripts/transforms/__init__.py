"""MONAI transforms: checks, denoising, intensity window, working grid, slices, augmentation."""

from __future__ import annotations

from scripts.transforms.anomalies import RandAnomalyd
from scripts.transforms.average_voxels import AverageVoxelsd
from scripts.transforms.bias_correction import CorrectBiasd
from scripts.transforms.carried import CarryInMetad, carried
from scripts.transforms.check_image import BrainMaskFromNonzerod, CheckImaged
from scripts.transforms.denoise import CurvatureFlowDenoised
from scripts.transforms.ghosting import RandGhostingd, add_ghosts
from scripts.transforms.intensity import ScaleByMaskPercentilesd
from scripts.transforms.load_scan import LoadScansd
from scripts.transforms.named_steps import NamedSteps
from scripts.transforms.normalize_scan import NormalizeScansd
from scripts.transforms.outputs import ReloadOriginald, SplitOutputsd
from scripts.transforms.scanner import RandBrainEdged, RandBrainNoised, RandT2LikeContrastd
from scripts.transforms.score_scan import ScoreScand
from scripts.transforms.set_modality import SetModalityd
from scripts.transforms.slices import AxialSlicesd, RandAxialSliced, brain_slices
from scripts.transforms.working_grid import GridCenter, ToWorkingGridd

__all__ = [
    "AverageVoxelsd",
    "AxialSlicesd",
    "BrainMaskFromNonzerod",
    "CarryInMetad",
    "CheckImaged",
    "CorrectBiasd",
    "CurvatureFlowDenoised",
    "GridCenter",
    "LoadScansd",
    "NamedSteps",
    "NormalizeScansd",
    "RandAnomalyd",
    "RandAxialSliced",
    "RandBrainEdged",
    "RandBrainNoised",
    "RandGhostingd",
    "RandT2LikeContrastd",
    "ReloadOriginald",
    "ScaleByMaskPercentilesd",
    "ScoreScand",
    "SetModalityd",
    "SplitOutputsd",
    "ToWorkingGridd",
    "add_ghosts",
    "brain_slices",
    "carried",
]
