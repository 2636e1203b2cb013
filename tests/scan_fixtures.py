"""Phantoms as NIfTI files and as loaded cases."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from scripts.data.phantom import phantom_affine, phantom_volume


@pytest.fixture
def write_nifti(tmp_path):
    """Factory: an array as a NIfTI file in a temporary folder; returns its path."""

    def write(array, name: str, affine=None) -> Path:
        array = np.asarray(array)
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(array, phantom_affine() if affine is None else affine), path)
        return path

    return write


@pytest.fixture
def load():
    """Load a case from disk as the configs do: channel first, with metadata."""

    def _load(**paths):
        return LoadImaged(list(paths), ensure_channel_first=True, image_only=True)(paths)

    return _load


@pytest.fixture
def phantom_case():
    """Factory: a case in memory, image [1, H, W, D] float32, brain mask and label uint8, with their affine."""

    def make(shape=(24, 24, 16), spacing=2.0, *, seed=0, affine=None, lesion=True):
        affine = torch.as_tensor(phantom_affine(shape, spacing) if affine is None else affine)
        volumes = phantom_volume(shape, seed, lesion=lesion)
        return {
            key: MetaTensor(torch.from_numpy(volume.copy())[None], affine=affine)
            for key, volume in zip(("image", "brain_mask", "label"), volumes, strict=True)
        }

    return make
