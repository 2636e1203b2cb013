"""Volumes kept on disk: the same tensors, made once, and made again when files or settings change."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import EnsureTyped, LoadImaged, ScaleIntensityd, SelectItemsd

from scripts.data import VolumeCache
from scripts.data.phantom import phantom_affine, phantom_volume


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    found = []
    for seed in range(2):
        image, mask, _ = phantom_volume((10, 12, 8), seed)
        paths = {key: tmp_path / f"{seed}_{key}.nii.gz" for key in ("image", "brain_mask")}
        for path, volume in zip(paths.values(), (image, mask), strict=True):
            nib.save(nib.Nifti1Image(volume, phantom_affine((10, 12, 8))), path)
        found.append({**{key: str(path) for key, path in paths.items()}, "attributes": {"age": str(seed)}})
    return found


def steps(maxv: float = 1.0) -> list[Any]:
    keys = ["image", "brain_mask"]
    return [
        LoadImaged(keys, ensure_channel_first=True, image_only=True),
        ScaleIntensityd("image", maxv=maxv),
        SelectItemsd(keys),
        EnsureTyped(keys, track_meta=False),
    ]


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*")}


def test_what_comes_from_disk_is_what_was_made_bit_for_bit(items: list[dict], tmp_path: Path) -> None:
    plain = VolumeCache(items, steps())
    cached = VolumeCache(items, steps(), str(tmp_path / "cache"))
    for index in range(len(items)):
        made, kept, expected = cached[index], cached[index], plain[index]
        for key in ("image", "brain_mask"):
            assert kept[key].dtype == expected[key].dtype
            assert torch.equal(kept[key], expected[key])
            assert torch.equal(made[key], expected[key])


def test_another_run_makes_nothing_again_even_with_other_columns(items: list[dict], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = [VolumeCache(items, steps(), str(folder))[index] for index in range(2)]
    before = files(folder)
    assert len(before) == 2
    other_fold = [{**item, "attributes": {"site": "x"}} for item in reversed(items)]
    again = VolumeCache(other_fold, steps(), str(folder))
    assert torch.equal(again[1]["image"], first[0]["image"])
    assert torch.equal(again[0]["image"], first[1]["image"])
    assert files(folder) == before


def test_other_settings_or_a_changed_scan_are_noticed(items: list[dict], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    original = VolumeCache(items[:1], steps(), str(folder))[0]["image"]
    scaled = VolumeCache(items[:1], steps(maxv=2.0), str(folder))[0]["image"]
    torch.testing.assert_close(scaled, original * 2)
    image = nib.load(items[0]["image"])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1].copy(), image.affine), items[0]["image"])
    os.utime(items[0]["image"], ns=(time.time_ns(), time.time_ns() + 10**9))
    mirrored = VolumeCache(items[:1], steps(), str(folder))[0]["image"]
    assert torch.equal(mirrored, original.flip(1))
    assert len(files(folder)) == 3


def test_a_file_that_was_cut_off_is_made_anew(items: list[dict], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "cache"
    expected = VolumeCache(items[:1], steps(), str(folder))[0]["image"]
    (path,) = folder.glob("*.pt")
    path.write_bytes(path.read_bytes()[:500])
    assert torch.equal(VolumeCache(items[:1], steps(), str(folder))[0]["image"], expected)
    assert "cannot be read, made anew" in caplog.text
    assert path.stat().st_size > 500


def test_errors_of_steps_are_not_hidden(items: list[dict], tmp_path: Path) -> None:
    cache = VolumeCache([{**items[0], "brain_mask": items[0]["image"]}], steps()[1:], str(tmp_path / "cache"))
    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        _ = cache[0]


def test_cache_dir_that_is_a_file_is_refused(items: list[dict]) -> None:
    with pytest.raises(ValueError, match="`cache_dir` must be a folder, got the file"):
        VolumeCache(items, steps(), items[0]["image"])
