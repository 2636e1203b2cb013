"""Registration: finds known transforms whatever the contrast, the same on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from scripts.errors import InputError
from scripts.registration.fit import (
    AS_THE_HEADER_SAYS,
    coarse_template,
    describe_turn,
    fit_quality,
    mean_shift_mm,
    rigid_between,
)
from scripts.registration.register import (
    COARSE,
    FINE,
    Cut,
    Model,
    Scan,
    blurred,
    mutual_information,
    place,
    prepare_scan,
    register,
    to_sitk,
)
from scripts.registration.template import Volume, load_template, mask_dice


def moved(degrees=(6, -8, 5), scale=(0.9, 0.95, 0.88), shift=(4, -6, 5)):
    """Return a world-to-world matrix: a turn of the head, another size, a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * scale
    matrix[:3, 3] = shift
    return matrix


def template_scan(matrix, *, contrast=lambda t: t, top=None) -> Scan:
    """Return the template as a scan whose header differs by `matrix`, in another contrast, without its top slices."""
    template = load_template()
    part = np.s_[:, :, :top]
    inside = template.mask[part] > 0
    image = contrast(template.image[part]) + 0.03 * np.random.default_rng(0).standard_normal(inside.shape)
    return prepare_scan(image * inside, inside, matrix @ template.affine)


def error_mm(found, matrix) -> float:
    return mean_shift_mm(found @ matrix, Scan(load_template()))


def test_to_sitk_keeps_every_voxel_at_its_place_in_the_world():
    volume = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    affine = np.diag([2.0, 3, 4, 1])
    affine[:3, 3] = [-10, 20, 5]
    image = to_sitk(volume, affine)
    assert image.GetSize() == volume.shape
    for index in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), (affine @ [*index, 1])[:3])
        assert image.GetPixel(index) == pytest.approx(volume[index])


@pytest.mark.parametrize("wrong", ["sheared", "flipped"])
def test_to_sitk_refuses_grids_that_itk_cannot_hold(wrong):
    affine = np.diag([-1.0 if wrong == "flipped" else 1.0, 1.0, 1.0, 1.0])
    affine[0, 1] = 0.2 if wrong == "sheared" else 0
    with pytest.raises(ValueError, match="`affine` must be axis-aligned with positive spacings, got"):
        to_sitk(np.zeros((3, 3, 3)), affine)


@pytest.mark.parametrize("name", [pytest.param("t1", marks=pytest.mark.slow), "inverted"])
def test_affine_recovers_a_known_one_in_any_contrast(name):
    matrix = moved()
    scan = template_scan(matrix, contrast={"t1": lambda t: t, "inverted": lambda t: 1.3 - t}[name])
    found, reached = register(load_template(), scan, np.eye(4), model=Model.AFFINE, level=FINE)
    # Half a voxel; the scan began 11 mm off.
    assert error_mm(np.eye(4), matrix) > 8
    assert error_mm(found, matrix) < 1
    assert reached > mutual_information(load_template(), scan, np.eye(4))


def test_the_same_input_gives_the_same_matrix_on_any_number_of_threads():
    soft = Scan(blurred(template_scan(moved()).brain, 8.0))
    before, found = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), []
    try:
        for threads in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            for model, level in ((Model.SIMILARITY, COARSE), (Model.AFFINE, FINE)):
                found.append(register(coarse_template(), soft, np.eye(4), model=model, level=level))
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    for index, (matrix, reached) in enumerate(found):
        # The smoothing's sums are split over threads, which changes their last bits; no voxel can tell 1e-6 mm.
        np.testing.assert_allclose(matrix, found[index % 2][0], rtol=0, atol=1e-6)
        assert reached == pytest.approx(found[index % 2][1], abs=1e-9)


def test_a_cut_scan_is_known_as_such_and_is_not_stretched_over_what_it_lacks():
    matrix = moved()
    scan = template_scan(matrix, top=55)  # 38 mm of 138 mm missing
    assert [(cut.axis, cut.sign) for cut in scan.cuts] == [(2, 1)]
    assert template_scan(matrix).cuts == ()
    found, _ = register(load_template(), scan, np.eye(4), model=Model.AFFINE, level=FINE)
    assert error_mm(found, matrix) < 2
    quality = fit_quality(scan, np.linalg.inv(matrix))
    assert quality.overlap > 0.97  # counted where the scan shows something
    assert quality.seen_share == pytest.approx(load_template().mask[:, :, :55].sum() / load_template().mask.sum(), abs=0.01)


def test_place_resamples_in_world_mm_and_knows_what_is_cut_off():
    template, matrix = load_template(), moved()
    scan = Scan(Volume(template.image, template.mask, matrix @ template.affine), (Cut(2, 1, 50.5), Cut(0, -1, 9.5)))
    placed = place(scan, np.linalg.inv(matrix), template.affine, template.image.shape)
    np.testing.assert_allclose(placed.brain.image, template.image, atol=1e-5)
    assert np.array_equal(placed.seen.any((1, 2)), np.arange(96) >= 10)
    assert np.array_equal(placed.seen.any((0, 1)), np.arange(80) <= 50)
    narrow = place(scan, np.linalg.inv(matrix), template.affine, template.image.shape, inset_mm=4.0).seen
    assert np.array_equal(narrow.any((0, 1)), np.arange(80) <= 48)  # 4 mm are 2 voxels


def test_prepare_scan_keeps_the_brain_where_it_is():
    template = load_template()
    fine = np.kron(template.image, np.ones((2, 3, 1)))  # 1 x 0.67 x 2 mm
    to_fine = np.diag([0.5, 1 / 3, 1, 1])
    to_fine[:3, 3] = [-0.25, -1 / 3, 0]
    scan = prepare_scan(fine, fine > 0, template.affine @ to_fine)
    edges = np.linalg.norm(scan.brain.affine[:3, :3], axis=0)
    np.testing.assert_allclose(edges, 2)
    placed = place(scan, np.eye(4), template.affine, template.image.shape)
    assert mask_dice(placed.brain.mask, template.mask) > 0.995
    assert scan.volume_mm3 == pytest.approx(np.count_nonzero(template.image) * 8, rel=1e-3)
    positions = np.argwhere(template.image > 0) @ template.affine[:3, :3] + template.affine[:3, 3]
    np.testing.assert_allclose(scan.centre_mm, positions.mean(axis=0), atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("empty", "the brain mask holds 0 voxels, too few to align. Check the brain mask"),
        ("constant", r"the brain is constant \(1\). Give a scan with tissue contrast"),
        ("singular", "the affine is singular: .* Repair the header's sform and qform"),
        ("nan", "the affine is singular"),
    ],
)
def test_scans_that_cannot_be_aligned_are_refused(change, message):
    image, mask, affine = np.random.default_rng(0).random((20, 20, 20)), np.ones((20, 20, 20)), np.eye(4)
    if change == "empty":
        mask[:] = 0
    elif change == "constant":
        image[:] = 1
    else:
        affine[:3, 2] = affine[:3, 1] if change == "singular" else np.nan
    with pytest.raises(InputError, match=message):
        prepare_scan(image, mask, affine)


def test_rigid_between_finds_a_turned_scan_of_another_contrast():
    matrix = moved((8, -6, 4), (1, 1, 1), (15, -20, 10))
    found = rigid_between(template_scan(matrix, contrast=lambda t: 1.3 - t), template_scan(np.eye(4)))
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
    assert error_mm(found, matrix) < 0.5  # a quarter of a voxel


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        (np.diag([-1, 1, -1]), "upside down"),
        (np.diag([-1, -1, 1]), "front and back swapped"),
        (np.diag([1, -1, -1]), "upside down, front and back swapped"),
        ([[1, 0, 0], [0, 0, 1], [0, -1, 0]], "what the header calls the front is the bottom, what the header calls the top is the front"),
        ([[0, -1, 0], [1, 0, 0], [0, 0, 1]], "what the header calls the front is a side"),
    ],
)
def test_turns_are_put_in_words(turn, text):
    assert describe_turn(np.asarray(turn, dtype=float)).startswith(f"{text} (left and right may be swapped too")
    assert describe_turn(np.eye(3)) == AS_THE_HEADER_SAYS
