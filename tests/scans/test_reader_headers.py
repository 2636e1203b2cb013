"""Which matrix is taken from a header, and what is reported about it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage, SaveImage

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError
from scripts.scans.reader import ScanReader, header_affine
from scripts.scans.volume import save_volume

SHAPE = (12, 14, 10)
VOXELS = phantom_volume(SHAPE, 3)[0]
AFFINE = phantom_affine(SHAPE, 2.0)
ZERO = np.zeros((4, 4))


def with_(**values) -> np.ndarray:
    """Return AFFINE with other columns: x=[…], y=[…], z=[…]."""
    affine = AFFINE.copy()
    for name, column in values.items():
        affine[:3, "xyz".index(name)] = column
    return affine


def turned(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0, 5], [np.sin(a), np.cos(a), 0, -9], [0, 0, 1, 3], [0, 0, 0, 1]])
    return turn @ AFFINE


@pytest.fixture
def write(tmp_path):
    """Factory: a NIfTI file whose header says exactly this, which nibabel's own saving would put right."""

    def _write(sform=AFFINE, qform=AFFINE, *, sform_code=1, qform_code=1, **fields):
        path = tmp_path / "a.nii"
        nib.save(nib.Nifti1Image(VOXELS, AFFINE), path)
        header = nib.Nifti1Header(path.read_bytes()[:348])
        header.set_qform(qform, code=qform_code)
        for axis, row in zip("xyz", sform, strict=False):
            header[f"srow_{axis}"] = row
        header["sform_code"] = sform_code
        for name, value in fields.items():
            header[name] = value
        path.write_bytes(header.binaryblock + path.read_bytes()[348:])
        return path

    return _write


def read(path):
    image = LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(path)
    np.testing.assert_array_equal(image[0], VOXELS.astype(np.float32))
    return np.asarray(image.affine), image.meta["header_problems"], image.meta["header_notes"]


def test_the_sform_comes_first(write):
    affine, problems, notes = read(write(sform=turned(20)))
    np.testing.assert_allclose(affine, turned(20), atol=1e-5)  # float32 in the header
    assert problems == notes == ""


@pytest.mark.parametrize(
    "sform", [ZERO, with_(y=AFFINE[:3, 0]), with_(x=[np.nan, 0, 0]), with_(z=[np.inf, 0, 0]), with_(z=[2, 0.01, 0])]
)
def test_a_useless_sform_gives_way_to_the_qform(write, sform, caplog):
    affine, problems, notes = read(write(sform=sform, qform=turned(20)))
    np.testing.assert_allclose(affine, turned(20), atol=1e-5)
    assert problems == ""
    assert notes == "the sform of the header is not used, as it is not finite or does not span space"
    assert f"a.nii: {notes}." in caplog.text


@pytest.mark.parametrize("codes", [{"sform_code": 0, "qform_code": 0}, {"sform": ZERO, "qform_code": 0}])
def test_without_both_the_orientation_is_a_guess_and_nibabels(write, codes, caplog):
    affine, problems, _ = read(write(**codes))
    np.testing.assert_array_equal(affine, _guess())
    assert problems == "the header does not give the orientation; its voxel axes were taken as LAS, which is a guess"
    assert problems in caplog.text


def _guess() -> np.ndarray:
    affine = np.diag([-2.0, 2, 2, 1])
    affine[:3, 3] = [11, -13, -9]  # the middle of 12 × 14 × 10 voxels of 2 mm at the origin
    return affine


@pytest.mark.parametrize("quaternion", [np.nan, 2.0])
def test_a_broken_qform_does_not_matter_beside_a_sound_sform(write, quaternion):
    affine, problems, notes = read(write(quatern_b=quaternion))
    np.testing.assert_allclose(affine, AFFINE)
    assert problems == ""
    assert "the qform of the header is not used" in notes


def test_a_broken_qform_alone_leaves_a_guess(write):
    affine, problems, notes = read(write(sform_code=0, quatern_b=np.nan))
    np.testing.assert_array_equal(affine, _guess())
    assert "does not give the orientation" in problems
    assert "the qform of the header is not used" in notes


def test_no_voxel_sizes_are_refused(write):
    path = write(sform_code=0, qform_code=0, pixdim=[1, np.nan, 2, 2, 1, 1, 1, 1])
    with pytest.raises(InputError, match=r"a\.nii: the header gives neither the orientation nor the size of the voxels"):
        read(path)


def test_a_mirrored_sform_is_kept_and_reported(write, caplog):
    mirrored = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    affine, problems, _ = read(write(sform=mirrored))
    np.testing.assert_allclose(affine, mirrored)
    assert problems == "sform and qform of the header mirror each other (LAS and RAS), so that left and right are in doubt"
    assert problems in caplog.text


@pytest.mark.parametrize(
    ("sform", "reported"),
    [
        (np.diag([1.0, -1, -1, 1]) @ AFFINE, "differ by a turn of 180° (RPI and RAS)"),
        (turned(90), "differ by a turn of 90° (ALS and RAS)"),
        (turned(44), ""),  # a turned head between scanner and template; its nearest axes may or may not be the same
    ],
)
def test_a_sform_that_is_turned_against_the_qform_is_reported(write, sform, reported):
    affine, problems, _ = read(write(sform=sform))
    np.testing.assert_allclose(affine, sform, atol=1e-5)
    assert problems == (f"sform and qform of the header {reported}" if reported else "")


def test_a_sheared_sform_is_kept_and_reported(write):
    sheared = with_(y=[2 * np.tan(np.radians(15)), 2, 0])
    affine, problems, notes = read(write(sform=sheared, qform_code=0))
    np.testing.assert_allclose(affine, sheared, atol=1e-5)
    assert problems == ""
    assert notes == "the sform shears the scan by 15.0°"


@pytest.mark.parametrize(("factor", "reported"), [(1.04, False), (1.06, True), (0.94, True)])
def test_voxel_sizes_that_contradict_the_sform_are_reported(write, factor, reported):
    sform = with_(x=[2 * factor, 0, 0])
    affine, problems, notes = read(write(sform=sform, qform_code=0))
    np.testing.assert_allclose(affine, sform, atol=1e-5)
    assert problems == ""
    assert bool(notes) == reported
    if reported:
        assert notes == f"the header's voxel sizes 2 × 2 × 2 mm contradict its sform, {2 * factor:.3g} × 2 × 2 mm; the sform counts"


@pytest.mark.parametrize(("sform", "qform"), [(ZERO, turned(20)), (with_(y=[0.3, 2, 0]), AFFINE), (turned(30), AFFINE)])
def test_results_get_the_matrix_that_was_used(write, tmp_path, sform, qform):
    image = LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(write(sform, qform))
    SaveImage(tmp_path, output_postfix="out", separate_folder=False, print_log=False, output_ext=".nii.gz")(image)
    result = nib.load(tmp_path / "a_out.nii.gz")
    np.testing.assert_allclose(result.affine, qform if sform is ZERO else sform, atol=1e-5)
    np.testing.assert_array_equal(result.get_fdata(), VOXELS.astype(np.float32))


def test_mgh_without_orientation_is_a_guess(tmp_path):
    path = tmp_path / "a.mgh"
    nib.save(nib.MGHImage(VOXELS.astype(np.float32), AFFINE), path)
    content = bytearray(path.read_bytes())
    content[28:30] = bytes(2)  # goodRASFlag
    path.write_bytes(content)
    affine, problems, _ = read(path)
    np.testing.assert_array_equal(affine, nib.load(path).affine)
    assert problems == "the header does not give the orientation; its voxel axes were taken as LSP, which is a guess"


@pytest.mark.parametrize("kind", [nib.AnalyzeImage, nib.Nifti1Pair])
def test_a_pair_of_files_is_refused_with_the_way_to_make_it_one(tmp_path, kind):
    nib.save(kind(VOXELS.astype(np.float32), None), tmp_path / "a.img")
    with pytest.raises(InputError, match=r"a\.hdr: is the header of a pair of files \(\.hdr and \.img\)\. Save it as one NIfTI"):
        read(tmp_path / "a.hdr")


def test_a_header_is_not_changed_by_looking(write):
    image = nib.load(write(sform=turned(20)))
    before = image.header.binaryblock
    header_affine(image)
    assert image.header.binaryblock == before


@pytest.mark.parametrize(("code", "factor", "word"), [(1, 0.001, "metre"), (3, 1000.0, "micrometre")])
def test_other_units_of_length_become_mm_and_results_keep_them(write, tmp_path, code, factor, word):
    own = np.diag([factor, factor, factor, 1]) @ AFFINE
    path = write(own, own, xyzt_units=code, pixdim=[1, *np.full(3, 2 * factor), 0, 0, 0, 0])
    image = LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(path)
    np.testing.assert_allclose(np.asarray(image.affine), AFFINE, atol=1e-4)
    assert f"the header's unit is the {word}, not the millimetre" in image.meta["header_notes"]
    save_volume(tmp_path / "map.nii.gz", image * 2, name="anomaly_map")
    result = nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(result.affine, own, rtol=1e-5)
    assert int(result.header["xyzt_units"]) & 7 == code


def test_a_result_of_a_plain_scan_is_in_mm(write, tmp_path):
    image = LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(write(xyzt_units=0))
    save_volume(tmp_path / "map.nii.gz", image, name="anomaly_map")
    assert nib.load(tmp_path / "map.nii.gz").header.get_xyzt_units()[0] == "mm"


def test_voxels_of_a_size_that_no_head_has_are_refused(write):
    with pytest.raises(InputError, match=r"a\.nii: the header says that voxels are 2,000 mm long \(its unit is the metre\)"):
        read(write(xyzt_units=1))


def test_a_quaternion_that_is_no_rotation_is_refused_where_there_is_no_sform(write):
    with pytest.raises(InputError, match=r"a\.nii: its header has no sform, and its qform is no rotation\. Copy or convert it again from its source, or repair"):
        read(write(sform_code=0, quatern_b=0.9, quatern_c=0.9, quatern_d=0.9))
