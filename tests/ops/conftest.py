"""The naive oracle of the Mahalanobis map and the phantoms it is tried on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def _dense_scores(covariance: Array, difference: Array) -> dict[str, Array]:
    precision = np.linalg.inv(covariance)
    values, vectors = np.linalg.eigh(covariance)
    inverse_root = vectors @ np.diag(values**-0.5) @ vectors.T
    return {
        "contribution": difference * (precision @ difference),
        "whitened": np.abs(inverse_root @ difference),
        "conditional": np.abs(precision @ difference) / np.sqrt(np.diag(precision)),
        "diagonal": np.abs(difference) / np.sqrt(np.diag(covariance)),
    }


def _dense_mahalanobis(
    image: Tensor,
    reconstructions: Tensor,
    brain_mask: Tensor,
    *,
    score: str,
    extent: str = "slice",
    regularization: float = 1e-2,
) -> Tensor:
    x, r, mask = (t.double().numpy() for t in (image, reconstructions, brain_mask))
    result = np.zeros(x.shape)
    for centre in range(len(x)):
        inside = np.zeros(x.shape, dtype=bool)
        inside[centre if extent == "slice" else slice(None)] = True
        inside &= mask != 0
        if not inside[centre].any():
            continue
        covariance = np.atleast_2d(np.cov(r[:, inside], rowvar=False)) + regularization * np.eye(int(inside.sum()))
        full = np.zeros(x.shape)
        full[inside] = _dense_scores(covariance, x[inside] - r[:, inside].mean(0))[score]
        result[centre] = full[centre]
    return torch.from_numpy(result)


@pytest.fixture
def dense_mahalanobis() -> Callable[..., Tensor]:
    """The scores by their definitions: a P x P covariance of the masked pixels, inverted densely in float64.

    The score `contribution` is the signed d * inv(Sigma) d, whose root the map `reference` holds.
    """
    return _dense_mahalanobis


@pytest.fixture
def cloud() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Make an image, K correlated reconstructions of it and a ragged brain mask with one empty slice."""

    def make(
        num_draws: int = 6, shape: tuple[int, int, int] = (5, 6, 7), seed: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        slices, height, width = shape

        def rand(*size: int) -> Tensor:
            return torch.rand(*size, generator=generator, dtype=torch.float64)

        healthy = rand(*shape)
        modes = (rand(num_draws, 3) - 0.5) @ (rand(3, slices * height * width) - 0.5)
        draws = healthy + 0.5 * modes.view(num_draws, *shape) + 0.2 * (rand(num_draws, *shape) - 0.5)
        image = healthy + 0.4 * (rand(*shape) - 0.5)
        mask = rand(*shape) < 0.7
        mask[slices // 2 + 1] = False
        return image, draws, mask

    return make
