"""The benchmark: what it writes, that its two maps agree, and that its instruments measure what they say."""

from __future__ import annotations

import csv
import gc
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.errors import InputError
from scripts.ops import Extent, Score
from scripts.options.command import parse_command
from tools.benchmark import cohort, maps
from tools.benchmark import run as tool
from tools.benchmark.maps import benchmark_low_rank, compare_maps, dense_map, make_cloud
from tools.benchmark.measure import RATIO, Measure, append_measures, describe_machine, latest_ratios, limit_threads
from tools.benchmark.memory import measure_apart, measure_peak


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one quick run on a phantom of 20 mm voxels, far smaller than any scan."""
    nib = pytest.importorskip("nibabel")
    folder = tmp_path_factory.mktemp("benchmark")
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 10)] * 3, indexing="ij"))
    brain = (grid**2).sum(axis=0) < 0.9
    values = brain * (0.5 + 0.3 * np.sin(4 * grid).prod(axis=0))
    affine = np.diag([20.0, 20.0, 20.0, 1.0])
    affine[:3, 3] = np.array([-1.0, -19.0, 7.0]) - 90
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), folder / "scan.nii.gz")
    tool.benchmark(output_dir=str(folder / "out"), input=str(folder / "scan.nii.gz"), quick=True, threads=1, skip_cohort=True)
    return folder / "out"


@pytest.fixture(scope="module")
def content(written: Path) -> dict:
    """What that run wrote as JSON."""
    return json.loads((written / "benchmark.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(content: dict) -> dict[str, dict]:
    """Its measures by name."""
    return {row["measure"]: row for row in content["measures"]}


def test_writes_two_files_and_nothing_else(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == ["benchmark.json", "benchmark.md"]


def test_json_says_what_was_measured_on_what(content: dict, rows: dict) -> None:
    assert len(rows) == len(content["measures"]), "each measure has a name of its own"
    assert content["machine"]["threads"] == 1
    assert content["machine"]["torch"] == torch.__version__
    assert content["machine"]["cpu"]
    assert content["options"]["quick"] is True
    assert content["options"]["size"] == 32
    assert all(row["smallest"] <= row["value"] <= row["largest"] for row in rows.values())


def test_every_score_and_extent_is_timed(rows: dict) -> None:
    for score in Score:
        for extent in Extent:
            for name, unit in ((f"map {score} {extent}", "CPU s"), (f"map {score} {extent}, CPU time over a copy's", RATIO)):
                assert rows[name]["smallest"] > 0
                assert (rows[name]["unit"], rows[name]["repeats"]) == (unit, 2)


def test_low_rank_and_dense_maps_agree(rows: dict) -> None:
    # The error of a float32 inverse grows with the condition number, here some hundreds; of float64, 1e-16 times that.
    assert rows["largest difference of the two maps, float32"]["value"] < 1e-4
    assert rows["largest difference of the two maps, float64"]["value"] < 1e-10
    assert rows["NaN in one of the two maps alone, float64"]["value"] == 0
    assert dense_map(*make_cloud(4, 1, 32)).isnan().any()  # negative terms do occur, so their agreement was looked at


def test_speedup_is_the_ratio_of_the_times_given(rows: dict) -> None:
    dense = rows["dense inverse, a slice"]["value"]
    for own, ratio in (("the same slices", "same slices"), (None, "a slice of the volume")):
        low_rank = rows[f"low-rank map, a slice, {own}" if own else "low-rank map, a slice of the volume"]["value"]
        assert rows[f"dense inverse over low-rank map, {ratio}"]["value"] == pytest.approx(dense / low_rank)


def test_parts_of_a_volume_add_up_to_the_whole(rows: dict) -> None:
    seconds = {name: row["value"] for name, row in rows.items() if name.startswith("one scan, ") and row["unit"] == "s"}
    del seconds["one scan, compiled and loaded on first use, not in the above"]
    whole = seconds.pop("one scan, end to end")
    # One run, so that the medians are its own figures; the rest is rounding of a sum.
    assert sum(seconds.values()) == pytest.approx(whole, rel=1e-6)
    assert min(seconds.values()) > 0
    # four passes of the U-Net against one of the small encoder
    assert seconds["one scan, reconstructions"] > seconds["one scan, encode"]
    assert rows["one scan, forward passes"]["value"] % 4 == 0 < rows["one scan, forward passes"]["value"]


def test_report_is_one_table_of_the_measures_in_the_json(written: Path, content: dict, rows: dict) -> None:
    report = (written / "benchmark.md").read_text(encoding="utf-8")
    assert content["machine"]["cpu"] in report
    lines = [line for line in report.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(rows)
    for line, (name, row) in zip(lines[1:], rows.items(), strict=True):
        assert [cell.strip() for cell in line.split("|")[1:4]] == [name, f"{row['value']:.4g}", row["unit"]]


def test_dense_inverse_needs_more_memory_than_the_low_rank_map(rows: dict) -> None:
    # The covariance of 624 pixels and its inverse alone are 3 MiB; all reconstructions together are 64 KiB.
    dense = rows["peak memory, dense inverse, one slice"]["value"]
    assert dense > 2
    assert rows["peak memory, low-rank map, reference"]["value"] < dense
    assert {"peak memory, copy of the reconstructions", "peak memory, scan to anomaly map"} <= set(rows)


def test_dense_map_equals_a_numpy_oracle() -> None:
    image, reconstructions, mask = (tensor.double() for tensor in make_cloud(4, 2, 16))
    found = dense_map(image, reconstructions, mask.bool(), regularization=0.05)
    for s in range(2):
        inside = mask[s].bool().numpy()
        cloud = reconstructions[:, s].numpy()[:, inside]
        difference = image[s].numpy()[inside] - cloud.mean(axis=0)
        product = difference * np.linalg.solve(np.cov(cloud.T) + 0.05 * np.eye(inside.sum()), difference)
        squares = found[s].numpy()[inside] ** 2
        np.testing.assert_allclose(squares[product > 0], product[product > 0], rtol=1e-9)  # float64, condition < 1e4
        assert np.isnan(squares[product < 0]).all()
        assert not found[s].numpy()[~inside].any()


def test_cloud_repeats_and_has_the_size_of_a_brain() -> None:
    first, second = make_cloud(3, 2, 96), make_cloud(3, 2, 96)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    image, reconstructions, mask = first
    assert reconstructions.shape == (3, *image.shape)
    assert mask[0].sum() == pytest.approx(5620, rel=0.01)
    assert image.min() >= 0
    assert reconstructions.max() <= 1


def test_comparison_counts_nan_and_finds_the_largest_difference() -> None:
    first = torch.tensor([1.0, 2.0, float("nan"), float("nan"), 3.0])
    second = torch.tensor([1.0, 2.5, float("nan"), 1.0, 5.0])
    assert compare_maps(first, second) == (pytest.approx(0.4), 1)  # 2 of 5


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark can be reset on Linux only")
def test_peak_is_that_of_the_call_and_not_of_an_earlier_one() -> None:
    large = measure_peak(lambda: torch.ones(64, 2**18))
    small = measure_peak(lambda: torch.ones(16, 2**18))
    # 64 and 16 MiB; the allocator may hand out pages that are resident already, and the interpreter takes a few.
    assert large == pytest.approx(64, abs=4)
    assert small < 20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark can be reset on Linux only")
def test_garbage_of_earlier_work_does_not_hide_what_the_call_takes() -> None:
    def take() -> torch.Tensor:
        gc.collect()  # as a collection at an unlucky moment
        return torch.ones(64, 2**18)

    gc.disable()
    try:
        knot: list[object] = [torch.ones(128, 2**18)]
        knot.append(knot)
        del knot
        measured = measure_peak(take)
    finally:
        gc.enable()
    assert measured == pytest.approx(64, abs=4)  # see above; 0 if the 128 MiB of the knot were freed inside


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark can be reset on Linux only")
def test_freed_heap_of_earlier_work_does_not_hide_what_the_call_takes() -> None:
    raised = torch.ones(30, 2**18)  # once it is freed, glibc takes blocks up to this size from the heap
    del raised
    blocks = [torch.ones(4, 2**18) for _ in range(64)]
    pin = torch.ones(2**15)  # above them: the heap cannot shrink when they are freed
    del blocks
    assert measure_peak(lambda: torch.ones(64, 2**18)) == pytest.approx(64, abs=4)
    del pin


def test_a_failed_measuring_process_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"`part` must be one of copy, dense, reference, .*, got 'map'"):
        measure_apart("tools.benchmark.memory", "--part=map")


def test_summary_and_thread_limit() -> None:
    summary = {"measure": "x", "value": 2.0, "unit": "s", "smallest": 1.0, "largest": 3.0, "repeats": 3}
    assert Measure("x", "s", [3.0, 1.0, 2.0]).row() == summary
    before = torch.get_num_threads()
    with limit_threads(before + 1) as threads:
        assert threads == torch.get_num_threads() == describe_machine()["threads"] == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 36}, "`size` must be a multiple of 8 for the network, got 36"),
        ({"num_slices": 2, "dense_slices": 3}, r"`dense_slices` must be at most `num_slices` \(2\), got 3"),
        ({"input": "nowhere.nii.gz"}, "nowhere.nii.gz: the file does not exist. Give the path of a NIfTI file."),
        ({"brain_mask": "mask.nii.gz"}, "`brain_mask` must come with its `input`"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tool.benchmark(output_dir=str(tmp_path / "out"), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--num_samples=2", "`num_samples` must be a whole number from 3 to 10000, got '2'"),
        ("--repeats=0", "`repeats` must be a whole number from 1 to 100000, got '0'"),
    ],
)
def test_values_out_of_range_are_refused_by_the_command(argument: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_command(tool.benchmark, [argument])


@pytest.mark.parametrize("argument", ["--size=36", "--sise=32"])
def test_command_line_exits_with_2_before_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, argument: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", argument, "--quick", f"--output_dir={tmp_path / 'out'}"])
    monkeypatch.setattr(maps, "make_cloud", lambda *_: pytest.fail("it went on with an option that it cannot use"))
    with pytest.raises(SystemExit, match="2"):
        tool.main()
    assert not list(tmp_path.iterdir())


def test_a_table_grows_by_a_line_a_measure_with_the_machine(tmp_path: Path) -> None:
    path, machine = tmp_path / "docs" / "benchmarks.csv", {**describe_machine(), "cpu": "Processor", "load": 0.5}
    measures = [Measure("map, over a copy's", RATIO, [7.0, 5.0, 6.0]), Measure("one scan", "s", [12.34567])]
    append_measures(path, measures, machine)
    append_measures(path, [measures[0]._replace(values=[4.0])], {**machine, "cpu": "another, with a comma"})
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cpu"] for row in rows] == ["Processor", "Processor", "another, with a comma"]
    assert [(row["measure"], row["value"], row["unit"], row["repeats"]) for row in rows] == [
        ("map, over a copy's", "6", "ratio", "3"), ("one scan", "12.35", "s", "1"), ("map, over a copy's", "4", "ratio", "1"),
    ]  # fmt: skip
    assert latest_ratios(path) == {"map, over a copy's": 4.0}


def test_the_table_in_the_documents_has_the_columns_that_are_added_to_it(root: Path, tmp_path: Path) -> None:
    append_measures(tmp_path / "new.csv", [Measure("x", "s", [1.0])], describe_machine())
    new, stored = (path.read_text().splitlines()[0] for path in (tmp_path / "new.csv", root / "docs" / "benchmarks.csv"))
    assert new == stored
    names = {f"map {score} {extent}, CPU time over a copy's" for score in Score for extent in Extent}
    assert set(latest_ratios(root / "docs" / "benchmarks.csv")) == names


@pytest.mark.slow
def test_the_map_is_no_slower_over_a_copy_than_when_it_was_last_measured(root: Path) -> None:
    stored = latest_ratios(root / "docs" / "benchmarks.csv")
    measures = benchmark_low_rank(*make_cloud(10, 50, 96), repeats=5)
    lowest = {measure.name: min(measure.values) for measure in measures if measure.unit == RATIO}
    # the smallest of five, in CPU time, against a median: other work on the machine cannot double it
    slower = {name: (ratio, stored[name]) for name, ratio in lowest.items() if ratio > 2 * stored[name]}
    assert not slower
    assert len(lowest) == len(stored)


def test_processes_are_compared_on_the_same_scans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[list[str], int]] = []

    def analyze(scans: Path, _: Path, *, num_samples: int, num_workers: int) -> float:
        seen.append((sorted(path.name for path in scans.iterdir()), num_workers))
        return 20.0 / num_workers

    monkeypatch.setattr(cohort, "_analyze", analyze)
    (tmp_path / "scan.nii.gz").touch()
    measures = cohort.benchmark_cohort({"image": str(tmp_path / "scan.nii.gz")}, num_scans=3, num_samples=4)
    assert seen == [(["scan0_t1.nii.gz", "scan1_t1.nii.gz", "scan2_t1.nii.gz"], workers) for workers in (1, 2)]
    assert [measure.median for measure in measures] == [540.0, 1.0, 1080.0, 2.0]
    assert measures[3].name == "many scans, 2 process(es) over one"
