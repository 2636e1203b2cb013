"""The choices that options have, each with its names."""

from __future__ import annotations

from enum import StrEnum

from scripts.errors import check_choice

__all__ = [
    "Alignment",
    "BrainExtraction",
    "Extent",
    "Modality",
    "NoiseKind",
    "PatchTarget",
    "Polarity",
    "Region",
    "Residual",
    "Score",
]


class Modality(StrEnum):
    """The contrasts that there are weights for."""

    T1 = "t1"
    T2 = "t2"


class PatchTarget(StrEnum):
    """What a network reconstructs of a patch."""

    PER_PATCH = "per_patch"  # its pixels at mean 0 and standard deviation 1 of the patch
    PLAIN = "plain"


class Extent(StrEnum):
    """Which pixels share one covariance matrix."""

    SLICE = "slice"
    VOLUME = "volume"


class Score(StrEnum):
    """What the map holds of d = image − mean reconstruction and its covariance Σ."""

    REFERENCE = "reference"
    WHITENED = "whitened"
    CONDITIONAL = "conditional"
    DIAGONAL = "diagonal"


class NoiseKind(StrEnum):
    """The distribution of the noise."""

    SIMPLEX = "simplex"
    GAUSSIAN = "gaussian"


class Residual(StrEnum):
    """How the image and its mean reconstruction are compared, voxel by voxel."""

    SSIM = "ssim"
    L1 = "l1"
    L2 = "l2"
    NONE = "none"


class BrainExtraction(StrEnum):
    """When to look for the brain: where a scan still has its skull, in every scan, or in none."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Alignment(StrEnum):
    """When a scan is aligned: where its header does not place it on the template, always, or never."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Region(StrEnum):
    """Which voxels count in voxel-wise metrics: the whole volume (zero outside the brain) or the brain mask only."""

    VOLUME = "volume"
    BRAIN = "brain"


class Polarity(StrEnum):
    """Whether the intensity baseline looks for dark or for bright lesions."""

    DARK = "dark"
    BRIGHT = "bright"

    @classmethod
    def of(cls, modality: str) -> Polarity:
        """Return how most lesions look: dark in `t1`, bright in `t2`.

        Raises:
            InputError: for another modality.
        """
        return cls.DARK if check_choice(Modality, modality, "modality") is Modality.T1 else cls.BRIGHT
