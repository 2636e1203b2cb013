"""From a scan's own space to the template grid and back: a mask that was drawn there is still there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd, Orientationd
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

from scripts.registration.align import AlignToTemplated
from scripts.registration.fit import AS_THE_HEADER_SAYS, Fit, Orientation
from scripts.registration.template import load_template, mask_dice
from scripts.scans.volume import read_notes
from scripts.transforms import ToWorkingGridd

KEYS = ["image", "brain_mask", "label"]
SHAPE = (150, 180, 140)


def scan_affine(kind: str) -> np.ndarray:
    """Return the affine of a 1 mm scan: straight, or tilted with axes to the left, the back and the top."""
    affine = np.eye(4)
    if kind == "oblique":
        turn = Rotation.from_euler("xyz", [20, -12, 30], degrees=True).as_matrix()
        affine[:3, :3] = turn @ np.diag([-1, -1, 1])
    affine[:3, 3] = np.array([8, -12, 35]) - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def world_to_template() -> np.ndarray:
    """Return what a registration finds for an adult: a turn, 9 to 15 % larger, another place."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("x", 8, degrees=True).as_matrix() * [1.09, 1.1, 1.15]
    matrix[:3, 3] = np.array([-1, -19, 7]) - matrix[:3, :3] @ [8, -12, 35]
    return matrix


def blob(volume_ml: float, seed: int = 0) -> np.ndarray:
    """Return an uneven blob of a volume, in ml, in the middle of a 1 mm scan."""
    radius = np.cbrt(volume_ml * 1000 * 3 / (4 * np.pi))
    size = 2 * int(1.6 * radius) + 2
    distance = np.linalg.norm(np.indices((size,) * 3) - (size - 1) / 2, axis=0)
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(distance.shape), radius / 2.5)
    distance += noise / noise.std() * radius * 0.15
    inside = distance < np.partition(distance.ravel(), int(volume_ml * 1000))[int(volume_ml * 1000)]
    return np.pad(inside, [((n - size) // 2,) * 2 for n in SHAPE])


def native_case(affine: np.ndarray, label: np.ndarray) -> dict:
    """Return the template in a scan's own space, before `world_to_template`, with a label."""
    template = load_template()
    to_template = np.linalg.solve(template.affine, world_to_template() @ affine)
    image, mask = (
        affine_transform(array, to_template, output_shape=SHAPE, order=1) for array in (template.image, template.mask)
    )
    arrays = (image * (mask > 0.5), (mask > 0.5).astype(np.uint8), label.astype(np.float32))
    tensors = [MetaTensor(torch.as_tensor(array)[None], affine=torch.as_tensor(affine)) for array in arrays]
    return dict(zip(KEYS, tensors, strict=True))


def round_trip(data: dict) -> tuple[dict, dict]:
    """Return a case on the working grid and taken back, its label as `pred`, through batches as the evaluator does."""
    preprocessing = Compose(
        [
            AlignToTemplated(KEYS),
            Orientationd(KEYS, axcodes="RAS", labels=None),
            ToWorkingGridd(KEYS, mode=["bilinear", "nearest", "bilinear"]),
        ]
    )
    batch = list_data_collate([preprocessing(data)])
    batch["pred"] = torch.as_tensor(batch["label"])  # a network's answer carries no metadata
    case = decollate_batch(batch)[0]
    invert = Invertd(["pred", "image"], preprocessing, orig_keys=["image", "image"], nearest_interp=False)
    return case, invert(case)


@pytest.fixture
def known_fit(monkeypatch):
    fit = Fit(world_to_template(), Orientation(world_to_template(), 0.9, 0.0, AS_THE_HEADER_SAYS))
    monkeypatch.setattr("scripts.registration.align.fit_to_template", lambda scan, seed: fit)


@pytest.mark.parametrize(("kind", "volume_ml"), [("straight", 2), ("oblique", 0.5), ("oblique", 5), ("oblique", 20)])
def test_a_mask_drawn_at_1_mm_returns_with_a_dice_of_09(known_fit, kind, volume_ml):
    affine, label = scan_affine(kind), blob(volume_ml)
    case, back = round_trip(native_case(affine, label))
    assert case["label"].shape == (1, 96, 96, 80)
    assert back["pred"].shape == (1, *SHAPE)
    assert torch.equal(back["pred"].affine, torch.as_tensor(affine))  # to the last bit
    assert torch.equal(back["image"].affine, torch.as_tensor(affine))
    assert mask_dice(back["pred"][0].numpy(), label) >= 0.9
    assert float(back["pred"].min()) >= 0
    assert float(back["pred"].max()) <= 1 + 1e-6


def test_notes_survive_the_batches_and_the_brain_lies_on_the_template(known_fit):
    case, _ = round_trip(native_case(scan_affine("oblique"), blob(2)))
    facts = read_notes(case)["alignment"]
    assert facts["method"] == "affine"
    np.testing.assert_array_equal(facts["world_to_template"], world_to_template())
    # The template was brought to the scan's space and back, linearly both times: only edges differ.
    assert mask_dice(case["brain_mask"][0].numpy(), load_template().mask) > 0.97
    assert facts["overlap"] > 0.97
    assert facts["similarity"] > 0.93  # 0.947: two interpolations soften the edges, and tissue edges count here


def test_a_scan_on_the_template_grid_passes_without_interpolation(monkeypatch):
    identity = Fit(np.eye(4), Orientation(np.eye(4), 0.9, 0.0, AS_THE_HEADER_SAYS))
    monkeypatch.setattr("scripts.registration.align.fit_to_template", lambda scan, seed: identity)
    template = load_template()
    label = template.mask * (np.arange(96) > 60)[:, None, None]
    tensors = [
        MetaTensor(torch.as_tensor(array.copy())[None], affine=torch.as_tensor(template.affine.copy()))
        for array in (template.image, template.mask, label)
    ]
    case, back = round_trip(dict(zip(KEYS, tensors, strict=True)))
    assert torch.equal(case["image"].as_tensor(), tensors[0].as_tensor())
    assert torch.equal(back["image"].as_tensor(), tensors[0].as_tensor())
    assert torch.equal(back["pred"].as_tensor(), tensors[2].as_tensor())
