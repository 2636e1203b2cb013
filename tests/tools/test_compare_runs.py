"""Comparing two runs: paired by case, per metric and map, and refused where the cases differ."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.stats import permutation_test

from scripts.report.tables import write_csv
from tools.compare_runs import compare_runs


def write_run(folder, seed, *, n=8, gain=0.0, maps=("anomaly_map", "mean"), prefix="c"):
    """A cases.csv with two sets; the last case of each has no lesion."""
    rng, rows = np.random.default_rng(seed), []
    for dataset in ("MSLUB", "WMH"):
        for index in range(n):
            for name in maps:
                value = float("nan") if index == n - 1 else float(rng.random() + gain)
                row = {"dataset": dataset, "case": f"{prefix}{index}", "map": name, "age": 40, "auprc": value}
                rows.append(row | {"dice_at_pooled_best_dice": value / 2, "hausdorff_mm_at_x": 3.0})
    write_csv(folder / "cases.csv", rows)
    return folder


def read(folder):
    with (folder / "comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_metric_of_every_map_and_set_is_compared(tmp_path):
    first, second = (write_run(tmp_path / name, seed, gain=seed) for seed, name in enumerate("ab"))
    compare_runs(str(first), str(second), output_dir=str(tmp_path), num_rounds=500)
    rows = read(tmp_path)
    found = {(row["dataset"], row["map_a"], row["metric"]) for row in rows}
    metrics = ("auprc", "dice_at_pooled_best_dice")
    assert found == {(s, m, k) for s in ("MSLUB", "WMH") for m in ("anomaly_map", "mean") for k in metrics}
    assert {row["n"] for row in rows} == {"7"}, "cases without the metric are left out"
    text = (tmp_path / "comparison.md").read_text()
    assert "not corrected" in text
    assert "| MSLUB " in text


def test_numbers_are_those_of_scipy(tmp_path):
    first, second = (write_run(tmp_path / name, seed, gain=0.1 * seed) for seed, name in enumerate("ab"))
    compare_runs(str(first), str(second), output_dir=str(tmp_path), metrics="auprc")
    row = read(tmp_path)[0]
    a, b = (
        np.array([float(r["auprc"]) for r in csv.DictReader((run / "cases.csv").open()) if r["auprc"] and (r["map"], r["dataset"]) == ("anomaly_map", "MSLUB")])
        for run in (first, second)
    )
    assert float(row["difference"]) == pytest.approx(np.mean(a - b))
    # 2^7 patterns are counted, not drawn: the p-value is exact.
    expected = permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    assert float(row["pvalue"]) == pytest.approx(expected.pvalue)
    assert float(row["ci95_low"]) < float(row["difference"]) < float(row["ci95_high"])


def test_a_run_does_not_differ_from_itself_and_a_better_one_does(tmp_path):
    run = write_run(tmp_path / "a", 0, n=12)
    better = write_run(tmp_path / "b" / "test", 0, n=12, gain=0.2)
    compare_runs(str(run), str(run), output_dir=str(tmp_path / "same"))
    assert {float(row["pvalue"]) for row in read(tmp_path / "same")} == {1.0}
    compare_runs(str(better.parent), str(run), output_dir=str(tmp_path / "other"), metrics=["auprc"])
    for row in read(tmp_path / "other"):
        assert float(row["difference"]) == pytest.approx(0.2)
        assert float(row["pvalue"]) == pytest.approx(2 / 2**11)  # only the two extreme sign patterns of 11 cases


def test_two_maps_of_one_run_can_be_compared(tmp_path):
    run = write_run(tmp_path / "a", 0)
    compare_runs(str(run), str(run), map_a="mean", map_b="anomaly_map", output_dir=str(tmp_path))
    assert {(row["map_a"], row["map_b"]) for row in read(tmp_path)} == {("mean", "anomaly_map")}
    assert "mean / anomaly_map" in (tmp_path / "comparison.md").read_text()


def test_runs_over_other_cases_are_refused_by_name(tmp_path):
    first, second = write_run(tmp_path / "a", 0, n=3), write_run(tmp_path / "b", 0, n=2)
    with pytest.raises(ValueError, match=r"the cases do not match; only in \S+a: MSLUB/c2, WMH/c2\. Evaluate both"):
        compare_runs(str(first), str(second), output_dir=str(tmp_path / "out"))
    other = write_run(tmp_path / "c", 0, n=9, prefix="d")
    with pytest.raises(ValueError, match=r"only in \S+c: MSLUB/d0, .*, MSLUB/d4 and 13 more"):
        compare_runs(str(first), str(other), output_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map_a": "l7"}, r"`map_a` must be one of anomaly_map, mean, got 'l7'"),
        ({"metrics": ["auprc", "luck"]}, r"`metrics` must be columns of both runs \(auprc, .*got luck"),
        ({"run_b": "nowhere"}, r"nowhere: no cases.csv is there"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, options, message):
    run = str(write_run(tmp_path / "a", 0))
    with pytest.raises(ValueError, match=message):
        compare_runs(**{"run_a": run, "run_b": run, "output_dir": str(tmp_path), **options})
