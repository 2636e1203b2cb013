"""Parts of an evaluation's report: searches for the threshold, own thresholds of each set, lesion sizes, pictures."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from scripts.evaluation.case import read_case
from scripts.evaluation.figures import chosen_panels
from scripts.evaluation.rows import case_slices
from scripts.evaluation.scores import Region, RunScores
from scripts.metrics.score_counts import ScoreCounts
from scripts.metrics.thresholds import pooled_best_dice
from tests.handlers.test_anomaly_evaluation import arrays, evaluate, phantom, read_rows


@pytest.fixture
def cases():
    return [phantom(f"case{seed}", seed) for seed in range(3)]


def pooled(cases, channel=0):
    """All voxels of several cases."""
    return [np.concatenate([arrays(case, channel)[part].ravel() for case in cases]) for part in (0, 1)]


def test_several_sets_give_a_common_threshold_and_one_each(cases, tmp_path):
    other = phantom("b", 7, dataset="WMH")
    other["pred"] = other["pred"] * 2
    evaluate(tmp_path, [other, *cases])
    found = json.loads((tmp_path / "thresholds.json").read_text())["anomaly_map"]["default"]["points"]
    found = {name: point["threshold"] for name, point in found.items()}
    assert list(found) == ["best_dice", "best_dice@WMH", "best_dice@lesions"]
    assert found["best_dice"] == pooled_best_dice(ScoreCounts.count(*pooled([other, *cases]))).threshold
    assert found["best_dice@WMH"] == pooled_best_dice(ScoreCounts.count(*pooled([other]))).threshold


def test_a_set_is_tested_at_its_own_validation_threshold(cases, tmp_path):
    thresholds = {"anomaly_map": {"best_dice": 0.5, "best_dice@WMH": 0.75}}
    evaluate(tmp_path, [phantom("b", 7, dataset="WMH"), cases[0]], thresholds=thresholds)
    rows = [row for row in read_rows(tmp_path / "cases.csv") if row["map"] == "anomaly_map"]
    found = {row["dataset"]: row["threshold_at_validation_best_dice"] for row in rows}
    assert found == {"WMH": "0.75", "lesions": "0.5"}
    assert not [name for name in rows[0] if "@" in name]


def test_false_positive_rate_is_a_share_of_the_brain(tmp_path):
    healthy = phantom("h", 1, dataset="IXI", label=False, lesion=False)
    evaluate(tmp_path, [healthy], thresholds={"anomaly_map": {"healthy_fpr_0.05": 0.4}}, healthy_rates=(0.05,))
    scores, brain = healthy["pred"][0].numpy(), healthy["brain_mask"][0].numpy() > 0
    row = read_rows(tmp_path / "cases.csv")[0]
    expected = np.mean(scores[brain] >= np.float32(0.4))
    assert float(row["false_positive_rate_at_validation_healthy_fpr_0.05"]) == pytest.approx(expected)
    assert float(row["brain_ml"]) == pytest.approx(brain.sum() * 0.008)
    assert f"{expected:.3f}" in (tmp_path / "summary.md").read_text()


def test_lesions_are_listed_and_summed_up_by_volume(cases, tmp_path):
    cases[0]["label"][0, 10, 10, 5] = 1  # a second lesion, of one voxel of 0.008 ml
    evaluate(tmp_path, cases, thresholds={"anomaly_map": {"best_dice": 0.35}}, lesion_bins_ml=(0.1, 10))
    rows = [row for row in read_rows(tmp_path / "lesions.csv") if row["map"] == "anomaly_map"]
    assert [row["case"] for row in rows] == ["case0", "case0", "case1", "case2"]
    assert sorted(float(row["volume_ml"]) for row in rows[:2]) == pytest.approx([0.008, 4 * 4 * 3 * 0.008])
    sizes = read_rows(tmp_path / "lesion_sizes.csv")
    own = [r for r in sizes if (r["map"], r["operating_point"]) == ("anomaly_map", "validation_best_dice")]
    assert [(r["low_ml"], r["high_ml"], r["n_lesions"]) for r in own] == [("0.0", "0.1", "1"), ("0.1", "10.0", "3")]
    recalls = [float(row["recall_at_validation_best_dice"]) for row in rows if float(row["volume_ml"]) > 0.1]
    assert float(own[1]["mean_recall"]) == pytest.approx(np.mean(recalls))
    assert float(own[1]["sensitivity"]) == np.mean(np.array(recalls) > 0) == 1
    assert "(3 / 3)" in (tmp_path / "summary.md").read_text()


def test_tables_stand_in_the_order_of_names_whatever_came_first(cases, tmp_path):
    evaluate(tmp_path / "a", cases)
    evaluate(tmp_path / "b", cases[::-1])
    for name in ("cases.csv", "slices.csv", "lesions.csv", "table.tex", "thresholds.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_attributes_of_the_data_set_are_carried(cases, tmp_path):
    evaluate(tmp_path, [cases[0] | {"attributes": {"age": "64", "sex": "f", "label": "1"}}])
    row = read_rows(tmp_path / "cases.csv")[0]
    assert (row["age"], row["sex"]) == ("64", "f")
    assert "label" not in row


def row(case, auprc, *, dataset="a", lesion_ml=1.0, volume=0.0):
    return {"dataset": dataset, "case": case, "auprc": auprc, "lesion_ml": lesion_ml, "fp": volume}


def test_best_median_and_worst_are_chosen_in_each_set():
    lesions = [row(str(i), auprc) for i, auprc in enumerate([0.3, 0.9, 0.1, 0.5, 0.4])]
    lesions.append(row("none", math.nan, lesion_ml=0.0))
    healthy = [row(str(i), math.nan, dataset="h", lesion_ml=0.0, volume=ml) for i, ml in enumerate([5, 1, 9])]
    chosen = chosen_panels([*lesions, *healthy], "best_median_worst", volume="fp")
    assert {key: word for key, word in chosen.items() if key[0] == "a"} == {
        ("a", "1"): "best", ("a", "4"): "median", ("a", "2"): "worst",
    }  # fmt: skip
    assert {case: word for (dataset, case), word in chosen.items() if dataset == "h"} == {
        "1": "best", "0": "median", "2": "worst",
    }  # fmt: skip


@pytest.mark.parametrize(("number", "words"), [(1, ["best"]), (2, ["best", "worst"])])
def test_few_cases_get_one_picture_each(number, words):
    rows = [row(str(i), 1 / (i + 1)) for i in range(number)]
    assert sorted(chosen_panels(rows, "best_median_worst", volume=None).values()) == words
    assert chosen_panels(rows, 1, volume=None) == {("a", "0"): ""}


def test_pictures_of_chosen_cases_carry_the_word(cases, tmp_path):
    evaluate(tmp_path, cases[:1], panels="best_median_worst")
    assert [path.name for path in (tmp_path / "panels").iterdir()] == ["lesions_best_case0.png"]


def test_merged_runs_are_one_run(cases):
    def filled(outputs):
        run = RunScores(region=Region.VOLUME, healthy_rates=(0.05,), fixed={})
        for output in outputs:
            case = read_case(output, outputs=["anomaly_map", "single_l1", "reconstruction", "uncertainty"])
            run.add(case, "anomaly_map", case_slices(case, "anomaly_map", region=Region.VOLUME))
        return run

    whole, merged = filled(cases), filled([])
    merged.merge([filled(cases[::2]), filled(cases[1::2]), filled([])])
    for run in (whole, merged):
        assert run.groups() == [("lesions",)]
    for name in ("values", "positives"):
        expected = getattr(whole.lesions(("lesions",), "anomaly_map"), name)
        np.testing.assert_array_equal(getattr(merged.lesions(("lesions",), "anomaly_map"), name), expected)
    assert merged.colour_scale("anomaly_map") == whole.colour_scale("anomaly_map")
