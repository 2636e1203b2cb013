"""The paper's experiment on phantoms in the layout of the five published sets, through the bundle's commands."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

from scripts.data.phantom import write_phantom_tree
from scripts.errors import reason
from scripts.evaluation.operating_points import read_thresholds
from tools.compare_runs import compare_runs
from tools.run_folds import run_folds

from .conftest import TINY_NETWORK, TINY_TRAINING, run_command

SETS = {"t1": ["Brats21", "MSLUB", "IXI", "ATLAS_v2", "WMH"], "t2": ["Brats21", "MSLUB", "IXI"]}
MAPS = ["anomaly_map", "intensity"]
TINY = {**TINY_NETWORK, "num_samples": 2, "erosion": 0, "median_size": 0, "progress": False}
FAST = {**TINY, "num_bootstrap": 20, "panels": 0, "limit": 1, "outputs": [*MAPS, "reconstruction"]}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of all five sets."""
    return write_phantom_tree(tmp_path_factory.mktemp("published") / "tree", shape=(32, 32, 16), num_folds=2)


@pytest.fixture(scope="module")
def weights(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny network."""
    parser = ConfigParser()
    parser.read_config(str(root / "bundle" / "configs" / "inference.yaml"))
    parser.update({key: value for key, value in TINY_NETWORK.items() if key != "grid_size"})
    torch.manual_seed(0)
    network, path = parser.get_parsed_content("network_def"), tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return path


def _configs(root: Path, *names: str) -> list[str]:
    return [str(root / "bundle" / "configs" / f"{name}.yaml") for name in ("inference", "evaluate", *names)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("modality", ["t1", "t2"])
def test_thresholds_come_from_validation_and_figures_from_test(
    root: Path, published: Path, weights: Path, tmp_path: Path, modality: str
) -> None:
    options = {"dataset_dir": str(published), "checkpoint": str(weights), "output_dir": str(tmp_path)}
    monai.bundle.run(config_file=_configs(root, "experiment"), modality=modality, **options, **FAST)
    val, rows = (_rows(tmp_path / part / "cases.csv") for part in ("val", "test"))
    assert {row["dataset"] for row in rows} == {row["dataset"] for row in val} == set(SETS[modality])
    assert not {row["case"] for row in rows} & {row["case"] for row in val}
    thresholds = read_thresholds(tmp_path / "val" / "thresholds.json")
    for row in rows:
        own = thresholds[row["map"]]
        best = own.get(f"best_dice@{row['dataset']}", own["best_dice"])
        assert float(row["threshold_at_validation_best_dice"]) == best
        assert float(row["threshold_at_validation_healthy_fpr_0.05"]) == own["healthy_fpr_0.05"]
        assert (row["auprc"] == "") == (row["dataset"] == "IXI")
        assert 0 <= float(row["false_positive_rate_at_validation_healthy_fpr_0.05"]) <= 1
    table = _rows(tmp_path / "table.csv")
    assert [row["method"] for row in table] == MAPS
    lesions = [name for name in SETS[modality] if name != "IXI"]
    assert [name for name in table[0] if name.endswith("_dice_mean")] == [f"{name}_dice_mean" for name in lesions]
    about = json.loads((tmp_path / "experiment.json").read_text())
    assert (about["modality"], about["skipped"], about["n_test"]) == (modality, [], len(SETS[modality]))
    assert len(about["weights"]["sha256"]) == 64


def test_absent_sets_are_skipped_and_reported(root: Path, tree: Path, weights: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(tree), "checkpoint": str(weights), "output_dir": str(tmp_path)}
    monai.bundle.run(config_file=_configs(root, "experiment"), modality="t2", **options, **FAST)
    text = (tmp_path / "experiment.md").read_text()
    assert "splits/MSLUB_val.csv is not there" in text
    assert [one["dataset"] for one in json.loads((tmp_path / "experiment.json").read_text())["skipped"]] == ["MSLUB"] * 2
    with pytest.raises((RuntimeError, ValueError)) as caught:
        monai.bundle.run(config_file=_configs(root, "experiment"), modality="t2", datasets=["MSLUB"], **options, **FAST)
    assert "no test split is there (MSLUB: splits/MSLUB_test.csv is not there)" in str(reason(caught.value))


def test_the_paper_preset_evaluates(root: Path, published: Path, weights: Path, tmp_path: Path) -> None:
    small = {**TINY_NETWORK, "num_samples": 2, "network_def#feature_dim": 128}
    small |= {"network_def#unet#num_res_blocks": 1, "network_def#encoder#block": "basic"}
    small |= {"network_def#encoder#layers": [1, 1, 1, 1], "network_def#encoder#num_classes": 128}
    options = {"dataset_dir": str(published), "checkpoint": str(weights), "output_dir": str(tmp_path)}
    options |= {"datasets": ["MSLUB"]}
    configs = _configs(root, "experiment", "network_reference", "paper_evaluate")
    monai.bundle.run(config_file=configs, modality="t1", **options, **{**FAST, **small, "erosion": 0, "median_size": 0})
    summary = json.loads((tmp_path / "test" / "summary.json").read_text())
    assert list(summary["data_sets"]) == ["MSLUB"]
    assert (tmp_path / "table.tex").is_file()


def _evaluate(root: Path, *overlays: str, launcher: tuple[str, ...] = (), **options: object) -> subprocess.CompletedProcess:
    done = run_command(root, launcher=launcher, config_file=str(_configs(root, *overlays)), **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
def test_two_processes_write_the_tables_of_one(root: Path, published: Path, weights: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": published, "checkpoint": weights, "modality": "t1", **FAST}
    options |= {"datasets": ["Brats21", "IXI", "WMH"], "split": "test"}  # three cases: two for one process, one for the other
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    text = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    monai.bundle.run(config_file=_configs(root), output_dir=str(tmp_path / "one"), **text)
    _evaluate(root, "multi_gpu_evaluate", launcher=launcher, output_dir=tmp_path / "two", **options)
    assert len(_rows(tmp_path / "two" / "cases.csv")) == 3 * len(MAPS)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {path.name for path in (tmp_path / "two").iterdir()}
    for name in names - {"summary.json", "summary.md"}:  # these two hold the command
        one, two = ((tmp_path / run / name).read_bytes() for run in ("one", "two"))
        if name == "evaluation.html":  # it too, between other things
            one, two = (re.sub(rb'<pre class="citation">.*?</pre>', b"", page, flags=re.DOTALL) for page in (one, two))
        assert one == two, name
    summaries = [json.loads((tmp_path / run / "summary.json").read_text()) for run in ("one", "two")]
    assert summaries[0]["data_sets"] == summaries[1]["data_sets"]


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["t1", "t2"])
def test_the_chain_from_pretraining_to_the_table_and_a_comparison(published: Path, tmp_path: Path, modality: str) -> None:
    training = {key: value for key, value in TINY_TRAINING.items() if key != "datasets"} | {"max_epochs": 1}
    pretraining = {key: training[key] for key in ("network_def#encoder#block_inplanes", "num_workers", "slices_per_volume")}
    pretraining |= {"max_epochs": 1, "batch_size": 4, "warmup_steps": 1, "grid_size": [64, 64, 16]}
    options = {"dataset_dir": str(published), "modality": modality, "evaluate_options": FAST}
    plain, spark = tmp_path / "plain", tmp_path / "spark"
    run_folds(str(plain), folds=[0, 1], train_options=training, **options)
    table = _rows(plain / "table.csv")
    assert [row["method"] for row in table] == MAPS
    assert table[0]["Brats21_auprc_n"] == "2"
    assert float(table[0]["Brats21_auprc_std"]) > 0, "another network in each fold"
    run_folds(
        str(spark), folds=[0, 1], pretrain=True, pretrain_options=pretraining,
        train_options=training, others={"plain": str(plain)}, label="SparK", **options,
    )  # fmt: skip
    assert (spark / "fold1" / "pretrain" / "encoder.pt").is_file()
    methods = [row["method"] for row in _rows(spark / "table.csv")]
    assert {"plain: anomaly_map", "SparK: anomaly_map"} <= set(methods)
    lesions = [name for name in SETS[modality] if name != "IXI"]
    assert all(f"{name}_auprc_mean" in table[0] for name in lesions)
    compare_runs(str(plain / "fold0/evaluate/test"), str(spark / "fold0/evaluate/test"), output_dir=str(tmp_path / "versus"))
    assert any((tmp_path / "versus").iterdir())


@pytest.mark.slow
def test_the_paper_preset_trains(root: Path, published: Path, tmp_path: Path) -> None:
    small = {"network_def#unet#num_res_blocks": 1, "network_def#encoder#layers": [1, 1, 1, 1], "network_def#encoder#block": "basic"}
    options = {**TINY_NETWORK, **small, "max_epochs": 1, "num_workers": 0}
    configs = "['bundle/configs/train.yaml','bundle/configs/network_reference.yaml','bundle/configs/paper.yaml']"
    done = run_command(root, "training", config_file=configs, dataset_dir=published, output_dir=tmp_path, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "model.pt").is_file()
