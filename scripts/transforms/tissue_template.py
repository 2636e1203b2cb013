"""Where MNI152 has fluid, grey and white matter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from scripts.transforms.template import TEMPLATE_SIZE, load_template

__all__ = ["Tissues", "load_tissues"]

MAX_TISSUE_IN_FLUID = 0.3
MIN_GREY = 0.7
MIN_WHITE = 0.9


@dataclass(frozen=True)
class Tissues:
    """Where the template has which tissue, bool [96, 96, 80] each, without the voxels that hold a mixture.

    Attributes:
        fluid: the ventricles and the wide sulci, 70 ml.
        grey: cortex and nuclei, 760 ml.
        white: white matter, 300 ml.
    """

    fluid: NDArray[np.bool_]
    grey: NDArray[np.bool_]
    white: NDArray[np.bool_]


@cache
def load_tissues() -> Tissues:
    """Load the tissues of the template on the grid of `load_template`; shared, not to be written to.

    Fluid is where the brain mask holds at most 30 % grey and white matter, grey matter where there is more than 70 % of
    it, white matter where there is more than 90 %.

    References:
        ICBM 2009a nonlinear symmetric, as nilearn ships it. Fonov et al., NeuroImage 2011,
        doi:10.1016/j.neuroimage.2010.07.033.
    """
    template = load_template()
    brain = template.mask > 0.5
    grey, white = (
        affine_transform(
            np.asarray(source.dataobj, dtype=np.float32),
            np.linalg.solve(source.affine, template.affine),
            output_shape=TEMPLATE_SIZE,
            order=1,
        )
        for source in (load_mni152_gm_template(resolution=2), load_mni152_wm_template(resolution=2))
    )
    return Tissues(
        fluid=brain & (grey + white < MAX_TISSUE_IN_FLUID), grey=brain & (grey > MIN_GREY), white=white > MIN_WHITE
    )
