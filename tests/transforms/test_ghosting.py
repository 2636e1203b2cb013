"""Ghosts are what k-space arithmetic says, keep mean and range, and repeat from a seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.transforms import RandGhostingd, add_ghosts


@pytest.fixture
def slice_image(phantom_case):
    return phantom_case((32, 40, 16))["image"][..., 8].as_tensor()


@pytest.mark.parametrize("axis", [0, 1])
def test_equals_fourier_sums_written_out(slice_image, axis):
    image = slice_image[0].double().numpy()
    length = image.shape[axis]
    frequency = np.arange(length) - length // 2
    weight = np.where(frequency % 3 == 0, 0.7, 1.0)
    weight[np.abs(frequency) <= max(1, length // 20)] = 1
    place = np.arange(length)
    wave = np.exp(2j * np.pi * np.outer(place, frequency) / length)
    blend = (wave * weight) @ wave.conj().T / length
    ghosted = (blend @ image if axis == 0 else image @ blend.T).real
    output = add_ghosts(slice_image, num_ghosts=3, intensity=0.3, axis=axis)[0].numpy()
    # A float32 FFT of 1,280 values of size one.
    np.testing.assert_allclose(output, ghosted.clip(image.min(), image.max()), atol=1e-5)
    assert np.abs(output - image).max() > 0.05


def test_intensity_0_is_the_identity(slice_image):
    output = add_ghosts(slice_image, num_ghosts=4, intensity=0, axis=0)
    torch.testing.assert_close(output, slice_image, atol=1e-6, rtol=0)  # there and back through a float32 FFT


@pytest.mark.parametrize("num_ghosts", [2, 3, 6])
@pytest.mark.parametrize("intensity", [0.1, 0.4, 1.0])
def test_mean_range_and_type_are_kept(slice_image, num_ghosts, intensity):
    output = add_ghosts(slice_image, num_ghosts=num_ghosts, intensity=intensity, axis=1)
    assert output.dtype == slice_image.dtype
    assert output.shape == slice_image.shape
    assert output.min() >= slice_image.min()
    assert output.max() <= slice_image.max()
    # The zero frequency is untouched; only what is clipped to the range moves the mean.
    assert abs(float(output.mean() - slice_image.mean())) < 0.1 * float(slice_image.mean())


def test_random_ghosts_repeat_from_a_seed_and_respect_the_probability(slice_image):
    outputs = []
    for seed in (0, 0, 1):
        transform = RandGhostingd("image", prob=0.5).set_random_state(seed=seed)
        outputs.append(torch.stack([transform({"image": slice_image})["image"] for _ in range(60)]))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    changed = sum(not torch.equal(image, slice_image) for image in outputs[0])
    assert 15 < changed < 45  # 30 ± 4 standard deviations of a fair coin
    for prob, expected in ((0.0, True), (1.0, False)):
        output = RandGhostingd("image", prob=prob)({"image": slice_image})["image"]
        assert torch.equal(output, slice_image) is expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_ghosts": 1}, "`num_ghosts` must be at least 2, got 1"),
        ({"intensity": 1.5}, "`intensity` must be from 0 to 1, got 1.5"),
        ({"axis": 2}, "`axis` must be 0 or 1, got 2"),
    ],
)
def test_arguments_out_of_range_are_refused(slice_image, options, message):
    with pytest.raises(ValueError, match=message):
        add_ghosts(slice_image, **({"num_ghosts": 3, "intensity": 0.2, "axis": 0} | options))


def test_ranges_that_run_backwards_are_refused():
    with pytest.raises(ValueError, match=r"`num_ghosts` must be a range from 2 on, got \(6, 2\)"):
        RandGhostingd("image", num_ghosts=(6, 2))
    with pytest.raises(ValueError, match=r"`intensity` must be a range within 0 to 1, got \(0.2, 1.2\)"):
        RandGhostingd("image", intensity=(0.2, 1.2))
