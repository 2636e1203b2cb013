"""The lesion of the demo."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.cli.demo import draw_lesion
from scripts.data.phantom import phantom_affine, phantom_volume

SHAPE = (48, 48, 40)


@pytest.fixture
def brain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, mask, _ = phantom_volume(SHAPE, 3, "t1")
    return np.asarray(image, dtype=np.float64), np.asarray(mask) > 0, phantom_affine(SHAPE, 4.0)


def test_lesion_is_dark_inside_and_leaves_the_rest(brain: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, mask, affine = brain
    center = tuple(affine[:3, :3] @ [30, 24, 20] + affine[:3, 3])
    drawn, lesion = draw_lesion(image, mask, affine, center_mm=center, radius_mm=16)
    assert lesion.sum() * 64 == pytest.approx(4 / 3 * np.pi * 16**3, rel=0.5), "mm³ of a ball of that radius"
    fluid = np.percentile(image[mask], 3)
    share = (image[lesion] - drawn[lesion]) / (image[lesion] - fluid)
    assert share.min() > 0.75 / 2 - 1e-6, "over half of the depth"
    assert share.max() <= 0.75 + 1e-6
    far = np.linalg.norm(np.moveaxis(np.indices(SHAPE), 0, -1) @ affine[:3, :3].T + affine[:3, 3] - center, axis=-1) > 45
    np.testing.assert_allclose(drawn[far], image[far], atol=1e-6)
    assert not lesion[~mask].any()


def test_same_seed_makes_the_same_lesion(brain: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, mask, affine = brain
    first, second = (draw_lesion(image, mask, affine, center_mm=(-1, -19, 7), seed=4)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_place_outside_the_brain_is_refused(brain: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, mask, affine = brain
    with pytest.raises(ValueError, match=r"`center_mm` must lie in the brain, got \(500, 0, 0\)"):
        draw_lesion(image, mask, affine, center_mm=(500, 0, 0))
