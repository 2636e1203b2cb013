"""MONAI transforms: checks, denoising, intensity window, working grid, slices, augmentation."""

from __future__ import annotations

from scripts.transforms.check_image import BrainMaskFromNonzerod, CheckImaged
from scripts.transforms.denoise import CurvatureFlowDenoised
from scripts.transforms.ghosting import RandGhostingd, add_ghosts
from scripts.transforms.intensity import ScaleByMaskPercentilesd
from scripts.transforms.outputs import AtomicNibabelWriter, ReloadOriginald, SplitOutputsd
from scripts.transforms.slices import AxialSlicesd, RandAxialSliced, brain_slices
from scripts.transforms.working_grid import GridCenter, ToWorkingGridd, grid_affine

__all__ = [
    "AtomicNibabelWriter",
    "AxialSlicesd",
    "BrainMaskFromNonzerod",
    "CheckImaged",
    "CurvatureFlowDenoised",
    "GridCenter",
    "RandAxialSliced",
    "RandGhostingd",
    "ReloadOriginald",
    "ScaleByMaskPercentilesd",
    "SplitOutputsd",
    "ToWorkingGridd",
    "add_ghosts",
    "brain_slices",
    "grid_affine",
]
