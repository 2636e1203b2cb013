"""The ablation on phantoms: what it writes, what it keeps, and that its rows are what the inferer gives."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from scripts.data import load_datalists
from scripts.data.phantom import write_phantom_tree
from scripts.errors import InputError
from scripts.inferers import MahalanobisInferer, Polarity, ReconstructionSampler
from scripts.metrics.score_counts import ScoreCounts, voxel_scores
from scripts.metrics.thresholds import pooled_best_dice
from scripts.ops import postprocess
from scripts.options.command import parse_command
from tests.tiny import TINY_NETWORK
from tools.ablation import run as tool
from tools.ablation import settings as settings_module
from tools.ablation.cases import AblationCase, read_cases
from tools.ablation.grid import Grid, read_grid
from tools.ablation.reconstructions import Cache, Reconstructor
from tools.ablation.rows import RowMaker, score_map
from tools.ablation.settings import POPULATION_KEYS, Setting, bundle_parser

GRID = {
    "base": {"preset": "shipped", "num_samples": 4, "median_size": 3, "erosion": 1, "ssim_sigma": 1.0, "regularization": 0.01},
    "axes": {
        "num_samples": [2, 4],
        "map": ["anomaly_map", "mean", "intensity"],
        "timestep": [300, 500, [300, 500]],
        "ssim_sigma": [1.0, [0.5, 1.0, 2.0]],
    },
    "product": {"score": ["reference", "diagonal"], "regularization": ["1e-4", 0.01]},
    "rows": {"paper": {"preset": "paper", "num_samples": 4}, "refused": {"num_samples": 2, "population": True}},
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Phantoms, a config of a tiny network, its random weights and a grid."""
    folder = tmp_path_factory.mktemp("ablation")
    write_phantom_tree(folder / "data", datasets=("IXI", "Brats21"), shape=(32, 32, 16))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY_NETWORK))
    (folder / "grid.yaml").write_text(yaml.safe_dump(GRID, sort_keys=False))
    torch.manual_seed(0)
    network = bundle_parser(str(folder / "tiny.yaml")).get_parsed_content("network_def")
    for parameter in network.parameters():  # the last layer starts at zero, and every reconstruct would be the same
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(network.state_dict(), folder / "model.pt")
    return {
        "grid": str(folder / "grid.yaml"),
        "dataset_dir": str(folder / "data"),
        "overlay": str(folder / "tiny.yaml"),
        "checkpoint": str(folder / "model.pt"),
        "cache_dir": str(folder / "cache"),
    }


@pytest.fixture(scope="module")
def options(paths: dict[str, str]) -> dict:
    """A call of the tool."""
    return {**paths, "datasets": "Brats21", "healthy": "IXI", "num_bootstrap": 100, "progress": False}


@pytest.fixture(scope="module")
def written(options: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run."""
    folder = tmp_path_factory.mktemp("written")
    tool.ablation(**options, output_dir=str(folder))
    return folder


@pytest.fixture(scope="module")
def grid(paths: dict[str, str]) -> Grid:
    """The grid of that run."""
    return read_grid(paths["grid"], bundle_parser(paths["overlay"]), checkpoint=paths["checkpoint"])


@pytest.fixture(scope="module")
def case(paths: dict[str, str]) -> AblationCase:
    """The first case of that run."""
    return _first_case(paths, "Brats21", labelled=True)


def _first_case(paths: dict[str, str], dataset: str, *, labelled: bool) -> AblationCase:
    items = load_datalists(paths["dataset_dir"], [dataset], "val", modality="t1", fold=0, limit=1)
    return next(read_cases(bundle_parser(paths["overlay"]), items, labelled=labelled))


def _reconstructor(paths: dict[str, str], settings: list[Setting], cache_dir: Path | str) -> Reconstructor:
    return Reconstructor(Cache(cache_dir), settings, overlays=[paths["overlay"]])


def _named(grid: Grid, name: str) -> Setting:
    return next(setting for setting in grid.settings if setting.name == name)


def _rows(folder: Path) -> dict[str, dict]:
    return {row["setting"]: row for row in json.loads((folder / "ablation.json").read_text())["rows"]}


def test_table_has_a_row_for_each_setting_and_its_parameters(written: Path, grid: Grid) -> None:
    rows = _rows(written)
    assert list(rows) == [setting.name for setting in grid.settings]
    assert rows["base"]["n"] == 2
    assert rows["base"]["n_healthy"] == 2
    assert rows["base"]["auprc_difference"] is None
    assert rows["timestep=300"]["parameters"]["timestep"] == 300
    difference = rows["map=mean"]["auprc"] - rows["base"]["auprc"]
    assert rows["map=mean"]["auprc_difference"] == pytest.approx(difference, abs=1e-12)
    for row in rows.values():
        if row["reason"]:
            continue
        assert row["auprc_low"] <= row["auprc"] <= row["auprc_high"]
        assert 0 < row["best_dice"] <= 1
        assert 0 <= row["healthy_ml"] <= row["healthy_ml_max"]
    files = {path.name for path in written.rglob("*") if path.is_file()}
    assert {"ablation.csv", "ablation.md", "ablation.json", "cases.csv"} <= files
    assert {"num_samples.png", "map.png", "timestep.png", "ssim_sigma.png", "regularization_by_score.png"} <= files


def test_markdown_says_the_base_the_command_and_what_failed(written: Path, paths: dict[str, str]) -> None:
    text = (written / "ablation.md").read_text()
    assert "Base: " in text
    assert "num_samples 4, timestep 450" in text
    assert "python -m tools.ablation --grid=grid.yaml" in text
    assert re.search(r"refused was not computed: .*population_t1\.pt: these population statistics were measured with other weights", text)
    for name in ("ablation.md", "ablation.json", "ablation.csv", "cases.csv"):  # no path of the machine
        assert str(Path(paths["cache_dir"]).parent) not in (written / name).read_text()


def test_second_run_gives_the_same_table_without_network_or_maps(
    written: Path, options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReconstructionSampler, "__call__", lambda *_: pytest.fail("it reconstructed slices again"))
    monkeypatch.setattr("tools.ablation.rows.score_map", lambda *_: pytest.fail("it computed a map again"))
    refused = []  # what cannot be computed is tried again
    find = RowMaker.key

    def find_or_note(rows: RowMaker, setting: Setting) -> str:
        try:
            return find(rows, setting)
        except InputError:
            refused.append(setting.name)
            raise

    monkeypatch.setattr(RowMaker, "key", find_or_note)
    tool.ablation(**options, output_dir=str(tmp_path))
    assert (tmp_path / "ablation.csv").read_bytes() == (written / "ablation.csv").read_bytes()
    assert (tmp_path / "cases.csv").read_bytes() == (written / "cases.csv").read_bytes()
    assert refused == ["refused"]


@pytest.mark.parametrize("name", ["base", "map=mean", "map=intensity", "score=diagonal, regularization=0.0001", "paper"])
def test_a_row_is_what_the_inferer_gives(
    written: Path, paths: dict[str, str], grid: Grid, case: AblationCase, name: str
) -> None:
    setting = _named(grid, name)
    parser = bundle_parser(paths["overlay"])
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(paths["checkpoint"], weights_only=True))
    no_options = {"map", "checkpoint", "network_config", "autocast_dtype", *POPULATION_KEYS}
    fields = {key: value for key, value in setting.values.items() if key not in no_options}
    inferer = MahalanobisInferer(
        parser.get_parsed_content("scheduler"), outputs=[setting.values["map"]], progress=False, **fields
    )
    volume, brain = (tensor.permute(1, 2, 0)[None, None] for tensor in (case.image, case.brain_mask))
    expected = inferer(volume, network, brain)[0, 0].permute(2, 0, 1)
    reconstructor = _reconstructor(paths, grid.settings, paths["cache_dir"])
    found = score_map(case, reconstructor.samples(setting, case), setting, Polarity.DARK)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # float32; other batches in the convolutions
    row = next(r for r in csv.DictReader((written / "cases.csv").open()) if r["setting"] == name)
    assert float(row["auprc"]) == pytest.approx(voxel_scores(found.numpy(), case.label.numpy()).auprc, abs=1e-9)
    dice = pooled_best_dice(ScoreCounts.count(found.numpy(), case.label.numpy())).dice
    assert float(row["oracle_dice"]) == pytest.approx(dice, abs=1e-9)


def test_first_samples_of_more_and_samples_of_a_mixture_are_those_of_their_own_run(
    written: Path, paths: dict[str, str], grid: Grid, case: AblationCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {name: _reconstructor(paths, [_named(grid, name)], tmp_path / name).samples(_named(grid, name), case) for name in ("num_samples=2", "timestep=300")}
    monkeypatch.setattr(ReconstructionSampler, "__call__", lambda *_: pytest.fail("it reconstructed slices again"))
    shared = _reconstructor(paths, grid.settings, paths["cache_dir"])
    for name, expected in alone.items():
        found = shared.samples(_named(grid, name), case)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # as above
        assert not torch.equal(found[0], found[1])
    mixture, *parts = (shared.samples(_named(grid, f"timestep={steps}"), case) for steps in ("300+500", "300", "500"))
    assert torch.equal(mixture, torch.stack([parts[k % 2][k] for k in range(4)]))


def test_a_file_that_was_cut_short_is_made_again(paths: dict[str, str], grid: Grid, case: AblationCase, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reconstructor = _reconstructor(paths, [grid.base], tmp_path)
    before = reconstructor.samples(grid.base, case)
    (file,) = tmp_path.rglob("*.pkl")
    file.write_bytes(file.read_bytes()[:-1000])
    assert torch.equal(reconstructor.samples(grid.base, case), before)
    assert "Exception while loading results" in caplog.text
    caplog.clear()
    assert torch.equal(reconstructor.samples(grid.base, case), before)
    assert not caplog.text, "it is kept again"


def test_reconstructions_belong_to_weights_noise_seed_timestep_and_image(
    paths: dict[str, str], grid: Grid, case: AblationCase, tmp_path: Path
) -> None:
    network = torch.load(paths["checkpoint"], weights_only=True)
    torch.save({key: value * 1.01 for key, value in network.items()}, tmp_path / "other.pt")
    changes = [
        {"timestep": 499}, {"seed": 1}, {"noise": "gaussian"}, {"shared_noise": False},
        {"checkpoint": str(tmp_path / "other.pt")}, {"autocast_dtype": "bfloat16"},
    ]  # fmt: skip
    reconstructor = _reconstructor(paths, [grid.base], tmp_path)
    sources = [reconstructor.source(Setting("", {**grid.base.values, **change})) for change in ({}, *changes)]
    assert all(one != other for k, one in enumerate(sources) for other in sources[:k])
    same = Setting("", {**grid.base.values, "num_samples": 9, "score": "whitened", "median_size": 7})
    assert reconstructor.source(same) == reconstructor.source(grid.base)
    brighter = AblationCase("Brats21", case.case, case.image * 1.01, case.brain_mask, case.label, case.voxel_ml)
    assert brighter.digest != case.digest


def test_ensemble_is_the_mean_over_its_scales(case: AblationCase, grid: Grid) -> None:
    samples = torch.rand(4, *case.image.shape, generator=torch.Generator().manual_seed(1)) * case.brain_mask
    raw = {"median_size": 0, "erosion": 0, "median_scaling": False}
    single = [
        score_map(case, samples, Setting("", {**grid.base.values, **raw, "ssim_sigma": sigma}), Polarity.DARK)
        for sigma in (0.5, 1.0, 2.0)
    ]
    expected = postprocess(torch.stack(single).mean(dim=0), case.brain_mask, median_size=3, erosion=1)
    several = Setting("", {**_named(grid, "ssim_sigma=0.5+1+2").values, "median_scaling": False})
    found = score_map(case, samples, several, Polarity.DARK)
    assert torch.allclose(found, expected, atol=1e-6)  # the sum is taken in another order
    assert not torch.equal(found, score_map(case, samples, grid.base, Polarity.DARK))


def test_healthy_volume_lies_at_or_above_the_threshold(written: Path, paths: dict[str, str], grid: Grid) -> None:
    healthy = _first_case(paths, "IXI", labelled=False)
    assert healthy.voxel_ml == pytest.approx(0.008)  # 2 mm
    samples = _reconstructor(paths, grid.settings, paths["cache_dir"]).samples(grid.base, healthy)
    found = score_map(healthy, samples, grid.base, Polarity.DARK).numpy()
    expected = float((found >= np.float32(_rows(written)["base"]["threshold"])).sum()) * 0.008
    lines = list(csv.DictReader((written / "cases.csv").open()))
    line = next(r for r in lines if r["setting"] == "base" and r["case"] == f"IXI/{healthy.case}")
    assert float(line["healthy_ml"]) == pytest.approx(expected, abs=1e-9)


def test_a_base_that_cannot_be_computed_ends_the_run(options: dict, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("base: {num_samples: 2, population: true}\n")
    with pytest.raises(InputError, match="population statistics were measured with other weights"):
        tool.ablation(**{**options, "grid": str(tmp_path / "grid.yaml")}, output_dir=str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, "`split` must be train or val, got 'test': choices are made on validation cases only"),
        ({"datasets": "IXI"}, "`datasets` must have lesion labels, which IXI lacks. Give healthy sets as --healthy."),
        ({"datasets": ""}, "`datasets` must name at least one lesion set, got none"),
        ({"overlay": "nowhere.yaml"}, "nowhere.yaml: there is no such config file"),
        ({"checkpoint": "nowhere.pt"}, "nowhere.pt: the checkpoint does not exist"),
        ({"device": "abacus"}, "`device` must be one that this machine has, got 'abacus'"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_before_anything_is_written(
    options: dict, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tool.ablation(**{**options, **changes, "cache_dir": str(tmp_path / "cache")}, output_dir=str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--split validation", "`split` must be one of train, val, test, got 'validation'"),
        ("--memory_budget_mb 0", "`memory_budget_mb` must be a number above 0, got '?0"),
        ("--num_bootstrap 0", "`num_bootstrap` must be a whole number from 1 to 1000000, got '?0"),
    ],
)
def test_values_out_of_range_are_refused_by_the_command(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_command(tool.ablation, ["grid.yaml", *words.split()])


def test_test_cases_can_be_allowed(options: dict, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("base: {num_samples: 2, median_size: 0}\n")
    chosen = {**options, "grid": str(tmp_path / "grid.yaml"), "healthy": None, "limit": 1}
    tool.ablation(**chosen, split="test", allow_test=True, output_dir=str(tmp_path / "out"))
    row = _rows(tmp_path / "out")["base"]
    assert row["n"] == 1
    assert row["healthy_ml"] is None
    assert not math.isnan(row["auprc"])


def test_command_line_refuses_an_unknown_option_before_it_runs(monkeypatch: pytest.MonkeyPatch, paths: dict[str, str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ablation", "--grid", paths["grid"], "--limmit", "1"])
    monkeypatch.setattr(settings_module, "bundle_parser", lambda *_, **__: pytest.fail("it went on with an unknown option"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit, match="2"):
        tool.main()
