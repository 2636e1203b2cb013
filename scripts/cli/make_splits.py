"""Write the splits and the record of a new data set: `python -m scripts.cli.make_splits DATA_DIR/Train/NAME`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from scripts.errors import InputError
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.paths import bundle_root

if TYPE_CHECKING:
    from scripts.data.records import DatasetRecord

__all__ = ["main", "make_splits"]

logger = logging.getLogger(__name__)


def make_splits(
    input: PathText,
    output_dir: PathText | None = None,
    *,
    name: str | None = None,
    record: PathText | None = None,
    participants: PathText | None = None,
    published: PathText | None = None,
    role: str | None = None,
    num_folds: Annotated[int, Field(ge=1, le=10_000)] = 5,
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.15,
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    subject_pattern: str | None = None,
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 3141,
    licence: str = "not stated",
    citation: str = "not stated",
    overwrite: bool = False,
) -> DatasetRecord:
    """Divide a data set into folds, validation and test, and write the CSV files and the record that make it usable.

    A subject is in one split only, whatever number of sessions and modalities there are. Splits are alike in age and
    sex where these are known. A healthy set gets a test set and folds of training and validation; a set with a lesion
    label for every scan gets validation and test.

    The scans must be skull-stripped and lie on the template: raw ones go through bundle/configs/preprocess.yaml first.

    Args:
        input: folder of the set: DATA_DIR/Train/NAME as preprocess.yaml writes it, a BIDS data set, or any folder.
        output_dir: the DATA_DIR in whose folder `splits` the CSV files go; by default the one that input lies in. If
            input lies elsewhere, a link to it is made in Train or Test.
        name: of the set; by default the folder's.
        record: YAML file of the record; by default NAME.yaml in bundle/configs/datasets.
        participants: table with participant_id, age, sex and group; by default participants.tsv in input or above.
        published: table with participant_id and published_splits (`train_fold0 val_fold1 test`, …): the splits are
            taken from it instead of made anew, for a set whose record is there already and stays as it is.
        role: healthy or lesion; by default lesion if every scan has a label.
        num_folds: folds of a healthy set; 1 makes one fold with val_share for validation.
        test_share: share of the subjects in a healthy set's test set, 0 for none.
        val_share: share of the subjects in a lesion set's validation set.
        subject_pattern: regular expression that finds the subject in a scan's name, such as "IXI[0-9]+"; its first
            group, or all of it. By default `sub-…` of BIDS names, else the whole name.
        seed: the same seed gives the same splits.
        licence: terms of the images, for the record.
        citation: what to cite, for the record.
        overwrite: replace CSV files and a record of that name.

    Returns:
        The record.

    Raises:
        InputError: if the folder holds no scans, there are too few subjects, or a file is there already.

    Examples:
        >>> import tempfile
        >>> from scripts.cli.make_phantom import make_phantom
        >>> with tempfile.TemporaryDirectory() as data:
        ...     make_phantom(data, datasets="IXI", shape=(8, 8, 8))
        ...     made = make_splits(f"{data}/Train/ixi", name="mine", record=f"{data}/mine.yaml", num_folds=2)
        ...     print(made.name, made.role.value, Path(data, "splits", "mine_val_fold1.csv").is_file())
        mine healthy True
    """
    from scripts.data.records import load_record
    from scripts.data.split_plan import (
        find_participants,
        plan_splits,
        published_plan,
        read_participants,
        read_published_splits,
    )
    from scripts.report.tables import write_csv
    from scripts.workflows.new_dataset import (
        find_place,
        find_split_cases,
        link_into,
        make_record,
        participants_of,
        split_files,
        summary_line,
        write_record,
    )

    folder = Path(input).expanduser().absolute()
    if not folder.is_dir():
        raise InputError("is not a folder", path=folder, fix="Give the folder of the data set")
    set_name = str(name or folder.name)
    table = participants or find_participants(folder)
    cases = find_split_cases(folder, facts=read_participants(table) if table else {}, pattern=subject_pattern)
    chosen = str(role or ("lesion" if all(case.label for case in cases) else "healthy"))
    path = Path(record).expanduser() if record else Path(bundle_root()) / "configs" / "datasets" / f"{set_name}.yaml"
    if published:
        set_record = load_record(path)
        names = {case.subject for case in cases}
        plan = published_plan(read_published_splits(published), subjects=names)
    else:
        set_record = make_record(
            set_name, cases, role=chosen, test=bool(test_share), licence=licence, citation=citation
        )
        plan = plan_splits(
            participants_of(cases),
            role=chosen,
            num_folds=num_folds,
            test_share=test_share,
            val_share=val_share,
            seed=seed,
        )
    root, set_record = find_place(output_dir, folder, set_record)
    files = split_files(root, set_record, plan, cases, folder=folder)
    there = [str(file) for file in (*files, *([] if published else [path])) if file.exists()]
    if there and not overwrite:
        raise InputError(f"there already: {', '.join(there)}", fix="Give another --name, or --overwrite true")
    link_into(root, folder, set_record)
    for file, rows in files.items():
        write_csv(file, rows, for_people=False)
    if not published:
        write_record(path, set_record)
    lines = "\n".join(summary_line(file, rows) for file, rows in files.items())
    logger.info("%d cases of %d subjects:\n%s", len(cases), len({case.subject for case in cases}), lines)
    logger.info("%s: use it with --dataset_dir %s --datasets \"['%s']\"", path, root, path if record else set_name)
    return load_record(path)


def main() -> None:
    """Run `make_splits` from the command line."""
    run_command(make_splits)


if __name__ == "__main__":
    main()
