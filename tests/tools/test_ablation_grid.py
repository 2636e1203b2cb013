"""Grids of settings: presets, rows and their names, figures, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from scripts.errors import InputError
from scripts.inferers import MapOptions
from tools.ablation.grid import BASE, Axis, Grid, read_grid, value_text
from tools.ablation.report import draw_axes, table_rows
from tools.ablation.rows import AblationRow
from tools.ablation.settings import SETTING_KEYS, Setting, bundle_parser, preset_names, preset_settings


@pytest.fixture(scope="module")
def parser() -> ConfigParser:
    """The bundle's config."""
    return bundle_parser()


def _read(tmp_path: Path, parser: ConfigParser, text: str, **options: str) -> Grid:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return read_grid(path, parser, **options)


def test_shipped_is_what_the_inference_config_says(root: Path, parser: ConfigParser) -> None:
    shipped = preset_settings("shipped", parser)
    config = ConfigParser.load_config_file(str(root / "bundle" / "configs" / "inference.yaml"))
    assert set(shipped) == set(SETTING_KEYS)
    for key in ("num_samples", "timestep", "noise", "score", "regularization", "median_size", "erosion", "min_max"):
        given = str(config[key])
        assert shipped[key] == (parser[given[1:]] if given.startswith("@") else config[key]), key


def test_paper_is_the_reference_and_an_overlay_of_the_inference_config(root: Path, parser: ConfigParser) -> None:
    paper = preset_settings("paper", parser)
    assert (paper["num_samples"], paper["timestep"], paper["noise"], paper["shared_noise"]) == (10, 500, "simplex", True)
    assert Setting("", paper).map_options(polarity="dark") == MapOptions()  # DESIGN section 2
    overlay = root / "bundle" / "configs" / "preset_paper.yaml"
    assert bundle_parser(str(overlay))["median_size"] == 0
    assert "paper" in preset_names()


@pytest.mark.parametrize("name", ["map", "samples", "t2", "timestep"])
def test_every_setting_of_the_grids_in_the_bundle_is_valid(root: Path, parser: ConfigParser, name: str) -> None:
    grid = read_grid(root / "tools" / "ablation" / "grids" / f"{name}.yaml", parser)
    names = [setting.name for setting in grid.settings]
    assert names[0] == BASE
    assert len(set(names)) == len(names)
    assert grid.base.values == preset_settings("shipped", parser)
    for setting in grid.settings:
        setting.sampler(parser.get_parsed_content("scheduler"))
    files = [axis.name for axis in grid.axes]
    assert len(set(files)) == len(files)
    assert {row for axis in grid.axes for line in axis.lines.values() for _, row in line} <= set(names)


def test_rows_are_named_by_what_differs_and_come_once(tmp_path: Path, parser: ConfigParser) -> None:
    grid = _read(
        tmp_path,
        parser,
        """
        base: {median_size: 3, score: whitened, min_max: true}
        axes: {median_size: [0, 3], timestep: [500, [300, 500]], min_max: [yes, no], regularization: [1e-5]}
        product: {score: [whitened, diagonal], median_size: [0, 3]}
        rows: {mine: {preset: paper, erosion: 2}, same as base: {}}
        """,
        checkpoint="weights.pt",
    )
    assert [setting.name for setting in grid.settings] == [
        "base", "median_size=0", "timestep=500", "timestep=300+500", "min_max=false", "regularization=1e-05",
        "score=diagonal, median_size=0", "score=diagonal", "mine", "same as base",
    ]  # fmt: skip
    by_name = {setting.name: setting.values for setting in grid.settings}
    assert by_name["regularization=1e-05"]["regularization"] == 1e-5  # YAML reads it as text
    assert by_name["mine"]["median_size"] == 0
    assert by_name["mine"]["checkpoint"] == by_name["base"]["checkpoint"] == "weights.pt"
    assert grid.settings[-1].identity == grid.base.identity


def test_figures_have_the_base_on_each_axis_and_a_line_for_each_other_setting(
    tmp_path: Path, parser: ConfigParser
) -> None:
    text = "axes: {erosion: [2, 3]}\nproduct: {score: [whitened, diagonal], regularization: [0.1, 1, 10], residual: [l1]}"
    erosion, product = _read(tmp_path, parser, "base: {erosion: 1}\n" + text).axes
    assert erosion.lines == {"": [(1, "base"), (2, "erosion=2"), (3, "erosion=3")]}
    assert product.name == "regularization_by_score_residual-l1"
    assert product.key == "regularization"
    assert list(product.lines) == ["score whitened", "score diagonal"]
    assert product.lines["score diagonal"][2] == (10.0, "score=diagonal, regularization=10, residual=l1")


def test_values_read_as_users_write_them() -> None:
    found = [value_text(v) for v in ([300, 500], 0.001, True, None, {"octaves": 3}, {}, str(Path.cwd() / "a" / "b"), "/x/y")]
    assert found == ["300+500", "0.001", "true", "none", "octaves 3", "default", "a/b", "y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: {regularisation: [1]}", r"grid.yaml: there is no option regularisation. Did you mean regularization\?"),
        ("base: {score: 3}", "`score` must be one of reference, .*, got 3"),
        ("base: {map: anomaly}", "`map` must be one of anomaly_map, .*intensity, got 'anomaly'"),
        ("rows: {x: {num_samples: 1}}", "`num_samples` must be a whole number from 2 .*, got 1"),
        ("axes: {ssim_sigma: [[1.0, 0.0]]}", "`ssim_sigma` must be a number above 0"),
        ("axes: {median_size: 5}", r"`median_size` must have a list of values, got 5"),
        ("axes: {median_size: [5.5]}", "`median_size` must be 0 or an odd whole number from 1 to 31, got 5.5"),
        ("axes: {regularization: [small]}", "`regularization` must be a number above 0 .*, got 'small'"),
        ("axes: {min_max: [maybe]}", "`min_max` must be true or false, got 'maybe'"),
        ("axes: {timestep: [[]]}", r"`timestep` must be a whole number from 0 .*, or a list .*, got \[\]"),
        ("axis: {}", "a grid must have some of base, axes, product, rows; got axis"),
        ("base: best", "`preset` must be one of shipped, paper, got 'best'"),
        ("[1, 2]", "the grid must be a mapping, got list"),
        ("product: [{}]", "a product must have a list of values for each of its settings, got none"),
        ("rows: {base: {}}", "`rows` must have names of their own, got 'base', which another row has"),
        ("{", "it cannot be read as YAML"),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_refused(tmp_path: Path, parser: ConfigParser, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _read(tmp_path, parser, text)


def test_a_timestep_that_the_scheduler_lacks_is_refused_with_the_row(parser: ConfigParser) -> None:
    setting = Setting("x", {**preset_settings("shipped", parser), "timestep": [300, 1000]})
    with pytest.raises(InputError, match="setting 'x': `timestep` must be whole numbers from 0 to 999"):
        setting.sampler(parser.get_parsed_content("scheduler"))


def test_a_missing_grid_is_reported(tmp_path: Path, parser: ConfigParser) -> None:
    with pytest.raises(InputError, match=r"none.yaml: there is no such grid. Give a YAML file"):
        read_grid(tmp_path / "none.yaml", parser)


def test_differences_are_paired_and_need_two_cases() -> None:
    grid = Grid([Setting("base", {}), Setting("better", {}), Setting("no lesion", {})])
    nan = float("nan")
    figures = {"base": [0.1, 0.9, nan], "better": [0.2, 1.0, nan], "no lesion": [0.3, nan, nan]}
    rows = {name: AblationRow(auprc, auprc, 0.5, 0.5, 0.1, map_seconds=[1.0]) for name, auprc in figures.items()}
    base, better, one = table_rows(grid, rows, num_bootstrap=200)
    # Each case gains 0.1: paired, the interval is that number, whatever the cases' own spread.
    assert better["auprc_difference_low"] == pytest.approx(0.1)
    assert better["auprc_difference_high"] == pytest.approx(0.1)
    assert better["auprc_high"] - better["auprc_low"] > 0.5
    assert (base["n"], one["n"]) == (2, 1)
    assert one["auprc_difference"] == pytest.approx(0.2)
    assert one["pvalue"] != one["pvalue"]
    assert better["n_healthy"] == 0


@pytest.mark.parametrize("values", [[1e-5, 1e-3, 0.1], [0, 3, 5], ["slice", "volume"], [300, [300, 500]], [1.0]])
def test_any_kind_of_value_can_be_drawn(tmp_path: Path, values: list) -> None:
    table = [
        {"setting": str(value), "auprc": 0.5, "auprc_low": 0.4, "auprc_high": 0.6, "auprc_difference": 0.1}
        | {"auprc_difference_low": float("nan"), "auprc_difference_high": float("nan")}
        for value in values
    ]
    lines = {label: [(value, str(value)) for value in values] for label in ("a", "b")}
    (path,) = draw_axes(tmp_path, [Axis("key / other", "key", lines)], table, base=str(values[0]))
    assert path.name == "key-other.png"
    assert path.read_bytes()[1:4] == b"PNG"
