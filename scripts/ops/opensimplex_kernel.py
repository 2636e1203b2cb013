"""What the public functions of `opensimplex` are made of: a seed's table, and the noise of a point.

They are private there, so everything that depends on their names and arguments stands in this file;
`tests/ops/test_opensimplex_kernel.py` says for which version, by comparing with the public functions. Those give the
same numbers, but in numba's threads: they abort a forked worker, and took 15 times as long beside a training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

try:
    from opensimplex.internals import _init, _noise2, njit
except RuntimeError:  # numba finds no folder for what it compiles: a read-only system without a HOME
    import atexit
    import shutil
    import tempfile
    from typing import Any

    import numba

    config: Any = numba.config
    config.CACHE_DIR = tempfile.mkdtemp(prefix="numba-")
    atexit.register(shutil.rmtree, config.CACHE_DIR, ignore_errors=True)
    from opensimplex.internals import _init, _noise2, njit

__all__ = ["compiled", "noise_at", "permutation_table"]

compiled = njit(nogil=True)  # by numba where it is installed; a plain function otherwise
noise_at = _noise2  # (x, y, table of the seed) to a number within about ±1


def permutation_table(seed: int) -> NDArray[np.int64]:
    """Return the table of a seed within 64 signed bits; the package's own global seed is neither read nor set."""
    table, _ = _init(seed)
    return np.asarray(table)
