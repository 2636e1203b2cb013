"""MONAI transforms: checks, denoising, intensity window, working grid, slices, augmentation."""

from __future__ import annotations

from scripts.transforms.align_to_template import AlignToTemplated
from scripts.transforms.bias_correction import CorrectBiasd
from scripts.transforms.brain_extraction import BrainExtractiond
from scripts.transforms.check_image import BrainMaskFromNonzerod, CheckImaged
from scripts.transforms.denoise import CurvatureFlowDenoised
from scripts.transforms.ghosting import RandGhostingd, add_ghosts
from scripts.transforms.intensity import ScaleByMaskPercentilesd
from scripts.transforms.modality import SetModalityd
from scripts.transforms.named_steps import NamedSteps
from scripts.transforms.outputs import AtomicNibabelWriter, ReloadOriginald, SplitOutputsd
from scripts.transforms.quality_control import QualityControld, ScanRefused
from scripts.transforms.scan_reader import ScanReader
from scripts.transforms.slices import AxialSlicesd, RandAxialSliced, brain_slices
from scripts.transforms.working_grid import GridCenter, ToWorkingGridd, grid_affine

__all__ = [
    "AlignToTemplated",
    "AtomicNibabelWriter",
    "AxialSlicesd",
    "BrainExtractiond",
    "BrainMaskFromNonzerod",
    "CheckImaged",
    "CorrectBiasd",
    "CurvatureFlowDenoised",
    "GridCenter",
    "NamedSteps",
    "QualityControld",
    "RandAxialSliced",
    "RandGhostingd",
    "ReloadOriginald",
    "ScaleByMaskPercentilesd",
    "ScanReader",
    "ScanRefused",
    "SetModalityd",
    "SplitOutputsd",
    "ToWorkingGridd",
    "add_ghosts",
    "brain_slices",
    "grid_affine",
]
