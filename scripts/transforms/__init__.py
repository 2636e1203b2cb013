"""MONAI transforms: checks, denoising, intensity window, working grid, slices, augmentation."""

from __future__ import annotations

from scripts.transforms.align_case import AlignCased
from scripts.transforms.align_to_template import AlignToTemplated
from scripts.transforms.anomalies import RandAnomalyd
from scripts.transforms.bias_correction import CorrectBiasd
from scripts.transforms.brain_extraction import BrainExtractiond
from scripts.transforms.carried import CarryInMetad, carried
from scripts.transforms.check_image import BrainMaskFromNonzerod, CheckImaged
from scripts.transforms.denoise import CurvatureFlowDenoised
from scripts.transforms.ghosting import RandGhostingd, add_ghosts
from scripts.transforms.host_options import CheckOptions
from scripts.transforms.intensity import ScaleByMaskPercentilesd
from scripts.transforms.load_scan import LoadScansd
from scripts.transforms.modality import SetModalityd
from scripts.transforms.named_steps import NamedSteps
from scripts.transforms.output_grid import output_grid
from scripts.transforms.outputs import AtomicNibabelWriter, ReloadOriginald, SplitOutputsd
from scripts.transforms.quality_control import QualityControld, ScanRefused
from scripts.transforms.scan_reader import ScanReader
from scripts.transforms.scan_score import ScoreScand
from scripts.transforms.scanner import RandBrainEdged, RandBrainNoised, RandT2LikeContrastd
from scripts.transforms.slices import AxialSlicesd, RandAxialSliced, brain_slices
from scripts.transforms.working_grid import GridCenter, ToWorkingGridd, grid_affine

__all__ = [
    "AlignCased",
    "AlignToTemplated",
    "AtomicNibabelWriter",
    "AxialSlicesd",
    "BrainExtractiond",
    "BrainMaskFromNonzerod",
    "CarryInMetad",
    "CheckImaged",
    "CheckOptions",
    "CorrectBiasd",
    "CurvatureFlowDenoised",
    "GridCenter",
    "LoadScansd",
    "NamedSteps",
    "QualityControld",
    "RandAnomalyd",
    "RandAxialSliced",
    "RandBrainEdged",
    "RandBrainNoised",
    "RandGhostingd",
    "RandT2LikeContrastd",
    "ReloadOriginald",
    "ScaleByMaskPercentilesd",
    "ScanReader",
    "ScanRefused",
    "ScoreScand",
    "SetModalityd",
    "SplitOutputsd",
    "ToWorkingGridd",
    "add_ghosts",
    "brain_slices",
    "carried",
    "grid_affine",
    "output_grid",
]
