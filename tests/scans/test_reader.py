"""The reader: what a file holds counts, not its name, and whatever is wrong with it is reported."""

from __future__ import annotations

import gzip
import shutil
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import LoadImaged, SaveImage

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError
from scripts.scans.reader import ScanReader

SHAPE = (12, 14, 10)
AFFINE = phantom_affine(SHAPE, 2.0)
VOXELS = np.rint(phantom_volume(SHAPE, 3)[0] * 200).astype(np.int16)


def read(path):
    return LoadImaged("image", reader=ScanReader, ensure_channel_first=True, image_only=True)({"image": path})["image"]


def save(path, *, kind=nib.Nifti1Image, voxels=VOXELS, named=None):
    """Write an image, then give it another name."""
    nib.save(kind(voxels, AFFINE), path)
    return path if named is None else shutil.move(path, path.with_name(named))


def as_big_endian(path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(VOXELS, AFFINE, header), path)
    return path


FORMATS = {
    "nii": lambda folder: save(folder / "a.nii"),
    "gzip named nii": lambda folder: save(folder / "a.nii.gz", named="b.nii"),
    "nii named gzip": lambda folder: save(folder / "a.nii", named="b.nii.gz"),
    "upper case": lambda folder: save(folder / "a.nii", named="A.NII"),
    "nifti 2": lambda folder: save(folder / "a.nii.gz", kind=nib.Nifti2Image),
    "mgz": lambda folder: save(folder / "a.mgz", kind=nib.MGHImage),
    "mgh": lambda folder: save(folder / "a.mgh", kind=nib.MGHImage),
    "mgh named mgz": lambda folder: save(folder / "a.mgh", kind=nib.MGHImage, named="b.mgz"),
    "mgz named nii": lambda folder: save(folder / "a.mgz", kind=nib.MGHImage, named="b.nii.gz"),
    "4D with one volume": lambda folder: save(folder / "a.nii.gz", voxels=VOXELS[..., None]),
    "5D with one volume": lambda folder: save(folder / "a.nii.gz", voxels=VOXELS[..., None, None]),
    "big endian": lambda folder: as_big_endian(folder / "a.nii.gz"),
    **{
        f"{np.dtype(dtype)}": lambda folder, dtype=dtype: save(folder / "a.nii.gz", voxels=VOXELS.astype(dtype))
        for dtype in (np.uint8, np.uint16, np.int32, np.float32, np.float64)
    },
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_voxels_on_the_same_grid(tmp_path, name):
    image = read(FORMATS[name](tmp_path))
    assert image.dtype == torch.float32
    assert torch.equal(image.as_tensor(), torch.from_numpy(VOXELS.astype(np.float32))[None])
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)  # MGH keeps centre and cosines, as float32
    np.testing.assert_array_equal(image.meta["original_affine"], image.affine)
    assert np.isnan(image.meta["original_channel_dim"])
    assert tuple(image.meta["spatial_shape"]) == SHAPE
    assert image.meta["header_problems"] == image.meta["header_notes"] == ""


def test_a_sound_file_reads_as_monai_reads_it(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    ours, theirs = read(path), LoadImaged("image", ensure_channel_first=True, image_only=True)({"image": path})["image"]
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())
    assert torch.equal(ours.affine, theirs.affine)
    assert set(ours.meta) - set(theirs.meta) == {"header_problems", "header_notes"}
    assert set(theirs.meta) <= set(ours.meta)


def test_real_scans_read_as_monai_reads_them(data_dir):
    for path in (data_dir / "raw").rglob("*.nii.gz"):
        ours, theirs = read(path), LoadImaged("image", ensure_channel_first=True, image_only=True)({"image": path})["image"]
        assert torch.equal(ours.as_tensor(), theirs.as_tensor())
        assert torch.equal(ours.affine, theirs.affine)
        assert ours.meta["header_problems"] == ""


def test_slope_and_intercept_are_applied(tmp_path):
    path = save(tmp_path / "a.nii")
    header = nib.Nifti1Header(path.read_bytes()[:348])
    header["scl_slope"], header["scl_inter"] = 0.5, 10
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    np.testing.assert_array_equal(read(path)[0], VOXELS * np.float32(0.5) + 10)


def test_it_serves_several_keys_by_its_name_and_survives_collating(tmp_path):
    image, mask = save(tmp_path / "a.mgz", kind=nib.MGHImage), save(tmp_path / "m.nii", voxels=(VOXELS > 0).astype(np.uint8))
    load = LoadImaged(
        ["image", "brain_mask", "label", "t1"],
        reader="scripts.scans.reader.ScanReader",
        ensure_channel_first=True,
        image_only=True,
        allow_missing_keys=True,
    )
    items = [{"image": str(image), "brain_mask": str(mask)}, {"image": str(mask), "brain_mask": str(mask)}]
    (batch,) = DataLoader(Dataset(items, load), batch_size=2, num_workers=0)
    assert batch["image"].shape == batch["brain_mask"].shape == (2, 1, *SHAPE)
    first, second = decollate_batch(batch)
    assert first["image"].meta["header_problems"] == ""
    assert torch.equal(first["brain_mask"].as_tensor(), second["image"].as_tensor())


def broken(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content(save(tmp_path / "whole.nii.gz").read_bytes()))
    return path


def flipped(content, position):
    content = bytearray(content)
    content[position] ^= 0xFF
    return bytes(content)


BROKEN = {
    "half.nii.gz": (lambda c: c[: len(c) // 2], r"is cut off: the header promises 3,712 bytes, the file holds about [\d,]+"),
    "half.nii": (lambda c: gzip.decompress(c)[:2000], "is cut off: the header promises 3,712 bytes, the file holds about 2,000"),
    "head.nii": (lambda c: gzip.decompress(c)[:100], "is cut off inside its header"),
    "stub.nii.gz": (lambda c: c[:30], "is cut off"),
    "sum.nii.gz": (lambda c: flipped(c, -6), r"is damaged \(CRC check failed"),
    "type.nii": (lambda c: flipped(gzip.decompress(c), 71), r"cannot be read \(data code -252 not recognized"),
    "text.nii": (lambda c: b"patient 7, second visit", r"is no NIfTI or MGH image\. Convert it to NIfTI"),
    "dicom.nii": (lambda c: bytes(128) + b"DICM", "is DICOM, but no image of a series"),
    "pointer.nii.gz": (lambda c: b"/annex/objects/MD5E-s1--0.nii.gz\n", "is the placeholder of a file that is not here"),
    "empty.nii.gz": (lambda c: b"", r"is empty \(0 bytes\)"),
    "voxels.img": (lambda c: bytes(600), r"is no NIfTI or MGH image\. Convert it to NIfTI"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_with_what_is_wrong(tmp_path, name):
    content, message = BROKEN[name]
    with pytest.raises(InputError, match=f"{name}: {message}"):
        read(broken(name, content, tmp_path))


def rgb():
    return np.zeros(SHAPE, dtype=[(channel, "u1") for channel in "RGB"])


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.stack([VOXELS] * 3, axis=-1), r"must be one 3D volume, got 3 volumes of \(12, 14, 10\)\. Save one as a file"),
        (VOXELS[0], r"must be one 3D volume, got 2 dimensions \(14, 10\)"),
        (VOXELS.astype(np.complex64), "its voxels are not real numbers, but complex64. Save its magnitude"),
        (rgb(), "its voxels are colours \\(RGB\\), not numbers"),
    ],
)
def test_what_is_no_volume_of_numbers_is_refused(tmp_path, voxels, message):
    with pytest.raises(InputError, match=message):
        read(save(tmp_path / "a.nii.gz", voxels=voxels))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.nii: the file does not exist"):
        read(tmp_path / "none.nii")


def test_results_lie_on_the_grid_that_was_read(tmp_path):
    path = save(tmp_path / "a.mgz", kind=nib.MGHImage)
    SaveImage(tmp_path, output_postfix="out", separate_folder=False, print_log=False, output_ext=".nii.gz")(read(path))
    result = nib.load(tmp_path / "a_out.nii.gz")
    np.testing.assert_allclose(result.affine, nib.load(path).affine, atol=1e-5)  # float32 in the header
    np.testing.assert_array_equal(result.get_fdata(), VOXELS)


def _claiming(path, shape, voxels=b""):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(4) + voxels
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("name", "shape", "voxels", "message"),
    [
        ("huge.nii", (30000, 30000, 30000), b"", r"is cut off: the header promises 27,000,000,000,352 bytes, the file holds about 352"),
        ("huge.nii.gz", (30000, 30000, 30000), b"", "is cut off: the header promises 27,000,000,000,352 bytes, the file can hold at most"),
        ("packed.nii.gz", (1400, 1400, 1400), None, r"the image has 1400 x 1400 x 1400 voxels, more than the limit of 512,000,000\. Resample"),
        ("slice.nii", (64, 64, 1), bytes(4096), r"the image is a single slice, got \(64, 64, 1\)\. Give a volume of the whole head"),
        ("slab.nii", (64, 3, 64), bytes(12288), r"the image is only 3 slices, got \(64, 3, 64\)"),
    ],
)
def test_sizes_are_held_against_the_file_and_a_limit_before_memory_is_taken(tmp_path, name, shape, voxels, message):
    if voxels is None:  # 12 MB of noise, which could hold it all by its length
        voxels = np.random.default_rng(0).bytes(4_000_000)
    path = _claiming(tmp_path / name, shape, voxels)
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"{name.replace('.', '[.]')}: {message}"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
