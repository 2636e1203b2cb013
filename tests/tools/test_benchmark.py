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
from tools.benchmark import cohort, maps
from tools.benchmark import run as tool
from tools.benchmark.maps import (
    benchmark_low_rank,
    compare_maps,
    dense_map,
    describe_machine,
    limit_threads,
    make_cloud,
    summarize,
)
from tools.benchmark.memory import measure_memory, measure_peak
from tools.benchmark.table import append_measures, latest_ratios, measures


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
def results(written: Path) -> dict:
    """The figures of that run."""
    return json.loads((written / "benchmark.json").read_text(encoding="utf-8"))


def test_writes_two_files_and_nothing_else(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == ["benchmark.json", "benchmark.md"]


def test_json_says_what_was_measured_on_what(results: dict) -> None:
    assert set(results) == {
        "machine", "options", "pixels_per_slice", "low_rank", "dense", "memory", "memory_method", "end_to_end", "network",
    }  # fmt: skip
    assert results["machine"]["threads"] == 1
    assert results["machine"]["torch"] == torch.__version__
    assert results["machine"]["cpu"]
    assert results["options"]["quick"] is True
    assert results["options"]["size"] == 32


def test_every_score_and_extent_is_timed(results: dict) -> None:
    rows = results["low_rank"]
    found = {(row["score"], row["extent"]) for row in rows}
    assert found == {(s.value, e.value) for s in Score for e in Extent}
    for row in rows:
        for name in ("seconds", "copy_seconds", "times_copy", "cpu_seconds", "cpu_times_copy"):
            assert 0 < row[name]["min"] <= row[name]["median"] <= row[name]["max"]
            assert row[name]["repeats"] == 2


def test_low_rank_and_dense_maps_agree(results: dict) -> None:
    difference = results["dense"]["difference"]
    # The error of a float32 inverse grows with the condition number, here some hundreds; of float64, 1e-16 times that.
    assert difference["float32"]["max_relative"] < 1e-4
    assert difference["float64"]["max_relative"] < 1e-10
    assert difference["float64"]["nan_in_one"] == 0
    assert difference["float64"]["nan_in_both"] > 0  # negative terms do occur, so their agreement was looked at


def test_speedup_is_the_ratio_of_the_times_given(results: dict) -> None:
    dense = results["dense"]
    volume = dense["low_rank_seconds_volume"]["median"] / results["options"]["num_slices"]
    assert dense["speedup_per_slice"] == pytest.approx(dense["dense_seconds_per_slice"] / volume)
    same = dense["low_rank_seconds_same_slices"]["median"] / dense["slices"]
    assert dense["speedup_same_slices"] == pytest.approx(dense["dense_seconds_per_slice"] / same)


def test_parts_of_a_volume_add_up_to_the_whole(results: dict) -> None:
    volume = results["end_to_end"]
    seconds = {part: summary["median"] for part, summary in volume["seconds"].items()}
    whole = seconds.pop("end_to_end")
    # One run, so that the medians are its own figures; the rest is rounding of a sum.
    assert sum(seconds.values()) == pytest.approx(whole, rel=1e-6)
    assert min(seconds.values()) > 0
    assert seconds["reconstructions"] > seconds["encode"]  # four passes of the U-Net against one of the small encoder
    assert volume["working_grid"] == [32, 32, 4]
    assert volume["input_shape"] == [10, 10, 10]
    assert volume["forward_passes"] == 4 * volume["slices_with_brain"] > 0


def test_report_shows_the_figures_of_the_json(written: Path, results: dict) -> None:
    report = (written / "benchmark.md").read_text(encoding="utf-8")
    assert results["machine"]["cpu"] in report
    assert f"{results['dense']['speedup_per_slice']:,.0f}" in report
    assert f"{results['end_to_end']['seconds']['end_to_end']['median']:.2f}" in report
    assert all(report.count(f"| {score.value} ") == len(Extent) for score in Score)
    assert set(results["memory"]) >= {"copy of the reconstructions", "dense inverse, one slice", "scan to anomaly map"}
    assert all(name in report for name in results["memory"])


def test_dense_inverse_needs_more_memory_than_the_low_rank_map(results: dict) -> None:
    # The covariance of 624 pixels and its inverse alone are 3 MiB; all reconstructions together are 64 KiB.
    memory = results["memory"]
    assert memory["dense inverse, one slice"]["peak_mib"] > 2
    assert memory["low-rank map, reference"]["peak_mib"] < memory["dense inverse, one slice"]["peak_mib"]


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
    assert compare_maps(first, second) == {"max_abs": 2.0, "max_relative": 0.4, "nan_in_one": 1, "nan_in_both": 1}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark can be reset on Linux only")
def test_peak_is_that_of_the_call_and_not_of_an_earlier_one() -> None:
    large = measure_peak(lambda: torch.ones(64, 2**18))
    small = measure_peak(lambda: torch.ones(16, 2**18))
    # 64 and 16 MiB; the allocator may hand out pages that are resident already, and the interpreter takes a few.
    assert large["peak_mib"] == pytest.approx(64, abs=4)
    assert small["peak_mib"] < 20


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
    assert measured["peak_mib"] == pytest.approx(64, abs=4)  # see above; 0 if the 128 MiB of the knot were freed inside


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark can be reset on Linux only")
def test_freed_heap_of_earlier_work_does_not_hide_what_the_call_takes() -> None:
    raised = torch.ones(30, 2**18)  # once it is freed, glibc takes blocks up to this size from the heap
    del raised
    blocks = [torch.ones(4, 2**18) for _ in range(64)]
    pin = torch.ones(2**15)  # above them: the heap cannot shrink when they are freed
    del blocks
    assert measure_peak(lambda: torch.ones(64, 2**18))["peak_mib"] == pytest.approx(64, abs=4)
    del pin


def test_a_failed_measuring_process_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"`part` must be one of copy, dense, reference, .*, got 'map'"):
        measure_memory("tools.benchmark.memory", "--part=map")


def test_summary_and_thread_limit() -> None:
    assert summarize([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "repeats": 3}
    with pytest.raises(ValueError, match="at least one measurement"):
        summarize([])
    before = torch.get_num_threads()
    with limit_threads(before + 1) as threads:
        assert threads == torch.get_num_threads() == describe_machine()["threads"] == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 2}, "`num_samples` must be a whole number of at least 3, got 2"),
        ({"repeats": 0}, "`repeats` must be a whole number of at least 1, got 0"),
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


@pytest.mark.parametrize("argument", ["--size=36", "--sise=32"])
def test_command_line_exits_with_2_before_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, argument: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", argument, "--quick", f"--output_dir={tmp_path / 'out'}"])
    monkeypatch.setattr(maps, "make_cloud", lambda *_: pytest.fail("it went on with an option that it cannot use"))
    with pytest.raises(SystemExit, match="2"):
        tool.main()
    assert not list(tmp_path.iterdir())


def test_a_table_grows_by_a_line_a_measure_with_the_machine(results: dict, tmp_path: Path) -> None:
    path = tmp_path / "docs" / "benchmarks.csv"
    first = append_measures(path, results)
    assert append_measures(path, {**results, "machine": {**results["machine"], "cpu": "another, with a comma"}}) == first
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * first == 2 * len(measures(results))
    assert {row["cpu"] for row in rows} == {results["machine"]["cpu"], "another, with a comma"}
    reached = next(row for row in rows if row["measure"] == "network, its FLOP/s over a matrix product's")
    assert float(reached["value"]) == pytest.approx(results["network"]["share_of_product"], rel=1e-3)
    ratios = latest_ratios(path)
    assert len(ratios) == len(Score) * len(Extent)
    expected = next(row["cpu_times_copy"]["median"] for row in results["low_rank"])
    assert next(iter(ratios.values())) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_the_map_is_no_slower_over_a_copy_than_when_it_was_last_measured(root: Path) -> None:
    stored = latest_ratios(root / "docs" / "benchmarks.csv")
    found = {"low_rank": benchmark_low_rank(*make_cloud(10, 50, 96), repeats=5), "memory": {}}
    lowest = {
        name: row["cpu_times_copy"]["min"]
        for (name, _, unit, _), row in zip(
            [one for one in measures(found) if one[2] == "ratio"], found["low_rank"], strict=True
        )
    }
    # the smallest of five, in CPU time, against a median: other work on the machine cannot double it
    slower = {name: (ratio, stored[name]) for name, ratio in lowest.items() if ratio > 2 * stored[name]}
    assert not slower


def test_processes_are_compared_on_the_same_scans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[list[str], int]] = []

    def analyze(scans: Path, _: Path, *, num_samples: int, num_workers: int) -> float:
        seen.append((sorted(path.name for path in scans.iterdir()), num_workers))
        return 20.0 / num_workers

    monkeypatch.setattr(cohort, "_analyze", analyze)
    (tmp_path / "scan.nii.gz").touch()
    rows = cohort.benchmark_cohort({"image": str(tmp_path / "scan.nii.gz")}, num_scans=3, num_samples=4)
    assert seen == [(["scan0_t1.nii.gz", "scan1_t1.nii.gz", "scan2_t1.nii.gz"], workers) for workers in (1, 2)]
    assert [(row["scans_an_hour"], row["growth"]) for row in rows] == [(540.0, 1.0), (1080.0, 2.0)]
