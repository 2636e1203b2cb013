"""Make the pictures of the documents again after new weights: `python -m tools.release.docs_pictures --help`."""

from __future__ import annotations

import json
import logging
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scripts.errors import InputError
from scripts.files import replacing
from scripts.options.command import run_command
from scripts.options.fields import Paths, PathText

if TYPE_CHECKING:
    import nibabel as nib

__all__ = ["docs_pictures", "draw_thresholds", "main", "run_notebook", "stack_panels"]

logger = logging.getLogger(__name__)
_WIDTH = 900  # pixels of the stacked panels
_QUALITY = 85  # of the JPEG file
_CASE = "mni152_lesion"  # what `make demo` analyses
_COLOUR = "#35c759"
_TIMEOUT_S = 1800


def docs_pictures(
    *,
    panels: Paths | None = None,
    demo_dir: PathText | None = None,
    threshold: Annotated[float, Field(gt=0)] = 20.0,
    notebook: bool = False,
    docs_dir: PathText = "bundle/docs",
) -> None:
    """Make cases.jpg, monai_label.png and the notebook's outputs again; each is asked for by its option.

    Args:
        panels: pictures of cases out of the folder `panels` of an evaluation, for cases.jpg, from the top down.
        demo_dir: what `make demo` wrote, for monai_label.png: the mask of the default threshold and another one.
        threshold: the other one.
        notebook: whether to run tutorial.ipynb inside of the packed and unzipped bundle, and keep its outputs.
        docs_dir: where the pictures and the notebook are.

    Raises:
        InputError: if a picture or the demo's result is missing.
    """
    docs = Path(docs_dir)
    if panels:
        paths = [panels] if isinstance(panels, str) else panels
        stack_panels([Path(path) for path in paths], docs / "cases.jpg")
    if demo_dir:
        draw_thresholds(Path(demo_dir), docs / "monai_label.png", threshold=threshold)
    if notebook:
        run_notebook(docs / "tutorial.ipynb")
    if not (panels or demo_dir or notebook):
        raise InputError("there is nothing to make", fix="Give --panels, --demo_dir or --notebook true")


def stack_panels(paths: list[Path], target: Path) -> None:
    """Write pictures of one width below each other, as JPEG.

    Args:
        paths: PNG files.
        target: the picture.

    Raises:
        InputError: if one is missing.
    """
    from PIL import Image

    for path in paths:
        if not path.is_file():
            raise InputError("there is no such picture", path=path, fix="Evaluate with --panels all")
    images = [Image.open(path).convert("RGB") for path in paths]
    images = [image.resize((_WIDTH, round(image.height * _WIDTH / image.width))) for image in images]
    whole = Image.new("RGB", (_WIDTH, sum(image.height for image in images)))
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    with replacing(target) as temporary:
        whole.save(temporary, format="JPEG", quality=_QUALITY)
    logger.info("wrote %s", target)


def draw_thresholds(folder: Path, target: Path, *, threshold: float) -> None:
    """Draw the demo's scan in three planes with the mask of the default threshold, and with that of another one.

    Args:
        folder: of `make demo`.
        target: the PNG file.
        threshold: the other one.

    Raises:
        InputError: if the demo was not run.
    """
    from matplotlib.figure import Figure

    results = folder / _CASE
    found = results / "result.json"
    if not found.is_file():
        raise InputError("there is no result of the demo", path=found, fix="Run make demo")
    default = float(json.loads(found.read_text(encoding="utf-8"))["threshold"])
    scan = _load(folder / f"{_CASE}.nii.gz")
    voxels, values = _voxels(scan), _voxels(_load(results / f"{_CASE}_anomaly_map.nii.gz"))
    middle = tuple(
        round(float(place.mean())) for place in np.nonzero(_voxels(_load(folder / f"{_CASE}_label.nii.gz")) > 0)
    )
    ml = float(abs(np.linalg.det(np.asarray(scan.affine)[:3, :3]))) / 1000
    figure = Figure(figsize=(9, 6.4), dpi=90, facecolor="black", layout="constrained")
    for row, (level, word) in enumerate(((default, "auto"), (threshold, "set in the client"))):
        mask = (values >= level) & (values > 0)
        for axis in range(3):
            cell = figure.add_subplot(2, 3, 3 * row + axis + 1)
            cell.imshow(_plane(voxels, axis, middle), cmap="gray", origin="lower")
            if (plane := _plane(mask, axis, middle)).any():
                cell.contour(plane, levels=[0.5], colors=_COLOUR, linewidths=1.2)
            cell.axis("off")
            if axis == 0:
                title = f"threshold {level:.3g} ({word}): {mask.sum() * ml:.0f} ml"
                cell.set_title(title, color=_COLOUR, loc="left", fontsize=10)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png", facecolor="black")
    logger.info("wrote %s", target)


def run_notebook(path: Path) -> None:
    """Run a notebook in the folder of documents of the packed and unzipped bundle, and keep its outputs.

    Args:
        path: the notebook; it must be one of the bundle's documents.
    """
    import nbformat
    from nbclient import NotebookClient

    from tools.release.package_bundle import package_bundle

    with tempfile.TemporaryDirectory() as folder:
        package_bundle(output_dir=folder)
        (package,) = Path(folder).glob("*.zip")
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
        docs = next(Path(folder).glob("*/docs"))
        notebook: Any = nbformat.read(docs / path.name, as_version=4)
        NotebookClient(notebook, timeout=_TIMEOUT_S, resources={"metadata": {"path": str(docs)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of this run
    with replacing(path) as temporary:
        nbformat.write(notebook, temporary)
    logger.info("wrote %s", path)


def _load(path: Path) -> nib.Nifti1Image:
    import nibabel as nib

    return nib.Nifti1Image.from_filename(path)


def _voxels(image: nib.Nifti1Image) -> NDArray[Any]:
    return np.asarray(image.dataobj)


def _plane(volume: NDArray[Any], axis: int, place: tuple[int, ...]) -> NDArray[Any]:
    """Return the axial (0), coronal (1) or sagittal (2) slice through a voxel, as rows from the bottom up."""
    planes = (volume[::-1, :, place[2]], volume[::-1, place[1], :], volume[place[0], :, :])
    return planes[axis].T


def main() -> None:
    """Run the command line."""
    run_command(docs_pictures)


if __name__ == "__main__":
    main()
