"""Healthy errors in an ablation."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
import yaml

from scripts.inferers import Polarity
from scripts.inferers.healthy_errors import healthy_error_path, save_healthy_error
from scripts.ops import HealthyError
from tools.ablation.cache import AblationCache
from tools.ablation.cases import AblationCase
from tools.ablation.grid import Grid
from tools.ablation.reconstructions import Rebuilder
from tools.ablation.rows import RowMaker, score_map
from tools.ablation.settings import Setting

from .test_ablation import case, grid, paths  # noqa: F401  # fixtures


def test_healthy_errors_belong_to_the_weights_and_are_part_of_a_row(
    paths: dict[str, str], grid: Grid, case: AblationCase, tmp_path: Path  # noqa: F811
) -> None:
    weights = hashlib.sha256(Path(paths["checkpoint"]).read_bytes()).hexdigest()
    shape = case.image.shape
    error = HealthyError(torch.zeros(shape), torch.full(shape, 0.2), case.brain_mask.float())
    save_healthy_error(healthy_error_path(tmp_path, "t1"), error, affine=np.eye(4), weights_sha256=weights)
    (tmp_path / "folder.yaml").write_text(yaml.safe_dump({"model_dir": str(tmp_path)}))
    overlays = [paths["overlay"], str(tmp_path / "folder.yaml")]
    rebuilder = Rebuilder(AblationCache(paths["cache_dir"]), overlays=overlays, progress=False)
    with_errors, without = (Setting("", {**grid.base.values, "healthy_error": use}) for use in (True, False))
    rebuilder.plan([with_errors, without])
    assert rebuilder.healthy_error(without, case) is None
    found = rebuilder.healthy_error(with_errors, case)
    torch.testing.assert_close(found.std, error.std, atol=1e-4, rtol=0)  # 16 bits
    rebuilder.make_missing([case])
    draws = rebuilder.load(with_errors, case)
    maps = [score_map(case, draws, with_errors, Polarity.DARK, errors) for errors in (found, None)]
    assert not torch.allclose(maps[0], maps[1])
    options = {"load": rebuilder.load, "source": rebuilder.source, "cache": rebuilder.cache, "polarity": Polarity.DARK}
    makers = [RowMaker([case], [], **options, healthy_error=how) for how in (rebuilder.healthy_error, lambda *_: None)]
    assert makers[0].key(with_errors) != makers[1].key(with_errors)
