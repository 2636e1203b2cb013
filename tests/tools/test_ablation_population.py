"""Population statistics in an ablation."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml

from scripts.errors import InputError
from scripts.inferers import Polarity
from scripts.inferers.population_files import PopulationFile, population_path, save_population
from scripts.ops import PopulationFit, PopulationStatistics
from tools.ablation import run as tool
from tools.ablation.cases import AblationCase
from tools.ablation.grid import Grid
from tools.ablation.reconstructions import Cache, Reconstructor
from tools.ablation.rows import RowMaker, score_map
from tools.ablation.settings import Setting

from .test_ablation import case, grid, paths  # noqa: F401  # fixtures


def test_a_population_belongs_to_the_weights_and_is_part_of_a_row(
    paths: dict[str, str], grid: Grid, case: AblationCase, tmp_path: Path  # noqa: F811
) -> None:
    weights = hashlib.sha256(Path(paths["checkpoint"]).read_bytes()).hexdigest()
    shape = case.image.shape
    brain = case.brain_mask.float()
    statistics = PopulationStatistics(torch.zeros(shape), torch.full(shape, 0.2), brain, 0.1 * torch.rand(2, *shape))
    about = {"weights_sha256": weights}
    save_population(population_path(tmp_path, "t1"), PopulationFile(statistics, torch.eye(4), about))
    (tmp_path / "folder.yaml").write_text(yaml.safe_dump({"model_dir": str(tmp_path)}))
    overlays = [paths["overlay"], str(tmp_path / "folder.yaml")]
    changes = {"population": True, "population_components": 2}
    with_population, without = (Setting("", {**grid.base.values, **each}) for each in (changes, {}))
    reconstructor = Reconstructor(Cache(paths["cache_dir"]), [with_population, without], overlays=overlays)
    assert reconstructor.population(without, case) is None
    found = reconstructor.population(with_population, case)
    torch.testing.assert_close(found.std, statistics.std, atol=1e-4, rtol=0)  # half precision
    assert len(found.components) == 2
    samples = reconstructor.samples(with_population, case)
    maps = [score_map(case, samples, setting, Polarity.DARK, found) for setting in (with_population, without)]
    assert not torch.allclose(maps[0], maps[1])
    hows = (reconstructor.population, lambda *_: None)
    makers = [RowMaker([case], [], reconstructor, polarity=Polarity.DARK, population=how) for how in hows]
    assert makers[0].key(with_population) != makers[1].key(with_population)


MEASURED = {"population": True, "population_datasets": "IXI", "fitted_components": 1, "population_samples": 2}


def test_populations_are_measured_on_named_sets_once(
    paths: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    content = {
        "base": {"num_samples": 2},
        "rows": {
            "mean and spread": {**MEASURED, "population_components": 0},
            "and components": {**MEASURED, "population_components": 1, "score": "conditional"},
            "too many": {**MEASURED, "population_components": 2},
        },
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    options = {**paths, "grid": str(tmp_path / "grid.yaml"), "num_bootstrap": 100, "progress": False}
    options |= {"datasets": "Brats21", "healthy": "IXI", "limit": 1}
    tool.ablation(**options, output_dir=str(tmp_path / "first"))
    report = json.loads((tmp_path / "first" / "ablation.json").read_text())
    rows = {row["setting"]: row for row in report["rows"]}
    assert rows["base"]["auprc"] != rows["mean and spread"]["auprc"] != rows["and components"]["auprc"]
    assert "from 0 to 1, which were measured, got 2" in rows["too many"]["reason"]
    assert rows["base"]["healthy_ml_median"] == rows["base"]["healthy_ml"], "one healthy scan"

    def refuse(self: PopulationFit, **options: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(PopulationFit, "finish", refuse)
    tool.ablation(**options, output_dir=str(tmp_path / "second"))
    with (tmp_path / "second" / "ablation.csv").open() as file:
        again = {row["setting"]: row for row in csv.DictReader(file)}
    assert float(again["and components"]["auprc"]) == pytest.approx(rows["and components"]["auprc"])


def test_an_unknown_set_ends_in_its_name(paths: dict[str, str], tmp_path: Path) -> None:  # noqa: F811
    content = {"base": {"num_samples": 2, **MEASURED, "population_datasets": ["nowhere"]}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content))
    options = {**paths, "grid": str(tmp_path / "grid.yaml"), "num_bootstrap": 100, "progress": False}
    with pytest.raises(InputError, match="nowhere"):
        tool.ablation(**options, datasets="Brats21", limit=1, output_dir=str(tmp_path / "out"))
