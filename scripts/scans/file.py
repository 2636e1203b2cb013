"""Read one volume from a NIfTI or MGH file or a DICOM series by what it holds, whatever it is called."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from nibabel.wrapstruct import WrapStructError
from scripts.errors import InputError
from scripts.scans.dicom import is_dicom, read_dicom

__all__ = ["ScanFile", "read_scan_file"]

_GZIP = b"\x1f\x8b"
_HEAD = 540  # bytes of the longest header, NIfTI-2
_CHUNK = 1 << 16
_MGH_FLAG = 28  # where an MGH header says (int16) whether it gives the orientation
_CONVERT = "Convert it to NIfTI"
_ONE_FILE = "Save it as one NIfTI file: `nibabel.save(nibabel.load('a.hdr'), 'a.nii.gz')`"
_AGAIN = "Copy or convert it again from its source"
_ONE_VOLUME = (
    "Save one as a file (`fslroi scan.nii.gz volume.nii.gz 0 1`, or nibabel's `scan.slicer[..., 0]`): of echoes or "
    "repeats the first; the volumes of functional and diffusion series are no T1 or T2 scans"
)
_PLACEHOLDERS = (b"version https://git-lfs", b"/annex/", b"../")
_MAX_VOXELS = 800**3  # 2 GB as float32, of which several copies are needed; a whole head at 0.25 mm
_MIN_EDGE = 4  # voxels
_DEFLATE = 1032  # bytes that one byte of gzip can hold at most
_UNREADABLE = (OSError, EOFError, zlib.error, ValueError)
_DAMAGED = (HeaderDataError, ImageFileError, WrapStructError, MGHError, *_UNREADABLE)


@dataclass(frozen=True, kw_only=True)
class ScanFile:
    """What a file holds.

    Attributes:
        image: the image as nibabel describes it; its voxels can no longer be read from it.
        voxels: [H, W, D], scaled as the header says, native byte order.
        oriented: False for formats or headers that do not give the orientation.
    """

    image: SpatialImage
    voxels: np.ndarray
    oriented: bool


def read_scan_file(path: Path) -> ScanFile:
    """Read a volume.

    NIfTI-1, NIfTI-2 and MGH files may be compressed by gzip or not, whatever their names say; of a DICOM series any
    file may be named. Dimensions of length one after the third are dropped.

    Args:
        path: the file.

    Raises:
        InputError: if it is missing, of another format, cut off or damaged, or holds no single volume of real numbers.
    """
    if not path.is_file():
        raise InputError("the file does not exist", path=path, fix="Give the path of a NIfTI, MGH or DICOM file")
    if is_dicom(path):
        series = read_dicom(path)
        return ScanFile(image=nib.Nifti1Image(series.voxels, series.affine), voxels=series.voxels, oriented=True)
    try:
        return _read_single(path)
    except InputError:
        raise
    except _DAMAGED as error:
        if "w2 should be positive" in str(error):  # nibabel's words for a quaternion that is longer than 1
            what = "its header has no sform, and its qform is no rotation"
            raise InputError(what, path=path, fix=f"{_AGAIN}, or repair its header") from error
        what = "is cut off" if isinstance(error, EOFError) else "cannot be read"
        raise InputError(f"{what} ({_text(error)})", path=path, fix=_AGAIN) from error


def _read_single(path: Path) -> ScanFile:
    with _stream(path) as stream:
        head = _head(stream)
        kind = _kind(head, path)
        image = kind.from_file_map({"image": FileHolder(fileobj=stream)}, mmap=False)
        _check_voxels(image, path)
        _check_size(image, path)
        try:
            voxels = _voxels(image)
            while stream.read(_CHUNK):  # to the end, where gzip has its checksum
                pass
        except _UNREADABLE as error:
            raise _broken(error, image, stream, path) from error
    oriented = kind is not nib.MGHImage or struct.unpack_from(">h", head, _MGH_FLAG)[0] > 0
    return ScanFile(image=image, voxels=voxels, oriented=oriented)


@contextmanager
def _stream(path: Path) -> Iterator[Any]:
    with path.open("rb") as plain:
        compressed = plain.read(2) == _GZIP
        plain.seek(0)
        if not compressed:
            yield plain
            return
        with gzip.GzipFile(fileobj=plain) as inflated:
            yield inflated


def _head(stream: Any) -> bytes:
    head = stream.read(_HEAD)
    stream.seek(0)
    return head


def _kind(head: bytes, path: Path) -> type[SpatialImage]:
    if head[344:347] == b"n+1":
        return nib.Nifti1Image
    if head[4:7] == b"n+2":
        return nib.Nifti2Image
    if head[:4] == struct.pack(">i", 1) and len(head) > _MGH_FLAG + 1:
        return nib.MGHImage
    if not head:
        raise InputError("is empty (0 bytes)", path=path, fix=_AGAIN)
    if head.startswith(_PLACEHOLDERS):
        fix = "Fetch the file itself (`datalad get`, `git lfs pull`)"
        raise InputError("is the placeholder of a file that is not here", path=path, fix=fix)
    if head[:4] in (struct.pack("<i", 348), struct.pack(">i", 348)) or head[4:7] == b"ni2":
        if len(head) < 348:
            raise InputError("is cut off inside its header", path=path, fix=_AGAIN)
        raise InputError("is the header of a pair of files (.hdr and .img)", path=path, fix=_ONE_FILE)
    raise InputError("is no NIfTI or MGH image", path=path, fix=_CONVERT)


def _check_voxels(image: SpatialImage, path: Path) -> None:
    shape, dtype = image.shape, image.get_data_dtype()
    if dtype.fields:
        raise InputError("its voxels are colours (RGB), not numbers", path=path, fix="Save its grey values")
    if dtype.kind not in "iuf":
        raise InputError(f"its voxels are not real numbers, but {dtype}", path=path, fix="Save its magnitude")
    if len(shape) < 3 or min(shape) < 1:
        what = f"the image must be one 3D volume, got {len(shape)} dimensions {shape}"
        raise InputError(what, path=path, fix=_CONVERT)
    if min(shape[:3]) < _MIN_EDGE:
        thin = "a single slice" if min(shape[:3]) == 1 else f"only {min(shape[:3])} slices"
        raise InputError(f"the image is {thin}, got {shape[:3]}", path=path, fix="Give a volume of the whole head")
    if max(shape[3:], default=1) > 1:
        what = f"the image must be one 3D volume, got {int(np.prod(shape[3:]))} volumes of {shape[:3]}"
        raise InputError(what, path=path, fix=_ONE_VOLUME)


def _check_size(image: SpatialImage, body: Path) -> None:
    """Refuse a size that the file cannot hold, or that no head needs, before memory is taken for it."""
    voxels = math.prod(map(int, image.shape))
    data: Any = image.dataobj
    promised, held = int(data.offset) + voxels * image.get_data_dtype().itemsize, body.stat().st_size
    with body.open("rb") as file:
        held, how = (held * _DEFLATE, "can hold at most") if file.read(2) == _GZIP else (held, "holds about")
    if promised > held:
        what = f"is cut off: the header promises {promised:,} bytes, the file {how} {held:,}"
        raise InputError(what, path=body, fix=_AGAIN)
    if voxels > _MAX_VOXELS:
        what = f"the image has {' x '.join(map(str, image.shape[:3]))} voxels, more than the limit of {_MAX_VOXELS:,}"
        raise InputError(what, path=body, fix="Resample it to voxels of 0.5 mm or more, or cut it to the head")


def _voxels(image: SpatialImage) -> np.ndarray:
    voxels = np.asanyarray(image.dataobj).reshape(image.shape[:3])
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def _broken(error: Exception, image: SpatialImage, stream: Any, path: Path) -> InputError:
    """Return what is wrong with a file whose header could be read and whose voxels could not."""
    damaged = InputError(f"is damaged ({_text(error)})", path=path, fix=_AGAIN)
    if isinstance(error, (gzip.BadGzipFile, zlib.error)):
        return damaged
    held = 0
    try:
        stream.seek(0)
        while chunk := stream.read(_CHUNK):
            held += len(chunk)
    except (OSError, EOFError, zlib.error):
        pass  # what came before counts
    data: Any = image.dataobj
    promised = int(data.offset) + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    if held >= promised:
        return damaged
    what = f"is cut off: the header promises {promised:,} bytes, the file holds about {held:,}"
    return InputError(what, path=path, fix=_AGAIN)


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
