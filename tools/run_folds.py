"""Train and evaluate all folds, and average: `python -m tools.run_folds --dataset_dir DATA_DIR`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.options import flag
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.report.tables import PaperTable, average_tables, table_of_summary, write_csv, write_paper_table
from tools.bundle_step import Step, StepError, bundle_command, end_on_signals, file_hash

__all__ = ["main", "read_folds", "run_folds", "write_report"]


def read_folds(folders: Mapping[int, Path]) -> dict[int, PaperTable]:
    """Read the table of each fold that has one.

    Args:
        folders: the folder of each fold's experiment.
    """
    tables = {}
    for fold, folder in folders.items():
        about, summary = folder / "experiment.json", folder / "test" / "summary.json"
        if about.is_file() and (folder / "finished.json").is_file():
            order = json.loads(about.read_text(encoding="utf-8"))["datasets"]
            content = json.loads(summary.read_text(encoding="utf-8"))["data_sets"]
            tables[fold] = table_of_summary(content, order=order)
    return tables


def write_report(
    folder: Path, folders: Mapping[int, Path], *, label: str = "", others: Mapping[str, str] | None = None
) -> str:
    """Write table.md, table.csv, table.tex and folds.csv, and return the Markdown.

    Args:
        folder: where to write.
        folders: the folder of each fold's experiment.
        label: what to call these rows when there are others.
        others: {label: folder of another run over folds}, whose rows come first.

    Raises:
        InputError: if no fold is finished, or another run has none.
    """
    own = read_folds(folders)
    if not own:
        raise InputError("no fold has an evaluation", path=folder, fix="The logs in the folders of the folds say why.")
    runs: dict[str, dict[int, PaperTable]] = {}
    for name, place in (others or {}).items():
        runs[name] = read_folds(_fold_folders(Path(place)))
        if not runs[name]:
            raise InputError("no fold has an evaluation", path=place, fix="Give the output_dir of a run over folds.")
    runs[label] = own
    # A fold without a validation set has another kind of Dice; the table takes the kind of the first fold.
    averaged = {name: average_tables(list(tables.values())) for name, tables in runs.items()}
    kinds = sorted({table.dice for table in averaged.values()})
    if len(kinds) > 1:
        raise InputError(f"the runs have Dice at different thresholds: {', '.join(kinds)}", path=folder)
    rows = {
        f"{name}: {row}" if name and len(runs) > 1 else row: cells
        for name, table in averaged.items()
        for row, cells in table.rows.items()
    }
    datasets = list(dict.fromkeys(dataset for table in averaged.values() for dataset in table.datasets))
    numbers = ", ".join(map(str, own))
    table = PaperTable(rows, datasets, kinds[0], f"folds ({numbers})" if len(runs) == 1 else "folds")
    write_csv(folder / "folds.csv", [line for name, tables in runs.items() for line in _fold_rows(name, tables)])
    return write_paper_table(folder, table)


def _fold_folders(root: Path) -> dict[int, Path]:
    """Return the folders of the folds that a run made."""
    found = {path.name.removeprefix("fold"): path for path in sorted(root.glob("fold*")) if path.is_dir()}
    return {int(number): path / "evaluate" for number, path in found.items() if number.isdigit()}


def _fold_rows(label: str, tables: Mapping[int, PaperTable]) -> list[dict[str, Any]]:
    """Return a row per fold, method and data set: mean and standard deviation over cases."""
    rows = []
    for fold, table in tables.items():
        for method, cells in table.rows.items():
            for dataset in table.datasets:
                row: dict[str, Any] = {"run": label, "fold": fold, "method": method, "dataset": dataset}
                for metric in ("dice", "auprc"):
                    cell = cells.get((dataset, metric))
                    row |= {f"{metric}_{part}": cell and getattr(cell, part) for part in ("mean", "std", "n")}
                rows.append(row)
    return rows


logger = logging.getLogger(__name__)
_PRETRAIN, _TRAIN, _EVALUATE = ("train", "pretrain"), ("train",), ("inference", "evaluate", "experiment")


def run_folds(
    output_dir: PathText = "runs/folds",
    *,
    dataset_dir: PathText | None = None,
    modality: str = "t1",
    train_datasets: Sequence[str] | str = ("IXI",),
    datasets: Sequence[str] | str | None = None,
    folds: Sequence[int] | int = (0, 1, 2, 3, 4),
    pretrain: bool = False,
    encoder_path: PathText | None = None,
    checkpoint: PathText | None = None,
    paper: bool = False,
    pretrain_options: Mapping[str, Any] | None = None,
    train_options: Mapping[str, Any] | None = None,
    evaluate_options: Mapping[str, Any] | None = None,
    others: Mapping[str, str] | None = None,
    label: str = "",
    overwrite: bool = False,
) -> None:
    """Train a network in each fold, evaluate it on the data sets of the modality, and average over the folds.

    Every pretraining, training and evaluation is a `python -m monai.bundle run` of its own, with a log beside its
    folder. Folds that are finished are skipped, an interrupted training goes on, a fold that fails does not stop the
    others. At the end `table.md`, `table.csv` and `table.tex` hold mean ± standard deviation over folds, `folds.csv`
    every fold.

    Args:
        output_dir: folder; fold 0 goes to fold0/train and fold0/evaluate, and so on.
        dataset_dir: DATA_DIR; by default that of the environment or of .env.
        modality: t1 or t2.
        train_datasets: healthy sets to train on, comma separated.
        datasets: sets to evaluate on; by default those of the modality in configs/experiment.yaml.
        folds: which folds.
        pretrain: pretrain the encoder of each fold on its training scans first (SparK, configs/pretrain.yaml).
        encoder_path: encoder that was pretrained before, for the training; {fold} stands for the fold's number.
        checkpoint: trained networks to evaluate, without any training; {fold} stands for the fold's number.
        paper: the paper's network and hyper-parameters (network_reference.yaml, paper.yaml, paper_evaluate.yaml).
        pretrain_options: other keys of pretrain.yaml, as "{'max_epochs': 3}".
        train_options: other keys of train.yaml.
        evaluate_options: other keys of inference.yaml, evaluate.yaml and experiment.yaml.
        others: finished runs of this command to put into the same table, as "{'without pretraining': 'runs/plain'}".
        label: what to call this run's rows when there are others.
        overwrite: run everything again.

    Raises:
        InputError: if an option cannot be used, or at the end if a fold has failed.
    """
    numbers = [folds] if isinstance(folds, int) else list(folds)
    if not numbers or not all(isinstance(fold, int) and not isinstance(fold, bool) for fold in numbers):
        raise InputError(f"`folds` must be numbers, got {folds!r}")
    root = Path(output_dir)
    pretrain, paper, overwrite = flag(pretrain), flag(paper), flag(overwrite)
    if pretrain and (encoder_path or checkpoint):
        what = "`pretrain` makes the encoders that `encoder_path` and `checkpoint` say are there"
        raise InputError(what, fix="Give one of them.")
    common = {"dataset_dir": dataset_dir, "modality": modality}
    before = {**common, "datasets": _names(train_datasets), **(pretrain_options or {})}
    network = ["network_reference"] if paper else []
    before_configs = [*_PRETRAIN, *network]
    train = {**common, "datasets": _names(train_datasets), "encoder_path": encoder_path, **(train_options or {})}
    train_configs = [*_TRAIN, *network, *(["paper"] if paper else [])]
    evaluate = {**common, "datasets": datasets and _names(datasets), "train_datasets": _names(train_datasets)}
    evaluate |= dict(evaluate_options or {})
    evaluate_configs = [*_EVALUATE, *network, *(["paper_evaluate"] if paper else [])]
    from scripts.data.folders import only_writer

    with only_writer(root, "run over folds"):
        failures = []
        for fold in numbers:
            try:
                folder, own = root / f"fold{fold}", dict(train)
                if pretrain:
                    step = _fit("pretrain", "encoder.pt", folder, fold, before_configs, before)
                    own["encoder_path"] = step.run(overwrite=overwrite)
                if checkpoint:
                    weights = _trained(checkpoint, fold)
                else:
                    weights = _fit("train", "model.pt", folder, fold, train_configs, own).run(overwrite=overwrite)
                _evaluate(folder, fold, evaluate_configs, evaluate, weights).run(overwrite=overwrite)
            except StepError as failure:
                logger.error("%s", failure)
                failures.append(str(failure))
        finished = {fold: root / f"fold{fold}" / "evaluate" for fold in numbers}
        text = write_report(root, finished, label=label, others=dict(others or {}))
        logger.info("\n%s", text)
    if failures:
        raise InputError(f"{len(failures)} of {len(numbers)} folds have no result: " + "; ".join(failures))


def _fit(kind: str, product: str, folder: Path, fold: int, configs: Sequence[str], options: Mapping[str, Any]) -> Step:
    """Return the pretraining or the training of one fold, which makes `product`."""
    own = {**options, "fold": fold, "output_dir": folder / kind}
    inputs = None
    if options.get("encoder_path"):
        own["encoder_path"] = _filled(str(options["encoder_path"]), fold)
        inputs = {"encoder": file_hash(Path(own["encoder_path"]))}
    return Step(
        name=f"{kind}ing of fold {fold}",
        command=bundle_command(configs, own, run_id="training"),
        folder=folder / kind,
        product=product,
        resumable="checkpoint.pt",
        inputs=inputs,
    )


def _evaluate(folder: Path, fold: int, configs: Sequence[str], options: Mapping[str, Any], weights: Path) -> Step:
    """Return the evaluation of the network of one fold."""
    own = {**options, "fold": fold, "checkpoint": weights, "output_dir": folder / "evaluate"}
    return Step(
        name=f"evaluation of fold {fold}",
        command=bundle_command(configs, own),
        folder=folder / "evaluate",
        product="experiment.json",
        inputs={"weights": file_hash(weights)},
    )


def _trained(pattern: str, fold: int) -> Path:
    """Return the network of a fold that was trained before."""
    path = Path(_filled(pattern, fold))
    if not path.is_file():
        raise InputError("the file of `checkpoint` does not exist", path=path, fix="Give the path of a model.pt.")
    return path


def _names(value: Sequence[str] | str) -> list[str]:
    """Return one or several names as a list."""
    return [value] if isinstance(value, str) else [str(name) for name in value]


def _filled(pattern: str, fold: int) -> str:
    """Return a path with the fold's number in it."""
    return pattern.replace("{fold}", str(fold))


def main() -> None:
    """Run `run_folds` from the command line."""
    end_on_signals()
    run_command(run_folds)


if __name__ == "__main__":
    main()
