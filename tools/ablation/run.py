"""Compare settings of the maps on validation cases: `python -m tools.ablation --help`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from scripts.options.command import run_command
from scripts.options.fields import Device, PathText
from scripts.results import portable_command, versions

if TYPE_CHECKING:
    from tools.ablation.cases import AblationCase

__all__ = ["ablation", "main"]

logger = logging.getLogger(__name__)


def ablation(
    grid: PathText,
    *,
    dataset_dir: PathText | None = None,
    output_dir: PathText | None = None,
    cache_dir: PathText | None = None,
    datasets: str | Sequence[str] = "SyntheticStroke",
    healthy: str | Sequence[str] | None = None,
    split: Literal["train", "val", "test"] = "val",
    allow_test: bool = False,
    fold: Annotated[int, Field(ge=0, le=999)] = 0,
    modality: Literal["t1", "t2"] = "t1",
    checkpoint: PathText | None = None,
    overlay: str | Sequence[str] | None = None,
    limit: Annotated[int, Field(ge=1)] | None = None,
    device: Device = "cpu",
    memory_budget_mb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 512.0,
    num_bootstrap: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000,
    progress: bool = True,
) -> None:
    """Run the settings of a YAML grid over validation cases; a table, the figures of each case and plots.

    Reconstructions are made once for each network, noise, seed and timestep and kept in `cache_dir`, as are finished
    rows: a second call goes on where the first one stopped, and another grid uses the same reconstructions.
    Writes ablation.csv, .md and .json, cases.csv and a figure for each axis.

    Args:
        grid: YAML file of settings, such as those in tools/ablation/grids.
        dataset_dir: folder with Train, Test and splits; by default DATA_DIR of the environment or of .env, else data.
        output_dir: folder of the results; by default runs/ablation_ and the grid's name.
        cache_dir: folder of reconstructions and finished rows; by default `cache` in `output_dir`. Several grids may
            share one. About 11 MB a case for K = 10.
        datasets: lesion sets, comma separated.
        healthy: healthy sets, on which the false-positive volume is measured, over all and set by set; none by default.
        split: train or val.
        allow_test: let `split` be test; choices are made on validation only.
        fold: of the data sets that have folds.
        modality: t1 or t2.
        checkpoint: weights of the base; by default the bundle's for the modality.
        overlay: config files over inference.yaml, for everything that no setting has, such as another working grid.
        limit: the first so many cases of each set.
        device: cpu or cuda, for the network.
        memory_budget_mb: what the activations of one forward pass may take, MiB.
        num_bootstrap: rounds of the bootstrap intervals and of the permutation tests.
        progress: show progress bars.

    Raises:
        InputError: if the grid, a setting, the data or the weights cannot be used; before anything is computed.
    """
    options = {name: value for name, value in locals().items() if value is not None}
    from tqdm import tqdm

    from scripts.data import Split, data_dir, load_datalists
    from scripts.data.folders import check_writable
    from scripts.inferers import Polarity
    from tools.ablation.cases import check_labels, check_split, read_cases
    from tools.ablation.grid import read_grid
    from tools.ablation.reconstructions import Cache, PopulationMaker, Reconstructor
    from tools.ablation.report import draw_axes, table_rows, write_report
    from tools.ablation.rows import RowMaker
    from tools.ablation.settings import bundle_parser

    check_split(split, allow_test=allow_test)
    overlays, data = _names(overlay), str(dataset_dir or data_dir())
    folder = Path(output_dir or f"runs/ablation_{Path(grid).stem}")
    check_writable(folder)
    parser = bundle_parser(*overlays, modality=modality)
    grid_rows = read_grid(grid, parser, checkpoint=checkpoint)
    for setting in grid_rows.settings:
        setting.sampler(parser.get_parsed_content("scheduler"))  # to see that it can be used
    reconstructor = Reconstructor(
        Cache(cache_dir or folder / "cache"), grid_rows.settings, modality=modality, overlays=overlays, device=device,
        memory_budget_mb=memory_budget_mb,
    )  # fmt: skip

    def listed(names: list[str], part: str, count: int | None) -> list[dict[str, Any]]:
        return load_datalists(data, names, part, modality=modality, fold=fold, limit=count) if names else []

    def read(items: list[dict[str, Any]], *, labelled: bool) -> list[AblationCase]:
        bar = tqdm(items, desc="loading cases", unit="case", disable=not progress)
        return list(read_cases(parser, bar, labelled=labelled))

    items = listed(_names(datasets), split, limit)
    check_labels(items)
    lesion, normal = read(items, labelled=True), read(listed(_names(healthy), split, limit), labelled=False)
    pairs = [(setting, case) for setting in grid_rows.settings for case in (*lesion, *normal)]
    for setting, case in tqdm(pairs, desc="reconstructing", unit="case and setting", disable=not progress):
        reconstructor.make_missing(setting, case)
    population = PopulationMaker(
        reconstructor, parser, lambda name, count: listed([name], Split.TRAIN, count), progress=progress
    )
    maker = RowMaker(lesion, normal, reconstructor, polarity=Polarity.of(modality), population=population)
    rows = maker.make(grid_rows.settings, progress=progress)
    table = table_rows(grid_rows, rows, num_bootstrap=num_bootstrap, healthy=normal)
    about = {
        "command": _command(options),
        "grid": Path(grid).stem,
        "datasets": _names(datasets),
        "healthy": _names(healthy),
        "split": split,
        "modality": modality,
        "bootstrap_rounds": num_bootstrap,
        "versions": versions(),
    }
    text = write_report(folder, grid_rows, rows, table, cases=lesion, healthy=normal, about=about)
    draw_axes(folder / "figures", grid_rows.axes, table, base=grid_rows.base.name)
    logger.info("%s\nwritten to %s", text, folder.absolute())


def _names(value: str | Sequence[str] | None) -> list[str]:
    """Return one name, several with commas, or a list, as a list."""
    if value is None:
        return []
    parts = value.split(",") if isinstance(value, str) else [str(part) for part in value]
    return [part.strip() for part in parts if part.strip()]


def _command(options: dict[str, Any]) -> str:
    """Return the command line that gives these options, without those that are left at their defaults."""
    defaults = ablation.__kwdefaults__ or {}
    words = [f"--{name}={_word(value)}" for name, value in options.items() if value != defaults.get(name)]
    return portable_command(["python", "-m", "tools.ablation", *words])


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def main() -> None:
    """Run `ablation` from the command line."""
    run_command(ablation)


if __name__ == "__main__":
    main()
