"""Voxels finer than 1 mm are averaged, and only those; results come back to the scan's own grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from scripts.transforms import AverageVoxelsd, CurvatureFlowDenoised

KEYS = ["image", "brain_mask", "label"]
rng = np.random.default_rng(0)


def _case(shape: tuple[int, ...], edges: tuple[float, ...]) -> dict[str, MetaTensor]:
    affine = torch.as_tensor(np.diag([-edges[0], edges[1], edges[2], 1.0]))
    affine[:3, 3] = torch.tensor([40.0, -50.0, -30.0])
    brain = np.zeros(shape, np.uint8)
    brain[2:-3, 3:-2, 2:-2] = 1
    image = (rng.random(shape) * 100 + 50) * brain
    label = (rng.random(shape) > 0.7) * brain
    parts = {"image": image.astype(np.float32), "brain_mask": brain, "label": label.astype(np.uint8)}
    return {key: MetaTensor(torch.as_tensor(array[None]), affine=affine) for key, array in parts.items()}


@pytest.mark.parametrize("edges", [(1, 1, 1), (0.87, 0.87, 1), (0.7, 0.7, 0.7), (2, 2, 2), (0.94, 0.94, 3)])
def test_voxels_of_two_thirds_of_a_millimetre_and_more_stay_as_they_are(edges) -> None:
    data = _case((16, 18, 14), edges)
    found = AverageVoxelsd(KEYS)(data)
    for key in KEYS:
        assert torch.equal(found[key].as_tensor(), data[key].as_tensor())
        assert torch.equal(found[key].affine, data[key].affine)


def test_mean_of_the_brain_in_each_block_against_a_loop() -> None:
    data = _case((17, 18, 14), (0.5, 0.35, 1.0))
    found = AverageVoxelsd(KEYS)(data)
    image, brain, label = (data[key][0].numpy().astype(np.float64) for key in KEYS)
    assert found["image"].shape == (1, 9, 6, 14)
    for x, y, z in np.ndindex(9, 6, 14):
        block = np.s_[2 * x : 2 * x + 2, 3 * y : 3 * y + 3, z]
        inside = image[block][brain[block] > 0]
        assert found["image"][0, x, y, z] == pytest.approx(inside.mean() if inside.size else 0, rel=1e-5)
        assert found["brain_mask"][0, x, y, z] == (brain[block].mean() >= 0.5)
        assert found["label"][0, x, y, z] == (label[block].mean() >= 0.5)
    first = np.asarray(found["image"].affine) @ [0, 0, 0, 1]
    np.testing.assert_allclose(first, np.asarray(data["image"].affine) @ [0.5, 1.0, 0, 1])


def test_white_noise_falls_as_it_does_where_the_scanner_has_larger_voxels() -> None:
    data = _case((40, 40, 40), (0.5, 0.5, 0.5))
    data["brain_mask"][:] = 1
    data["image"][:] = torch.as_tensor(rng.normal(100, 8, (1, 40, 40, 40)), dtype=torch.float32)
    found = AverageVoxelsd(KEYS)(data)["image"]
    assert float(found.std()) == pytest.approx(8 / np.sqrt(8), rel=0.05)


def test_results_come_back_to_the_scans_own_grid() -> None:
    data = _case((16, 19, 14), (0.5, 0.5, 1.0))
    x, y, z = np.meshgrid(*map(np.arange, (16, 19, 14)), indexing="ij")
    data["image"][:] = torch.as_tensor((x + 2 * y + 3 * z)[None], dtype=torch.float32)
    data["brain_mask"][:] = 1
    steps = Compose([AverageVoxelsd(KEYS), CurvatureFlowDenoised("image", iterations=0)])
    done = steps(data)
    done["pred"] = torch.cat([done["image"], 2 * done["image"]])
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=False)(done)["pred"]
    assert back.shape == (2, 16, 19, 14)
    np.testing.assert_allclose(back.affine, data["image"].affine)
    inside = np.s_[1:-1, 1:-2, :]  # a ramp goes on linearly but for the half voxel at the border
    np.testing.assert_allclose(back[0].numpy()[inside], data["image"][0].numpy()[inside], rtol=1e-4)


def test_sizes_that_are_no_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="`spacing_mm` must be positive, got 0"):
        AverageVoxelsd(KEYS, spacing_mm=0)
    with pytest.raises(TypeError, match="the image must be a MetaTensor with an affine, got Tensor"):
        AverageVoxelsd(["image", "brain_mask"])({"image": torch.ones(1, 8, 8, 8), "brain_mask": torch.ones(1, 8, 8, 8)})
