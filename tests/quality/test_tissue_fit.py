"""How brightness follows the tissues: closed forms, what it must not depend on, and that lesions do not decide."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.quality.measures import tissue_fit

SHAPE = (48, 48, 40)  # 180 blocks
LEVELS = {"t1": (30, 70, 110), "t2": (140, 85, 60), "flair": (15, 100, 80)}  # of fluid, grey and white matter


@pytest.fixture(scope="module")
def tissues():
    """Shares of fluid, grey and white matter that change every few voxels, as sulci do."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(3, tuple(n // 4 for n in SHAPE), p=(0.15, 0.45, 0.4)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    return [(kinds == k).astype(np.float32) for k in range(3)]


def fit(image, tissues, brain=None):
    brain = np.ones(SHAPE, dtype=bool) if brain is None else brain
    return tissue_fit(image, brain, fluid=tissues[0], grey=tissues[1])


def scan(tissues, weighting, noise=3.0):
    image = np.tensordot(LEVELS[weighting], np.stack(tissues), 1)
    return image + noise * np.random.default_rng(1).standard_normal(SHAPE)


@pytest.mark.parametrize(("weighting", "signs"), [("t1", (-1, -1)), ("t2", (1, 1)), ("flair", (-1, 1))])
def test_signs_are_those_of_the_weighting(tissues, weighting, signs):
    found = fit(scan(tissues, weighting), tissues)
    assert np.sign([found.fluid, found.grey_white]).tolist() == list(signs)
    assert found.similarity > 0.85
    assert min(abs(found.fluid), abs(found.grey_white)) > 0.5


def test_offset_scale_and_bias_field_hardly_matter_and_inversion_turns_the_signs(tissues):
    image = scan(tissues, "t1")
    found = fit(image, tissues)
    assert fit(1000 * image - 5, tissues) == pytest.approx(found, rel=1e-3)
    biased = fit(image * np.linspace(0.5, 1.5, SHAPE[0]).reshape(-1, 1, 1), tissues)
    assert biased == pytest.approx(found, rel=0.15)
    assert fit(-image, tissues).fluid == pytest.approx(-found.fluid, rel=1e-3)


@pytest.mark.parametrize("weighting", ["t1", "t2"])
def test_a_lesion_of_a_fifth_of_the_brain_turns_no_sign(tissues, weighting):
    image = scan(tissues, weighting)
    healthy = fit(image, tissues)
    image[:20, :24] = 400.0  # brighter than anything
    ill = fit(image, tissues)
    assert ill.similarity > 0.9 * healthy.similarity
    assert ill.fluid * healthy.fluid > 0.5 * healthy.fluid**2
    assert ill.grey_white * healthy.grey_white > 0


def test_noise_is_like_no_tissue(tissues):
    found = fit(np.random.default_rng(2).standard_normal(SHAPE), tissues)
    assert found.similarity < 0.4
    assert abs(found.fluid) < 0.1


def test_what_lies_outside_the_brain_does_not_count(tissues):
    image, brain = scan(tissues, "t1"), np.ones(SHAPE, dtype=bool)
    brain[..., 30:] = False
    assert fit(np.where(brain, image, 9000.0), tissues, brain) == pytest.approx(fit(image, tissues, brain))


def test_a_constant_or_tiny_brain_gives_nothing(tissues):
    assert fit(np.ones(SHAPE), tissues) is None
    tiny = np.zeros(SHAPE, dtype=bool)
    assert fit(scan(tissues, "t1"), tissues, tiny) is None
    tiny[:16, :16, :16] = True
    assert fit(scan(tissues, "t1"), tissues, tiny) is None
