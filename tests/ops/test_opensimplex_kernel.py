"""The private parts of opensimplex do in the installed version what its public functions do."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import opensimplex
import pytest

from scripts.ops.simplex_noise import noise_at, permutation_table


def test_the_adapter_is_tested_with_the_version_that_is_required(root: Path) -> None:
    assert f"opensimplex=={version('opensimplex')}\n" in (root / "requirements.txt").read_text()


@pytest.mark.parametrize("seed", [0, 3141, -(2**63), 2**63 - 1])
def test_a_point_has_the_noise_of_the_public_function(seed: int) -> None:
    public, table = opensimplex.OpenSimplex(seed), permutation_table(seed)
    points = np.random.default_rng(0).uniform(-50, 50, (200, 2))
    assert [noise_at(x, y, table) for x, y in points] == [public.noise2(x, y) for x, y in points]


def test_the_global_seed_stays_as_it_is() -> None:
    before = opensimplex.noise2(0.3, 0.7)
    permutation_table(12)
    assert opensimplex.noise2(0.3, 0.7) == before
