"""Find a lesion that is drawn into the MNI152 template: the bundle's main job without any data of one's own."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from scripts.errors import InputError
from scripts.files import replacing
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.options.values import as_literal
from scripts.paths import bundle_root
from scripts.report.tables import write_json

if TYPE_CHECKING:
    import numpy as np

__all__ = ["demo", "draw_lesion"]

logger = logging.getLogger(__name__)
_NAME = "mni152_lesion"


def draw_lesion(
    image: np.ndarray,
    brain_mask: np.ndarray,
    affine: np.ndarray,
    *,
    center_mm: tuple[float, float, float] = (30.0, -22.0, 26.0),
    radius_mm: float = 13.0,
    depth: float = 0.75,
    seed: int = 3141,
) -> tuple[np.ndarray, np.ndarray]:
    """Darken an irregular blob of a T1-weighted image toward cerebrospinal fluid, with a soft edge.

    Args:
        image: [H, W, D], at least 0.
        brain_mask: [H, W, D], True in the brain.
        affine: voxel to world, mm.
        center_mm: centre of the lesion, world.
        radius_mm: its mean radius.
        depth: how far the intensity goes from tissue (0) to fluid (1).
        seed: of its outline.

    Returns:
        The image with the lesion, and the lesion's mask (True where the darkening is over half of its depth).

    Raises:
        InputError: if the lesion misses the brain.

    Examples:
        >>> import numpy as np
        >>> image, brain = np.linspace(50.0, 100.0, 4096).reshape(16, 16, 16), np.ones((16, 16, 16), dtype=bool)
        >>> darker, lesion = draw_lesion(image, brain, np.diag([2, 2, 2, 1.0]), center_mm=(16, 16, 16), radius_mm=6)
        >>> bool((darker < image)[lesion].all()), bool(lesion[8, 8, 8])
        (True, True)
    """
    import numpy as np
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    voxels = np.moveaxis(np.indices(image.shape), 0, -1)
    distance = np.linalg.norm(voxels @ affine[:3, :3].T + affine[:3, 3] - np.asarray(center_mm), axis=-1)
    wobble = ndimage.gaussian_filter(rng.standard_normal(image.shape), 5 / spacing)
    blob = (distance + 3 * wobble / wobble.std() < radius_mm) & brain_mask
    if not blob.any():
        raise InputError(f"`center_mm` must lie in the brain, got {center_mm}.")
    weight = ndimage.gaussian_filter(blob.astype(np.float32), 1.5 / spacing) * brain_mask
    fluid = np.percentile(image[brain_mask], 3)
    return image + depth * weight * (fluid - image), weight > 0.5


def _write(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    import nibabel as nib

    with replacing(path) as temporary:
        nib.save(nib.Nifti1Image(volume, affine), temporary)


def demo(
    *,
    output_dir: PathText = "demo",
    resolution: Annotated[int, Field(ge=1, le=4)] = 1,
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 3141,
    num_samples: Annotated[int, Field(ge=2, le=10_000)] = 10,
) -> None:
    """Draw a lesion into nilearn's MNI152 T1 template and find it with the bundle's weights.

    Writes the scan, the drawn lesion, anomaly map, lesion mask and reconstruction (NIfTI), the result (JSON), a picture
    (PNG) and the report (HTML), and logs where they are. Nothing is downloaded.

    Args:
        output_dir: folder for the files.
        resolution: voxel edge of the template, mm.
        seed: of the reconstructions' noise.
        num_samples: reconstructions of each slice, at least 2.
    """
    import monai.bundle
    import numpy as np
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    folder = Path(output_dir)
    template = load_mni152_template(resolution=resolution)
    brain = load_mni152_brain_mask(resolution=resolution).get_fdata() > 0
    image, lesion = draw_lesion(template.get_fdata() * brain, brain, template.affine)
    scan = folder / f"{_NAME}.nii.gz"
    _write(scan, image.astype(np.float32), template.affine)
    _write(folder / f"{_NAME}_label.nii.gz", lesion.astype(np.uint8), template.affine)
    monai.bundle.run(
        config_file=f"{bundle_root()}/configs/inference.yaml",
        input=as_literal(str(scan)),
        output_dir=as_literal(str(folder)),
        modality="t1",
        save=["anomaly_map", "lesion_mask", "reconstruction"],
        overwrite=True,
        seed=seed,
        num_samples=num_samples,
    )
    _compare(folder / _NAME, lesion, tuple(np.linalg.norm(template.affine[:3, :3], axis=0)))
    for path in sorted([*folder.glob("*.nii.gz"), *(folder / _NAME).iterdir()]):
        logger.info("wrote %s", path)


def _compare(folder: Path, lesion: np.ndarray, spacing_mm: tuple[float, ...]) -> None:
    """Add to the result how well the drawn lesion was found."""
    import nibabel as nib
    import numpy as np
    from scripts.metrics.score_counts import voxel_scores
    from scripts.metrics.segmentation import segmentation_scores

    found = nib.Nifti1Image.from_filename(folder / f"{_NAME}_lesion_mask.nii.gz").get_fdata() > 0
    scores = nib.Nifti1Image.from_filename(folder / f"{_NAME}_anomaly_map.nii.gz").get_fdata()
    measured = segmentation_scores(found, lesion, spacing_mm=spacing_mm)
    path = folder / "result.json"
    result = json.loads(path.read_text())
    result["drawn_lesion"] = {
        "volume_ml": float(lesion.sum() * np.prod(spacing_mm) / 1000),
        "dice": measured.dice,
        "precision": measured.precision,
        "recall": measured.recall,
        "auprc": voxel_scores(scores, lesion).auprc,
    }
    write_json(path, result)
    logger.info("drawn lesion: %s", json.dumps(result["drawn_lesion"]))


def main() -> None:
    """Run `demo` from the command line."""
    run_command(demo)


if __name__ == "__main__":
    main()
