"""The stored simplex noise fields and cosine schedule of the reference."""

from __future__ import annotations

import numpy as np
from monai.networks.schedulers import DDPMScheduler

from scripts.ops.simplex_noise import simplex_noise


def test_simplex_noise(parity_dir):
    with np.load(parity_dir / "simplex_noise.npz") as stored:
        assert sorted(stored) == ["seed_-12345", "seed_1", "seed_3141", "seed_7"]
        for name in stored:
            field = simplex_noise((96, 96), int(name.removeprefix("seed_")))
            np.testing.assert_allclose(field, stored[name], rtol=0, atol=1e-12)


def test_cosine_schedule(parity_dir):
    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="cosine", prediction_type="sample", clip_sample=False)
    with np.load(parity_dir / "cosine_schedule.npz") as stored:
        # the library keeps the schedule in float32, 4e-7 away
        np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), stored["alphas_cumprod"], rtol=0, atol=1e-6)
