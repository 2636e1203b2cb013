"""Lesions set into healthy scans."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.data.phantom import phantom_volume
from scripts.errors import InputError
from tools.make_synthetic_lesions import add_lesion


def _scene(modality: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, mask, _ = (np.asarray(volume) for volume in phantom_volume((32, 32, 24), 3, modality, lesion=False))
    shape = np.zeros(image.shape, bool)
    centre = [int(places.mean()) for places in np.nonzero(mask)]
    shape[tuple(slice(c - 3, c + 4) for c in centre)] = True
    return image.astype(np.float32), mask > 0, shape


@pytest.mark.parametrize(("modality", "sign"), [("t1", -1), ("t2", 1)])
def test_lesion_is_dark_in_t1_and_bright_in_t2_and_the_rest_stays(modality: str, sign: int) -> None:
    image, mask, shape = _scene(modality)
    found, label = add_lesion(image, mask, shape, modality=modality, rng=np.random.default_rng(0))
    assert sign * (found - image)[label].mean() > 0
    far = np.ones(image.shape, bool)
    low, high = (np.array(f(np.nonzero(shape), axis=1)) for f in (np.min, np.max))
    far[tuple(slice(a - 5, b + 6) for a, b in zip(low, high, strict=True))] = False  # the Gaussian ends after 4 voxels
    np.testing.assert_array_equal(found[far], image[far])
    assert not found[~mask].any()
    assert found.min() >= 0


def test_label_is_the_shape_but_for_its_corners() -> None:
    image, mask, shape = _scene("t1")
    label = add_lesion(image, mask, shape, modality="t1", rng=np.random.default_rng(0))[1]
    assert not (label & ~shape).any()
    assert label.sum() > 0.7 * shape.sum(), "the blur takes edges and corners of a cube of 7 voxels"


def test_the_same_generator_makes_the_same_lesion() -> None:
    scene = _scene("t2")
    first, second, other = (add_lesion(*scene, modality="t2", rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0


def test_wrong_input_is_named() -> None:
    image, mask, shape = _scene("t1")
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="`modality` must be one of t1, t2, got 'flair'"):
        add_lesion(image, mask, shape, modality="flair", rng=rng)
    with pytest.raises(InputError, match="`shape` must have voxels in the brain, got none"):
        add_lesion(image, mask, ~mask & shape, modality="t1", rng=rng)
    with pytest.raises(InputError, match="must lie on one grid"):
        add_lesion(image, mask, shape[1:], modality="t1", rng=rng)
