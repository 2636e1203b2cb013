"""Quality control lets real scans pass, refuses what is none, and says why; made-up scans come from the template."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from scipy.ndimage import affine_transform

from scripts.errors import InputError
from scripts.quality.control import QualityControld, ScanRefused, picture_geometry
from scripts.registration.align import AlignToTemplated
from scripts.registration.template import TEMPLATE_SIZE as SIZE
from scripts.registration.template import load_template
from scripts.scans.volume import add_note, read_notes

# Brightness of fluid, grey and white matter.
WEIGHTINGS = {"t1": (30, 70, 110), "t2": (140, 85, 60), "flair": (15, 100, 80), "pd": (105, 110, 80), "ct": (20, 95, 80)}


@pytest.fixture(scope="module")
def shares():
    """How much fluid, grey and white matter each voxel of the template's brain holds."""
    maps = [load_mni152_gm_template(resolution=2), load_mni152_wm_template(resolution=2)]
    grey, white = (
        affine_transform(np.asarray(m.dataobj), np.linalg.solve(m.affine, load_template().affine), output_shape=SIZE)
        for m in maps
    )
    return np.stack([np.clip(1 - grey - white, 0, 1), grey, white]) * (load_template().mask > 0.5)


@pytest.fixture
def scan(shares):
    """Factory: a case made of the template's tissues with 2 % noise, brain-only, on the template's grid."""

    def make(weighting="t1", *, modality=None, image=None, mask=None, affine=None, shape=None):
        template = load_template()
        mask = template.mask > 0.5 if mask is None else mask
        if image is None:
            noise = np.random.default_rng(0).normal(0, 2, template.mask.shape)
            image = np.tensordot(WEIGHTINGS[weighting], shares, 1) + noise
        image = np.where(mask, image, 0).astype(np.float32)
        affine = torch.tensor(template.affine if affine is None else affine)
        volumes = {"image": image, "brain_mask": mask.astype(np.uint8)}
        case = {key: MetaTensor(torch.from_numpy(v.copy())[None], affine=affine) for key, v in volumes.items()}
        case["image"].meta["filename_or_obj"] = "scan.nii.gz"
        return {**case, "modality": modality or (weighting if weighting in ("t1", "t2") else "t1")}

    return make


def note(case, **options):
    return read_notes(QualityControld("image", force=True, **options)(case))["quality"]


def failed(case, **options) -> dict[str, bool]:
    """Return the checks that fail, and whether they refuse the scan."""
    return {check["name"]: check["fatal"] for check in note(case, **options)["checks"] if not check["passed"]}


@pytest.mark.parametrize("modality", ["t1", "t2"])
def test_a_good_scan_passes_every_check_and_is_not_changed(scan, modality):
    case = scan(modality)
    output = QualityControld("image")(case)
    quality = read_notes(output)["quality"]
    assert (quality["passed"], quality["forced"]) == (True, False)
    assert all(check["passed"] and not check["fatal"] for check in quality["checks"])
    assert output["image"] is case["image"]
    assert "notes" not in case
    names = [check["name"] for check in quality["checks"]]
    assert {"header", "brain_volume_ml", "template_overlap", f"{modality}_fluid_contrast"} <= set(names)
    assert len(names) == len(set(names))
    assert set(quality["checks"][0]) == {"name", "text", "value", "low", "high", "unit", "passed", "fatal"}


def test_numbers_of_the_template_itself(scan):
    values = {check["name"]: check["value"] for check in note(scan())["checks"]}
    assert values["brain_volume_ml"] == pytest.approx(1883, abs=1)  # 235,375 voxels of 8 mm³
    assert values["template_overlap"] == 1
    assert values["template_coverage"] == 1
    assert values["template_stretch"] == 1
    assert values["voxel_edge_mm"] == 2
    assert values["template_similarity"] > 0.9


@pytest.mark.parametrize(
    ("weighting", "modality", "words"),
    [
        ("t2", "t1", r"looks T2-weighted \(fluid is bright\), but the modality is t1: give --modality t2"),
        ("t1", "t2", r"looks T1-weighted \(fluid is dark, .*\), but the modality is t2: give --modality t1"),
        ("flair", "t1", r"looks like FLAIR or CT \(fluid is dark, grey .*\), but the modality is t1: there are no weights"),
        ("flair", "t2", r"looks like FLAIR or CT .*, but the modality is t2: there are no weights"),
        ("ct", "t1", r"looks like FLAIR or CT .*, but the modality is t1: there are no weights"),
        ("pd", "t1", r"looks T2-weighted .*, but the modality is t1"),
    ],
)
def test_contrast_that_contradicts_the_modality_is_refused_in_one_reason(scan, weighting, modality, words):
    with pytest.raises(ScanRefused, match=words) as refusal:
        QualityControld("image")(scan(weighting, modality=modality))
    assert len(refusal.value.reasons) == 1


def test_brightness_that_hardly_varies_above_the_background_is_ct(scan):
    case = scan()
    inside = torch.as_tensor(case["brain_mask"]) > 0
    case["image"] = torch.where(inside, case["image"] + 2000, 0)
    assert failed(case) == {"brightness_span": True}
    with pytest.raises(ScanRefused, match=r"brightness varies by only 0\.0\d\d of its height .*, as in CT \(at least 0\.1\)"):
        QualityControld("image")(case)


@pytest.mark.parametrize(("name", "word"), [("x_t1ce.nii.gz", "t1ce"), ("sub-01_acq-gad_T1w.nii.gz", "gad"), ("T1_POST.nii", "post")])
def test_a_contrast_agent_in_the_name_is_reported(scan, caplog, name, word):
    case = scan()
    case["image"].meta["filename_or_obj"] = f"/data/t1ce/{name}"
    with caplog.at_level(logging.WARNING):
        assert failed(case) == {"contrast_agent": False}
    assert f"the name ('{word}') says contrast agent: the network knows scans without one" in caplog.text


@pytest.mark.parametrize("modality", ["t1", "t2"])
@pytest.mark.parametrize("scale", [(0.001, 0), (1.0, -70.0)])
def test_brightness_scale_and_offset_do_not_matter(scan, modality, scale):
    case = scan(modality)
    inside = torch.as_tensor(case["brain_mask"]) > 0
    case["image"] = torch.where(inside, case["image"] * scale[0] + scale[1], 0)
    assert failed(case) in ({}, {"negative_share": False})


@pytest.mark.parametrize("modality", ["t1", "t2"])
def test_a_lesion_of_400_ml_does_not_refuse_a_scan(scan, modality):
    case = scan(modality)
    radius = (400_000 / 8 * 3 / 4 / np.pi) ** (1 / 3)  # voxels of 8 mm³
    centre = np.array([30, 50, 42]).reshape(3, 1, 1, 1)
    lesion = torch.from_numpy(np.linalg.norm(np.indices((96, 96, 80)) - centre, axis=0) <= radius)
    fluid = float(WEIGHTINGS[modality][0])
    case["image"] = torch.where(lesion & (torch.as_tensor(case["brain_mask"]) > 0), fluid, case["image"])
    assert not any(failed(case).values())


def test_things_that_are_no_scans_are_refused(scan):
    brain = load_template().mask > 0.5
    noise = 100 + np.random.default_rng(0).normal(0, 10, brain.shape)
    flat = ("distinct_values", "saturated_share", "brightness_span", "noise_ratio")
    assert failed(scan(image=brain * 1.0)) == dict.fromkeys(flat, True)
    assert failed(scan(image=noise)).items() >= {"noise_ratio": True, "template_similarity": True}.items()
    assert failed(scan(image=np.clip(scan()["image"][0].numpy(), 0, 60)))["saturated_share"]
    negated = failed(scan(image=-scan()["image"][0].numpy()))
    assert negated["negative_share"]
    assert negated["t1_fluid_contrast"]
    nothing = failed(scan(mask=np.zeros(brain.shape, dtype=bool)))
    assert nothing["brain_volume_ml"]
    assert nothing["num_slices"]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("kept", "refused"), [(0.95, False), (0.5, True)])
def test_a_slab_is_refused_whether_cropped_or_filled_up_with_zeros(scan, padded, kept, refused):
    case = scan()
    slices = np.flatnonzero(case["brain_mask"][0].numpy().any(axis=(0, 1)))
    first = int(slices[0] + (1 - kept) * len(slices))
    for key in ("image", "brain_mask"):
        if padded:
            case[key][..., :first] = 0
        else:
            affine = case[key].affine.clone()
            affine[2, 3] += 2 * first
            case[key] = MetaTensor(case[key].as_tensor()[..., first:], affine=affine)
    found = failed(case)
    assert found.get("template_coverage", False) is refused
    assert found.get("brain_cut_share", False) is refused
    assert any(found.values()) is refused


def test_sizes_are_the_scans_own_not_the_templates(scan):
    case = scan()
    to_template = np.diag([1.2, 1.2, 1.2, 1.0])
    add_note(case, "alignment", world_to_template=to_template.tolist(), orientation="as the header says")
    values = {check["name"]: check["value"] for check in note(case)["checks"]}
    assert values["brain_volume_ml"] == pytest.approx(1883 / 1.2**3, rel=1e-3)
    assert values["voxel_edge_mm"] == pytest.approx(2 / 1.2)
    assert values["template_overlap"] == 1
    add_note(case, "alignment", world_to_template=np.diag([1.0, 1.0, 1.4, 1.0]).tolist())
    assert failed(case) == {"template_stretch": False}


@pytest.mark.parametrize(
    ("step", "facts", "fatal", "words"),
    [
        ("alignment", {"orientation": "rotated by 180° about left-right"}, True, "does not lie as the header says: rot"),
        ("meta", {"header_problems": "sform and qform of the header mirror each other (LAS and RAS)"}, True, "mirror"),
        ("meta", {"header_problems": "sform and qform disagree"}, True, "sform and qform disagree"),
        ("meta", {"header_problems": "the header does not give the orientation"}, False, "does not give"),
        ("meta", {"header_notes": "the sform shears the scan by 3.0°"}, None, "shears the scan"),
    ],
)
def test_what_the_reader_and_the_alignment_found_counts(scan, step, facts, fatal, words):
    case = scan()
    if step == "meta":
        case["image"].meta.update(facts)
    else:
        add_note(case, step, **facts)
    found = [check for check in note(case)["checks"] if words in check["text"]]
    assert len(found) == 1
    assert (found[0]["passed"], found[0]["fatal"]) == (fatal is None, bool(fatal))


def test_a_refusal_names_file_reasons_and_way_out_and_carries_the_case(scan):
    case = scan("t2", modality="t1")
    case["image"].meta["header_problems"] = "sform and qform of the header mirror each other"
    with pytest.raises(InputError, match=r"^scan.nii.gz: refused by quality control: sform .*; the contrast .*\. Look at "
                       r"the scan, or at quality.png; --force true runs it all the same") as refusal:  # fmt: skip
        QualityControld("image")(case)
    error = refusal.value
    assert len(error.reasons) == 2
    assert error.data["image"] is case["image"]
    assert error.notes["quality"]["passed"] is False
    assert error.notes["quality"]["forced"] is False


def test_picture_geometry_lays_the_template_over_the_scan_in_its_own_world(scan):
    case, own = scan(), np.diag([-1.5, 1.5, 1.5, 1.0])
    to_template = load_template().affine @ np.linalg.inv(own)
    add_note(case, "alignment", world_to_template=to_template.tolist())
    geometry = picture_geometry(case)
    assert set(geometry) == {"affine", "template", "template_affine"}
    # The made-up scans lie on the template's grid: both have one matrix, that of the scan's own world.
    assert np.allclose(geometry["affine"], own)
    assert np.allclose(geometry["template_affine"], own)
    del case["notes"]
    assert np.allclose(picture_geometry(case)["affine"], load_template().affine)


def test_force_goes_on_and_says_so(scan, caplog):
    with caplog.at_level(logging.WARNING):
        quality = note(scan("t2", modality="t1"))
    assert (quality["passed"], quality["forced"]) == (False, True)
    assert "T2-weighted" in caplog.text
    assert "(forced)" in caplog.text


@pytest.mark.slow
def test_a_scan_that_is_stored_upside_down_is_refused_with_the_alignments_words(scan):
    case = scan()
    upside_down = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    for key in ("image", "brain_mask"):
        case[key] = MetaTensor(case[key].as_tensor(), affine=upside_down @ case[key].affine)
    aligned = AlignToTemplated(["image", "brain_mask"])(case)
    with pytest.raises(ScanRefused, match="the brain does not lie as the header says: upside down") as refusal:
        QualityControld("image")(aligned)
    assert len(refusal.value.reasons) == 1


def test_disabled_does_nothing(scan):
    assert "notes" not in QualityControld("image", enabled=False)(scan("t2", modality="t1"))


def test_without_modality_the_contrast_is_not_judged_and_without_affine_it_is_an_error(scan):
    case = scan("t2")
    del case["modality"]
    assert not [check for check in note(case)["checks"] if "contrast" in check["name"]]
    with pytest.raises(TypeError, match="`image` must be a MetaTensor with an affine, got Tensor"):
        QualityControld("image")({**case, "image": case["image"].as_tensor()})


def test_invertd_passes_through(scan):
    chain = Compose([QualityControld("image")])
    case = chain(scan())
    back = Invertd("image", chain, orig_keys="image", nearest_interp=False, to_tensor=True)(case)
    assert torch.equal(back["image"].as_tensor(), case["image"].as_tensor())
    assert json.loads(back["notes"])["quality"]["passed"]
