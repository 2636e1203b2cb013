"""The examples in docstrings give what they print."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    *("ops.scan_score", "ops.masked_patches", "ops.simplex_noise", "metrics.best_dice", "metrics.conformal"),
    *("metrics.voxel_scores", "data.inputs.files", "data.inputs.modality", "scans.grid", "report.words", "report.paper_table"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_print(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"scripts.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
