"""Write a small `DATA_DIR` of phantoms: `python -m scripts.cli.make_phantom --output_dir phantoms`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from scripts.options.command import run_command
from scripts.options.fields import PathText

__all__ = ["main", "make_phantom"]

logger = logging.getLogger(__name__)


def make_phantom(
    output_dir: PathText,
    *,
    datasets: Sequence[str] | str | None = None,
    shape: Annotated[Sequence[int], Field(min_length=3, max_length=3)] = (96, 96, 80),
    spacing: float | Sequence[float] = 2.0,
    num_train: Annotated[int, Field(ge=1, le=10_000)] = 3,
    num_val: Annotated[int, Field(ge=1, le=10_000)] = 2,
    num_test: Annotated[int, Field(ge=1, le=10_000)] = 2,
    num_folds: Annotated[int, Field(ge=1, le=10_000)] = 5,
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0,
    overwrite: bool = False,
) -> None:
    """Write phantoms as NIfTI files with the split CSVs of the data sets, to try the workflows without real scans.

    The folder can then be given to every workflow as `--dataset_dir`. The defaults write the five published sets on
    the 2 mm template grid; `--shape 24,24,16` is enough for a test of the plumbing.

    Args:
        output_dir: folder to write; must be empty or not exist yet.
        datasets: data sets to write, comma separated, by the names of their records in configs/datasets; by default the
            five published ones.
        shape: voxels along x, y, z, comma separated, at least 8 each.
        spacing: voxel size in mm, one for all axes or three, comma separated.
        num_train: training subjects in a fold of a healthy set.
        num_val: validation subjects in a fold, validation cases of a lesion set.
        num_test: test subjects of a healthy set, test cases of a lesion set.
        num_folds: folds of a healthy set.
        seed: seed of all phantoms.
        overwrite: write into a folder that is not empty; other files in it are left alone.

    Raises:
        InputError: if the folder is not empty, a data set is unknown or a number is out of its range.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     make_phantom(folder, datasets="IXI", shape=(8, 8, 8), num_folds=1)
        ...     print(*sorted(path.name for path in Path(folder, "splits").iterdir()))
        IXI_test.csv IXI_train_fold0.csv IXI_val_fold0.csv avail_t2.csv
    """
    from scripts.data.phantom import PUBLISHED, write_phantom_tree

    root = write_phantom_tree(
        str(output_dir),
        datasets=PUBLISHED if datasets is None else datasets,
        shape=shape,
        spacing=spacing,
        num_train=num_train,
        num_val=num_val,
        num_test=num_test,
        num_folds=num_folds,
        seed=seed,
        overwrite=overwrite,
    )
    volumes = sum(1 for _ in root.rglob("*.nii.gz"))
    splits = sum(1 for _ in (root / "splits").glob("*.csv"))
    logger.info("%s holds %d volumes and %d CSV files now", root.absolute(), volumes, splits)


def main() -> None:
    """Run `make_phantom` from the command line."""
    run_command(make_phantom)


if __name__ == "__main__":
    main()
