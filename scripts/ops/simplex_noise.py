"""Seeded noise for the forward diffusion: fractal OpenSimplex fields, or Gaussian ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scripts.errors import InputError, check_choice, check_positive
from scripts.options.choices import NoiseKind
from torch import Tensor

__all__ = ["NoiseKind", "compiled", "make_noise", "noise_at", "permutation_table", "sample_seed", "simplex_noise"]

try:
    from opensimplex.internals import _init, _noise2, njit
except RuntimeError:  # numba finds no folder for what it compiles: a read-only system without a HOME
    import atexit
    import shutil
    import tempfile

    import numba

    config: Any = numba.config
    config.CACHE_DIR = tempfile.mkdtemp(prefix="numba-")
    atexit.register(shutil.rmtree, config.CACHE_DIR, ignore_errors=True)
    from opensimplex.internals import _init, _noise2, njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function by numba, once for all processes; a plain function without numba."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is a folder for what opensimplex compiles, but none for ours
        return njit(nogil=True)(function)


noise_at = _noise2  # (x, y, table of the seed) to a number within about ±1


def permutation_table(seed: int) -> NDArray[np.int64]:
    """Return the table of a seed within 64 signed bits; the package's own global seed is neither read nor set."""
    table, _ = _init(seed)
    return np.asarray(table)


def simplex_noise(
    shape: tuple[int, int], seed: int, *, octaves: int = 6, persistence: float = 0.8, frequency: float = 64
) -> NDArray[np.float64]:
    """Make one field of fractal 2D OpenSimplex noise: Σₒ persistenceᵒ · noise(x · 2ᵒ/frequency, y · 2ᵒ/frequency).

    Args:
        shape: height and width in pixels.
        seed: whole number within 64 signed bits; it alone decides the field. opensimplex's global seed is neither read
            nor set.
        octaves: number of layers, at least 1; the field at (y, x) does not depend on `shape`.
        persistence: amplitude of a layer over that of the one before, above zero; the first has 1.
        frequency: pixels a noise cell of the first layer, halved with each further one (the name is the paper's).

    Returns:
        `[height, width]` float64 without unit, of mean about 0; within ±Σ persistenceᵒ (±3.7 for the defaults, where
        a 96 by 96 field has a standard deviation of 0.58 over many seeds).

    Raises:
        InputError: for a shape that is not two positive sizes, octaves < 1, a persistence or frequency that is not
            above zero, and a seed beyond 64 signed bits.

    References:
        Spencer's OpenSimplex algorithm in the `opensimplex` package; Wyatt et al. 2022 (AnoDDPM),
        doi:10.1109/CVPRW56347.2022.00080.
    """
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"`shape` must be a height and a width of at least 1, got {tuple(shape)}")
    if octaves < 1:
        raise InputError(f"`octaves` must be at least 1, got {octaves!r}")
    check_positive(persistence, "persistence")
    check_positive(frequency, "frequency")
    _check_seed(seed)
    permutation = permutation_table(int(seed))
    rows, columns = (np.arange(size, dtype=np.float64) for size in shape)
    return np.asarray(_fractal(permutation, columns, rows, int(octaves), float(persistence), float(frequency)))


def sample_seed(seed: int, *key: int) -> int:
    """Derive the seed of one sample from the seed of the run, so that different keys give unrelated ones.

    It is the first 64-bit word of `numpy.random.SeedSequence(seed mod 2⁶⁴, spawn_key=key)`, read as a signed number.
    A hash rather than `seed + k`, so that run 1's second sample is not run 2's first.

    Args:
        seed: whole number within 64 signed bits.
        key: the sample's index, then the slice's where each slice has its own field.

    Raises:
        InputError: for a seed beyond 64 signed bits.

    Examples:
        >>> sample_seed(3141, 0) == sample_seed(3141, 0)
        True
        >>> sample_seed(3141, 0) == sample_seed(3141, 1)
        False
    """
    _check_seed(seed)
    sequence = np.random.SeedSequence(int(seed) % 2**64, spawn_key=key)
    return int(sequence.generate_state(1, np.uint64).view(np.int64)[0])


def make_noise(
    kind: str, num_samples: int, num_slices: int, shape: tuple[int, int], seed: int, *, shared: bool = True
) -> Tensor:
    """Make the noise of K samples; sample k depends on `seed` and k alone, never on K, and slice s not on S.

    Simplex sample k has the seed `sample_seed(seed, k)`, or `sample_seed(seed, k, s)` for slice s if not shared.
    Gaussian sample k comes from a CPU `torch.Generator` seeded with `sample_seed(seed, k)`, slice after slice (torch
    uses that seed's low 32 bits). No global random state is read or changed.

    Args:
        kind: simplex or gaussian (standard normal).
        num_samples: K, at least 1.
        num_slices: S, at least 1.
        shape: height and width in pixels.
        seed: whole number within 64 signed bits.
        shared: one field for all slices of a sample (the paper's).

    Returns:
        `[K, 1, H, W]` where shared (it broadcasts over the slices), else `[K, S, H, W]`; float32 on the CPU.

    Raises:
        InputError: for an unknown kind, K or S below 1, and what `simplex_noise` refuses.
    """
    kind = check_choice(NoiseKind, kind, "kind")
    for name, count in (("num_samples", num_samples), ("num_slices", num_slices)):
        if count < 1:
            raise InputError(f"`{name}` must be at least 1, got {count!r}")
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"`shape` must be a height and a width of at least 1, got {tuple(shape)}")
    noise = torch.empty(num_samples, 1 if shared else num_slices, *shape)
    for k, sample in enumerate(noise):
        generator = torch.Generator().manual_seed(sample_seed(seed, k))
        for s, field in enumerate(sample):
            if kind is NoiseKind.GAUSSIAN:
                field.normal_(generator=generator)
            else:
                key = (k,) if shared else (k, s)
                field.copy_(torch.from_numpy(simplex_noise(shape, sample_seed(seed, *key))))
    return noise


@compiled
def _fractal(
    permutation: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    octaves: int,
    persistence: float,
    frequency: float,
) -> NDArray[np.float64]:
    """Sum the layers on the grid of y by x."""
    field = np.zeros((y.size, x.size))
    amplitude = 1.0
    for _ in range(octaves):
        for i in range(y.size):
            for j in range(x.size):
                field[i, j] += amplitude * noise_at(x[j] / frequency, y[i] / frequency, permutation)
        amplitude *= persistence
        frequency /= 2
    return field


def _check_seed(seed: int) -> None:
    """Raise `InputError` unless `seed` fits 64 signed bits."""
    if not -(2**63) <= seed < 2**63:
        raise InputError(f"`seed` must be within 64 signed bits, got {seed!r}")
