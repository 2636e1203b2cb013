"""MONAI transforms: checks, denoising, intensity window, working grid, slices, augmentation."""

from __future__ import annotations

from scripts.transforms.augmentation import (
    RandAnomalyd,
    RandBrainEdged,
    RandBrainNoised,
    RandGhostingd,
    RandT2LikeContrastd,
    add_ghosts,
)
from scripts.transforms.intensity import CorrectBiasd, CurvatureFlowDenoised, NormalizeScansd, ScaleByMaskPercentilesd
from scripts.transforms.loading import BrainMaskFromNonzerod, CheckImaged, LoadScansd, SetModalityd
from scripts.transforms.named_steps import NamedSteps
from scripts.transforms.outputs import CarryInMetad, ReloadOriginald, ScoreScand, SplitOutputsd, carried
from scripts.transforms.working_grid import (
    AverageVoxelsd,
    AxialSlicesd,
    GridCenter,
    RandAxialSliced,
    ToWorkingGridd,
    brain_slices,
)

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
