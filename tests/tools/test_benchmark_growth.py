"""The growth of the map with voxels and reconstructions, and the speed of training: what the two commands write."""

from __future__ import annotations

import json

import pytest

from scripts.errors import InputError
from tools.benchmark import training
from tools.benchmark.growth import map_growth
from tools.benchmark.training import training_speed


def test_growth_writes_a_table_and_a_plot_beside_the_dense_form(tmp_path) -> None:
    map_growth(output_dir=str(tmp_path), repeats=2, threads=1, quick=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth.json", "growth.md", "growth.png"]
    rows = json.loads((tmp_path / "growth.json").read_text())["rows"]
    assert {(row["extent"], row["num_samples"]) for row in rows} >= {("slice", 4), ("volume", 4), ("volume", 3)}
    volume = next(row for row in rows if row["extent"] == "volume")
    assert volume["dense_matrix_gib"] == volume["voxels"] ** 2 * 8 / 2**30
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)


@pytest.mark.slow
def test_training_speed_compares_the_loader_with_batches_in_memory(tmp_path) -> None:
    variants = ["batches in memory", "loader", "activation checkpointing", "two processes, loader"]
    training_speed(output_dir=str(tmp_path), variants=variants, quick=True, table=str(tmp_path / "table.csv"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.json", "training.md"]
    measures = json.loads((tmp_path / "training.json").read_text())["measures"]
    values = {measure["measure"]: measure["value"] for measure in measures}
    assert values["training, loader over batches in memory"] > 0
    assert values["training, two processes, loader over loader"] > 0
    assert values["training, activation checkpointing, peak of a step"] >= 0


def test_a_run_that_is_stopped_leaves_what_was_measured(tmp_path, monkeypatch) -> None:
    runs = iter(range(5))  # a sixth is not to be had

    def fake(*_, **__) -> dict[str, float]:
        return {"samples_a_second": 10.0 + next(runs), "peak_mib": 1.0, "batch_size": 8}

    monkeypatch.setattr(training, "_run", fake)
    variants, table = ["float32", "loader", "batches in memory"], tmp_path / "table.csv"
    with pytest.raises(StopIteration):
        training_speed(output_dir=str(tmp_path), dataset_dir="none", variants=variants, rounds=2, table=str(table))
    measures = json.loads((tmp_path / "training.json").read_text())["measures"]
    found = {measure["measure"]: (measure["value"], measure["repeats"]) for measure in measures}
    assert found["training, batches in memory, batches of 8"] == (11.5, 2)
    assert found["training, loader over batches in memory"] == (pytest.approx((11 / 10 + 14 / 13) / 2), 2)
    assert found["training, float32 over batches in memory"] == (1.2, 1)
    lines = table.read_text().splitlines()[1:]
    assert [line.split('"')[1] for line in lines if "batches of 8" in line] == [
        "training, batches in memory, batches of 8", "training, loader, batches of 8",
    ]  # fmt: skip


def test_an_unknown_variant_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="`variants` must be out of batches in memory, loader"):
        training_speed(output_dir=str(tmp_path), variants=["fast"])
