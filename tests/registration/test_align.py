"""Alignment: scans on the template stay as they are, others are moved there in their headers alone."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from scripts.errors import InputError
from scripts.registration import fit as template_fit
from scripts.registration.align import Alignment, AlignToTemplated
from scripts.registration.fit import AS_THE_HEADER_SAYS, Fit, Orientation, mean_shift_mm
from scripts.registration.register import Scan
from scripts.registration.template import load_template
from scripts.scans.volume import add_note, read_notes

KEYS = ["image", "brain_mask", "label"]


def oblique(degrees=(25, -10, 15), shear=0.05, shift=(130, -40, 60)):
    """Return a world-to-world matrix of a tilted head in a sheared world with an origin of its own."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * 0.9
    matrix[0, 1] += shear
    matrix[:3, 3] = shift
    return matrix


def template_case(matrix=None, *, contrast=lambda t: t, file_name=None, flip=()):
    """Return the template as a case whose header differs by `matrix`, its voxels flipped along axes."""
    template = load_template()
    noise = 0.03 * np.random.default_rng(0).standard_normal(template.image.shape)
    image = (contrast(template.image) + noise) * template.mask
    label = template.mask * (np.arange(96) > 60)[:, None, None]
    affine = torch.as_tensor((np.eye(4) if matrix is None else matrix) @ template.affine)
    meta = {"filename_or_obj": file_name} if file_name else {}
    arrays = (np.flip(array, flip).copy() for array in (image, template.mask.astype(np.uint8), label))
    case = {
        key: MetaTensor(torch.as_tensor(array)[None], affine=affine.clone(), meta=dict(meta))
        for key, array in zip(KEYS, arrays, strict=True)
    }
    return case | {"modality": "t1", "case": "one"}


def fitted(monkeypatch, transform, text=AS_THE_HEADER_SAYS):
    """Let the registration find `transform`."""
    fit = Fit(np.asarray(transform), Orientation(np.asarray(transform), 0.9, 0.0, text))
    monkeypatch.setattr("scripts.registration.align.fit_to_template", lambda scan, seed: fit)


def note(data):
    return read_notes(data)["alignment"]


def test_a_scan_on_the_template_is_recognised_and_left_alone():
    data = template_case()
    output = AlignToTemplated(KEYS)(data)
    facts = note(output)
    assert facts["method"] == "header"
    assert facts["world_to_template"] == np.eye(4).tolist()
    for key in KEYS:
        assert torch.equal(output[key].affine, data[key].affine)
        assert torch.equal(output[key].as_tensor(), data[key].as_tensor())
    assert facts["shift_mm"] < 1  # what the registration made of it
    assert facts["similarity"] > 0.9
    assert facts["overlap"] > 0.99
    assert facts["seen_share"] == 1
    assert (facts["orientation"], facts["orientation_gain"]) == (AS_THE_HEADER_SAYS, 0)


def test_a_tilted_sheared_scan_without_origin_is_moved_in_its_header_and_back_exactly():
    data, matrix = template_case(oblique()), oblique()
    transform = AlignToTemplated(KEYS)
    output = transform(data)
    facts = note(output)
    found = np.asarray(facts["world_to_template"])
    assert facts["method"] == "affine"
    assert mean_shift_mm(found @ matrix, Scan(load_template())) < 1  # half a voxel
    for key in KEYS:
        np.testing.assert_allclose(output[key].affine, found @ np.asarray(data[key].affine), atol=1e-9)  # of 100 mm
        assert torch.equal(output[key].as_tensor(), data[key].as_tensor())
        assert torch.equal(data[key].affine, template_case(matrix)[key].affine)  # the input stays as it was
    back = transform.inverse({key: output[key] for key in KEYS})
    for key in KEYS:
        assert torch.equal(back[key].affine, data[key].affine)
        assert back[key].applied_operations == []
        assert len(output[key].applied_operations) == 1


def test_a_scan_upside_down_is_caught_and_put_right(caplog):
    with caplog.at_level(logging.WARNING):
        output = AlignToTemplated(KEYS)(template_case(flip=(2,), file_name="scan.nii.gz"))
    facts = note(output)
    assert facts["method"] == "affine"
    assert facts["orientation"].startswith("upside down")
    assert facts["orientation_gain"] > 0.1
    assert facts["overlap"] > 0.97
    assert facts["similarity"] > 0.8
    assert "scan.nii.gz: upside down" in caplog.text


def test_always_aligns_and_auto_goes_by_the_shift(monkeypatch):
    near = np.eye(4)
    near[0, 3] = 3.0
    fitted(monkeypatch, near)
    for options, method in (({}, "header"), ({"mode": Alignment.ALWAYS}, "affine"), ({"max_shift_mm": 2.9}, "affine")):
        output = AlignToTemplated(KEYS, **options)(template_case())
        assert note(output)["method"] == method
        assert note(output)["shift_mm"] == pytest.approx(3)
        moved = output["image"].affine - template_case()["image"].affine
        assert float(moved[0, 3]) == (0 if method == "header" else 3)
    fitted(monkeypatch, near, text="upside down")
    assert note(AlignToTemplated(KEYS)(template_case()))["method"] == "affine"


def test_never_measures_only():
    data = template_case(oblique())
    facts = {}
    for name, case in (("near", template_case()), ("far", data)):
        output = AlignToTemplated(KEYS, mode="never")(case)
        assert torch.equal(output["image"].affine, case["image"].affine)
        facts[name] = note(output)
        assert facts[name]["method"] == "never"
        assert facts[name]["world_to_template"] == np.eye(4).tolist()
    assert facts["near"]["header_similarity"] > 0.8 > 0.3 > facts["far"]["header_similarity"]
    assert facts["near"]["overlap"] > 0.99 > 0.5 > facts["far"]["overlap"]


@pytest.mark.parametrize("noted", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_t2_goes_through_its_t1(monkeypatch, noted):
    t1_to_template, t2_to_t1 = np.diag([1.1, 1.1, 1.1, 1]), np.eye(4)
    t2_to_t1[:3, 3] = [12, -8, 5]
    data = template_case(np.linalg.inv(t2_to_t1), contrast=lambda t: 1.2 - t) | {"modality": "t2"}
    data["t1"] = template_case()["image"]
    if noted:
        add_note(data, "brain_extraction", method="t1 mask", t2_to_t1=t2_to_t1.tolist())
    fitted(monkeypatch, t1_to_template)
    output = AlignToTemplated(KEYS)(data)
    facts = note(output)
    assert facts["method"] == "affine through the t1"
    assert "t1" not in output
    assert "t1" in data
    # As noted, or as found: within a quarter of a voxel.
    error = np.asarray(facts["world_to_template"]) @ np.linalg.inv(t1_to_template @ t2_to_t1)
    assert mean_shift_mm(error, Scan(load_template())) < (1e-9 if noted else 0.5)
    assert read_notes(output).get("brain_extraction") == read_notes(data).get("brain_extraction")
    assert note(AlignToTemplated(KEYS)(data | {"modality": "t1"}))["method"] == "affine"


def test_the_note_is_json_and_other_keys_stay(monkeypatch):
    fitted(monkeypatch, np.eye(4))
    data = template_case()
    del data["label"]
    output = AlignToTemplated(KEYS, allow_missing_keys=True)(data)
    assert json.loads(output["notes"])["alignment"]["method"] == "header"
    assert (output["case"], output["modality"]) == ("one", "t1")
    with pytest.raises(KeyError, match="label"):
        AlignToTemplated(KEYS)(data)


def test_failures_name_the_file_and_what_to_do(monkeypatch):
    empty = template_case(file_name="scan.nii.gz")
    empty["brain_mask"] = empty["brain_mask"] * 0
    with pytest.raises(InputError, match=r"scan.nii.gz: the brain mask holds 0 voxels.*Check the brain mask") as caught:
        AlignToTemplated(KEYS)(empty)
    assert str(caught.value.path) == "scan.nii.gz"

    def fail(*args, **kwargs):
        raise RuntimeError("ITK ERROR:\nAll samples map outside moving image buffer.")

    orientation = Orientation(np.eye(4), 0.9, 0.0, AS_THE_HEADER_SAYS)
    monkeypatch.setattr(template_fit, "find_orientation", lambda scan, seed: orientation)
    monkeypatch.setattr(template_fit, "register", fail)
    with pytest.raises(InputError, match=r"cannot be aligned to the template: All samples .* voxel sizes"):
        AlignToTemplated(KEYS)(template_case(file_name="scan.nii.gz"))


def test_a_brain_of_another_size_than_a_brain_is_refused(monkeypatch):
    orientation = Orientation(np.eye(4), 0.9, 0.0, AS_THE_HEADER_SAYS)
    monkeypatch.setattr(template_fit, "find_orientation", lambda scan, seed: orientation)
    monkeypatch.setattr(template_fit, "register", lambda *args, **kwargs: (np.diag([3.0, 3, 3, 1]), 1.0))
    with pytest.raises(InputError, match=r"the brain would be scaled by \[3.0, 3.0, 3.0\], not within \(0.7, 1.6\)"):
        AlignToTemplated(KEYS)(template_case())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "maybe"}, r"`mode` must be one of auto, always, never, got 'maybe'"),
        ({"max_shift_mm": -1}, "`max_shift_mm` must be at least 0, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AlignToTemplated(KEYS, **options)


def test_an_image_without_an_affine_is_refused():
    data = template_case()
    data["image"] = data["image"].as_tensor()
    with pytest.raises(TypeError, match="the image must be a MetaTensor with an affine, got Tensor"):
        AlignToTemplated(KEYS)(data)
