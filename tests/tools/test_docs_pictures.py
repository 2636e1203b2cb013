"""Pictures of the documents, from what an evaluation and the demo leave."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from scripts.errors import InputError
from tools.release.docs_pictures import docs_pictures, draw_thresholds


def test_panels_stand_below_each_other_in_one_width(tmp_path: Path) -> None:
    sizes = {"a": (450, 200), "b": (1800, 300)}
    for (name, size), colour in zip(sizes.items(), ("red", "blue"), strict=True):
        Image.new("RGB", size, colour).save(tmp_path / f"{name}.png")
    docs_pictures(panels=[str(tmp_path / "a.png"), str(tmp_path / "b.png")], docs_dir=str(tmp_path))
    whole = Image.open(tmp_path / "cases.jpg")
    assert (whole.format, whole.size) == ("JPEG", (900, 400 + 150))
    red, blue = (np.asarray(whole.getpixel((450, row))) for row in (200, 475))
    assert red[0] > 200 > blue[0]
    assert blue[2] > 200 > red[2]


def test_a_higher_threshold_draws_less(tmp_path: Path) -> None:
    folder = tmp_path / "mni152_lesion"
    folder.mkdir()
    values = np.zeros((20, 24, 18), np.float32)
    values[5:15, 6:18, 4:14] = 5
    values[8:12, 10:14, 7:11] = 30
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    parts = {"": np.ones_like(values), "_label": (values > 20).astype(np.uint8), "/mni152_lesion_anomaly_map": values}
    for name, volume in parts.items():
        nib.save(nib.Nifti1Image(volume, affine), f"{folder}{name}.nii.gz")
    (folder / "result.json").write_text(json.dumps({"threshold": 2.0}))
    draw_thresholds(tmp_path, tmp_path / "picture.png", threshold=20)
    pixels = np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")).astype(int)
    green = (pixels[..., 1] > pixels[..., 0] + 60) & (pixels[..., 1] > pixels[..., 2] + 60)
    titles = pixels.shape[0] // 12  # the top of each row of planes
    first, second = np.split(green[: 2 * (green.shape[0] // 2)], 2)
    assert first[titles:].sum() > 1.5 * second[titles:].sum() > 0


def test_what_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to make"):
        docs_pictures()
    with pytest.raises(InputError, match="no such picture"):
        docs_pictures(panels=[str(tmp_path / "a.png")], docs_dir=str(tmp_path))
    with pytest.raises(InputError, match="no result of the demo"):
        docs_pictures(demo_dir=str(tmp_path), docs_dir=str(tmp_path))
