"""The growth of the map with voxels and reconstructions, and the speed of training: what the two commands write."""

from __future__ import annotations

import json

import pytest

from scripts.errors import InputError
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


def test_an_unknown_variant_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="`variants` must be out of batches in memory, loader"):
        training_speed(output_dir=str(tmp_path), variants=["fast"])
