"""The evaluation handler on an engine whose outputs are phantoms: files, numbers and answers to odd cases."""

from __future__ import annotations

import base64
import csv
import json
import logging
import math

import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import StatsHandler
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from scripts.evaluation.operating_points import read_thresholds
from scripts.handlers.anomaly_evaluation import AnomalyEvaluationHandler
from scripts.metrics.score_counts import ScoreCounts
from scripts.metrics.thresholds import pooled_best_dice

OUTPUTS = ["anomaly_map", "single_l1", "reconstruction", "uncertainty"]
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def phantom(case: str, seed: int, *, dataset: str = "lesions", lesion: bool = True, label: bool = True):
    """A box of brain, one lesion box, maps that are higher in it; as the evaluator returns it after decollation."""
    rng = np.random.default_rng(seed)
    brain, target = np.zeros((14, 16, 8), np.float32), np.zeros((14, 16, 8), np.float32)
    brain[2:12, 2:14, 1:7] = 1
    if lesion:
        target[4:8, 5 : 9 + seed % 3, 2:5] = 1
    image = brain * rng.uniform(0.3, 1, brain.shape)
    maps = [brain * (rng.gamma(2, 0.1, brain.shape) + gain * target) for gain in (0.3, 0.1)]
    pred = np.stack([*maps, image * 0.9, brain * 0.01]).astype(np.float32)
    output = {
        "image": MetaTensor(torch.tensor(image[None], dtype=torch.float32), affine=AFFINE),
        "brain_mask": torch.tensor(brain[None]),
        "pred": torch.tensor(pred),
        "case": case,
        "dataset": dataset,
        "seconds": torch.tensor(0.5 + seed),
    }
    return output | ({"label": torch.tensor(target[None])} if label else {})


def evaluate(output_dir, outputs, **options):
    """Run the handler over outputs, one case per iteration, and return the engine."""
    engine = Engine(lambda engine, batch: [batch])
    options = {"num_bootstrap": 200, "panels": 0} | options
    AnomalyEvaluationHandler(str(output_dir), OUTPUTS, **options).attach(engine)
    engine.run(outputs)
    return engine


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def arrays(output, channel=0):
    return output["pred"][channel].numpy(), output["label"][0].numpy() > 0, output["brain_mask"][0].numpy() > 0


@pytest.fixture
def cases():
    return [phantom(f"case{seed}", seed) for seed in range(3)]


def test_all_files_are_written_and_nothing_else_is_left(cases, tmp_path):
    evaluate(tmp_path, cases, panels=2)
    names = {path.name for path in tmp_path.iterdir()}
    tables = {"cases.csv", "slices.csv", "summary.json", "summary.md", "thresholds.json", "evaluation.html"}
    of_lesions = {"lesions.csv", "lesion_sizes.csv", "table.csv", "table.md", "table.tex", "pr_curve_lesions.png"}
    assert names == tables | of_lesions | {"panels"}
    panels = sorted((tmp_path / "panels").iterdir())
    assert [path.name for path in panels] == ["lesions_case0.png", "lesions_case1.png"]
    assert all(matplotlib.image.imread(path)[..., :3].std() > 0.05 for path in panels)


def test_the_page_says_what_the_markdown_says_and_holds_this_runs_pictures(cases, tmp_path, read_page):
    (tmp_path / "panels").mkdir()
    (tmp_path / "panels" / "lesions_other.png").write_bytes(b"of an earlier run")
    evaluate(tmp_path, cases, panels=2)
    text = (tmp_path / "summary.md").read_text()
    page = read_page(tmp_path / "evaluation.html")
    cells = {cell.strip() for line in text.splitlines() if line.startswith("|") for cell in line.split("|")} - {""}
    shown = {content for tag in ("th", "td") for _, content in page.named(tag)}
    assert {cell for cell in cells if set(cell) != {"-"}} <= shown
    curve, *panels = [attributes["src"] for attributes, _ in page.named("img")]
    assert base64.b64decode(curve.split(",")[1]) == (tmp_path / "pr_curve_lesions.png").read_bytes()
    assert len(panels) == 2
    links = [attributes["href"] for attributes, _ in page.named("a")]
    assert links[:2] == ["panels/lesions_case0.png", "panels/lesions_case1.png"]
    assert {"cases.csv", "summary.json", "table.csv"} <= set(links)
    assert all((tmp_path / link).is_file() for link in links)
    assert str(tmp_path) not in (tmp_path / "evaluation.html").read_text()


@pytest.mark.parametrize("region", ["volume", "brain"])
def test_a_row_holds_what_the_metrics_say_about_its_map(cases, tmp_path, region):
    evaluate(tmp_path, cases, region=region)
    rows = read_rows(tmp_path / "cases.csv")
    expected = [(f"case{seed}", name) for seed in range(3) for name in ("anomaly_map", "single_l1")]
    assert [(row["case"], row["map"]) for row in rows] == expected
    scores, target, brain = arrays(cases[1], channel=1)
    inside = brain if region == "brain" else np.ones_like(brain)
    row = rows[3]
    assert float(row["auprc"]) == pytest.approx(average_precision_score(target[inside], scores[inside]))
    assert float(row["auroc"]) == pytest.approx(roc_auc_score(target[inside], scores[inside]))
    dice, threshold = pooled_best_dice(ScoreCounts.count(scores[inside], target[inside]))
    assert (float(row["oracle_dice"]), float(row["oracle_threshold"])) == (dice, threshold)
    assert float(row["lesion_ml"]) == pytest.approx(target.sum() * 0.008)  # 2 mm voxels
    assert float(row["seconds"]) == 1.5
    error = np.abs(cases[1]["image"][0].numpy() * 0.1)
    assert float(row["l1_error_anomalous"]) == pytest.approx(error[target].mean(), rel=1e-5)  # float32 reconstruction


def test_pooled_numbers_are_those_of_all_voxels_together(cases, tmp_path):
    evaluate(tmp_path, cases)
    pooled = json.loads((tmp_path / "summary.json").read_text())["data_sets"]["lesions"]["anomaly_map"]["pooled"]
    scores, target = (np.concatenate([arrays(case)[part].ravel() for case in cases]) for part in (0, 1))
    # The same sums in another order: float64 rounding only.
    assert pooled["auprc"] == pytest.approx(average_precision_score(target, scores), rel=1e-12)
    assert pooled["auroc"] == pytest.approx(roc_auc_score(target, scores), rel=1e-12)
    assert (pooled["best_dice"], pooled["best_threshold"]) == pooled_best_dice(ScoreCounts.count(scores, target))


def test_summary_is_mean_and_spread_of_the_rows(cases, tmp_path):
    engine = evaluate(tmp_path, cases)
    rows = [row for row in read_rows(tmp_path / "cases.csv") if row["map"] == "anomaly_map"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    entry = summary["data_sets"]["lesions"]["anomaly_map"]
    for name in ("auprc", "oracle_dice", "dice_at_pooled_best_dice", "hausdorff95_mm_at_pooled_best_dice"):
        values = [float(row[name]) for row in rows]
        assert entry["metrics"][name]["mean"] == pytest.approx(np.mean(values))
        assert entry["metrics"][name]["std"] == pytest.approx(np.std(values, ddof=1))
        assert entry["metrics"][name]["n"] == 3
    low, high = (entry["metrics"]["auprc"][end] for end in ("ci95_low", "ci95_high"))
    assert low <= entry["metrics"]["auprc"]["mean"] <= high
    assert engine.state.metrics["anomaly_map_auprc"] == pytest.approx(entry["metrics"]["auprc"]["mean"])
    assert (summary["region"], summary["n_cases"], entry["n_with_lesion"]) == ("volume", 3, 3)


def test_thresholds_of_a_validation_run_are_used_by_a_test_run(cases, tmp_path):
    evaluate(tmp_path / "val", [*cases, phantom("h", 9, dataset="healthy", label=False)], healthy_rates=(0.05,))
    thresholds = read_thresholds(tmp_path / "val" / "thresholds.json")
    assert list(thresholds["anomaly_map"]) == ["best_dice", "healthy_fpr_0.05"]
    test_case = phantom("t", 5)
    evaluate(tmp_path / "test", [test_case], thresholds=str(tmp_path / "val" / "thresholds.json"))
    row = read_rows(tmp_path / "test" / "cases.csv")[0]
    scores, target, _ = arrays(test_case)
    for point in ("best_dice", "healthy_fpr_0.05"):
        prediction = scores >= np.float32(thresholds["anomaly_map"][point])
        assert float(row[f"dice_at_validation_{point}"]) == pytest.approx(f1_score(target.ravel(), prediction.ravel()))
        false_positive_ml = np.sum(prediction & ~target) * 0.008
        assert float(row[f"false_positive_ml_at_validation_{point}"]) == pytest.approx(false_positive_ml)
    assert "Dice at validation best" in (tmp_path / "test" / "summary.md").read_text()


def test_a_threshold_per_map_may_be_a_bare_number(cases, tmp_path):
    evaluate(tmp_path, cases, thresholds={"single_l1": 0.25, "other_map": 3})
    rows = read_rows(tmp_path / "cases.csv")
    assert {row["threshold_at_validation_best_dice"] for row in rows if row["map"] == "single_l1"} == {"0.25"}
    assert {row["threshold_at_validation_best_dice"] for row in rows if row["map"] == "anomaly_map"} == {""}


@pytest.mark.parametrize("label", [True, False])
def test_healthy_sets_give_thresholds_at_their_rates(tmp_path, label):
    healthy = [phantom(f"h{seed}", seed, dataset="IXI", lesion=False, label=label) for seed in range(3)]
    engine = evaluate(tmp_path, healthy, panels=1, healthy_rates=(0.01, 0.1))
    thresholds = read_thresholds(tmp_path / "thresholds.json")["anomaly_map"]
    brain_scores = np.concatenate([case["pred"][0].numpy()[case["brain_mask"][0].numpy() > 0] for case in healthy])
    for rate in (0.01, 0.1):
        reached = np.mean(brain_scores >= np.float32(thresholds[f"healthy_fpr_{rate}"]))
        assert rate - 2 / brain_scores.size < reached <= rate  # within the grid's step, one voxel of these few
    row = read_rows(tmp_path / "cases.csv")[0]
    assert row["auprc"] == row["dice_at_healthy_fpr_0.1"] == ""
    assert float(row["false_positive_ml_at_healthy_fpr_0.1"]) > 0
    assert engine.state.metrics == {}
    assert "healthy set" in (tmp_path / "summary.md").read_text()
    assert [path.name for path in (tmp_path / "panels").iterdir()] == ["IXI_h0.png"]


def test_a_case_without_a_lesion_is_left_out_of_the_mean_and_n_says_so(cases, tmp_path):
    engine = evaluate(tmp_path, [*cases, phantom("empty", 4, lesion=False)])
    entry = json.loads((tmp_path / "summary.json").read_text())["data_sets"]["lesions"]["anomaly_map"]
    assert (entry["n_cases"], entry["n_with_lesion"], entry["metrics"]["auprc"]["n"]) == (4, 3, 3)
    assert entry["metrics"]["false_positive_ml_at_pooled_best_dice"]["n"] == 4
    assert list(entry["thresholds"]) == ["pooled_best_dice"]  # a patient without a label is no healthy volunteer
    assert not math.isnan(engine.state.metrics["anomaly_map_auprc"])


def test_data_sets_are_apart_and_keep_their_own_best_threshold(cases, tmp_path):
    other = phantom("b", 7, dataset="Brats/21")
    other["pred"] = other["pred"] * 2
    evaluate(tmp_path, [*cases, other], panels="all")
    sets = json.loads((tmp_path / "summary.json").read_text())["data_sets"]
    thresholds = {name: entry["anomaly_map"]["thresholds"]["pooled_best_dice"] for name, entry in sets.items()}
    assert thresholds["Brats/21"] > 1.5 * thresholds["lesions"]
    assert (tmp_path / "panels" / "Brats_21_b.png").is_file()
    assert (tmp_path / "pr_curve_Brats_21.png").is_file()


def test_slices_are_listed_and_scored(cases, tmp_path):
    evaluate(tmp_path, cases[:1])
    rows = [row for row in read_rows(tmp_path / "slices.csv") if row["map"] == "anomaly_map"]
    scores, target, _ = arrays(cases[0])
    assert [int(row["slice"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["has_lesion"] for row in rows] == ["0", "1", "1", "1", "0", "0"]
    assert [float(row["score"]) for row in rows] == pytest.approx(scores.max(axis=(0, 1))[1:7].tolist())
    expected = roc_auc_score(target.any(axis=(0, 1))[1:7], scores.max(axis=(0, 1))[1:7])
    assert float(read_rows(tmp_path / "cases.csv")[0]["slice_auroc"]) == pytest.approx(expected)


def test_scores_outside_the_brain_do_not_count(cases, tmp_path):
    clean, dirty = cases[0], dict(cases[0])
    outside = clean["brain_mask"] == 0
    dirty["pred"] = torch.where(outside, torch.full_like(clean["pred"], 50), clean["pred"])
    evaluate(tmp_path / "clean", [clean])
    evaluate(tmp_path / "dirty", [dirty])
    assert (tmp_path / "clean" / "cases.csv").read_text() == (tmp_path / "dirty" / "cases.csv").read_text()


def test_monai_evaluator_prints_the_means(cases, tmp_path, caplog, capsys):
    def step(engine, batch):
        engine.state.output = [batch]
        return engine.state.output

    handler = AnomalyEvaluationHandler(str(tmp_path), OUTPUTS, panels=0, num_bootstrap=0)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=cases,
        epoch_length=len(cases),
        network=torch.nn.Identity(),
        iteration_update=step,
        val_handlers=[handler, StatsHandler(name="stats", iteration_log=False)],
        decollate=False,
    )
    with caplog.at_level(logging.INFO):
        evaluator.run()
        evaluator.run()  # a second run starts afresh
    assert capsys.readouterr().out.count("anomaly_map_auprc: 0.") == 2
    assert "| lesions  | anomaly_map | 3 " in caplog.text
    assert len(read_rows(tmp_path / "cases.csv")) == 6


def test_a_failed_run_leaves_no_table_and_an_empty_one_warns(cases, tmp_path, caplog):
    with pytest.raises(ValueError, match="`brain_mask` of lesions/case1 must hold at least one voxel"):
        evaluate(tmp_path, [cases[0], cases[1] | {"brain_mask": torch.zeros(1, 14, 16, 8)}])
    assert not list(tmp_path.glob("*.csv"))
    engine = Engine(lambda engine, batch: [])
    AnomalyEvaluationHandler(str(tmp_path), OUTPUTS).attach(engine)
    engine.run([0])
    assert "no case was evaluated" in caplog.text
    assert not list(tmp_path.glob("*.csv"))


def test_images_need_their_meta_data(cases, tmp_path):
    plain = cases[0] | {"image": cases[0]["image"].as_tensor()}
    with pytest.raises(ValueError, match=r"`image` of lesions/case0 must be a MetaTensor, .*voxel size is unknown"):
        evaluate(tmp_path, [plain])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred": torch.zeros(3, 14, 16, 8)}, r"`pred` of lesions/x must have shape \(4, 14, 16, 8\).*got \(3, 14"),
        ({"pred": torch.full((4, 14, 16, 8), torch.nan)}, "`anomaly_map` of lesions/x must be finite.* got 720 NaN"),
        ({"label": torch.zeros(1, 14, 16, 7)}, r"`label` of lesions/x must have the mask's shape \(14, 16, 8\)"),
        ({"image": torch.zeros(2, 14, 16, 8)}, r"must have shape \[1, H, W, D\], got \(2, 14, 16, 8\)"),
    ],
)
def test_unusable_outputs_are_named(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        evaluate(tmp_path, [phantom("x", 0) | change])


def test_missing_keys_are_named(tmp_path):
    output = phantom("x", 0)
    del output["dataset"]
    with pytest.raises(ValueError, match=r"must have the keys \['dataset'\], got \['brain_mask', 'case'"):
        evaluate(tmp_path, [output])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": "head"}, r"`region` must be one of volume, brain, got 'head'"),
        ({"healthy_rates": (5,)}, r"`healthy_rates` must be in \(0, 1\), got \[5\]"),
        ({"panels": "some"}, "`panels` must be 'all', 'best_median_worst' or a number of cases, got 'some'"),
        ({"lesion_bins_ml": [1, 1]}, r"must be positive and rising, got \[1, 1\]"),
        ({"thresholds": {"anomaly_map": {"best_dice": None}}}, "`best_dice` of `anomaly_map` must be a finite number"),
        (
            {"thresholds": "no/such.json"},
            r"no/such\.json: no such file of thresholds\. Evaluate a validation set first",
        ),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        AnomalyEvaluationHandler(str(tmp_path / "out"), OUTPUTS, **options)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"thresholds\.json: not a JSON file"):
        AnomalyEvaluationHandler(str(tmp_path), OUTPUTS, thresholds=path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="`thresholds` must be a mapping of map names, got list"):
        AnomalyEvaluationHandler(str(tmp_path), OUTPUTS, thresholds=path)
