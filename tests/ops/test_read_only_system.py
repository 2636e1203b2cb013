"""The noise works where numba finds no folder to keep what it compiles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_noise_works_without_a_folder_for_numbas_cache(root: Path, tmp_path: Path) -> None:
    # numba then looks only at NUMBA_CACHE_DIR, which is not set: as on a read-only system without a HOME
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "NUMBA_CACHE_DIR")}
    environment |= {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)}
    program = "from scripts.ops import simplex_noise; print(simplex_noise((4, 4), 1).shape)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "(4, 4)\n", done.stderr
    assert list(tmp_path.iterdir()) == [], "what was compiled is removed at the end"
