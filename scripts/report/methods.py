"""How a result was made, in sentences that can go into a paper, with what to cite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["CITATION", "methods_text"]

_BUNDLE = "brain_mri_anomaly_segmentation"
CITATION = """\
@inproceedings{behrendt2024mahalanobis,
  author    = {Behrendt, Finn and others},
  title     = {Leveraging the {Mahalanobis} Distance to enhance Unsupervised Brain {MRI} Anomaly Detection},
  booktitle = {Medical Image Computing and Computer Assisted Intervention (MICCAI)},
  year      = {2024},
  doi       = {10.1007/978-3-031-72120-5_37}
}
"""
_RESIDUALS = {"ssim": "1 − SSIM", "l1": "the absolute error", "l2": "the squared error"}


def methods_text(result: Mapping[str, Any]) -> list[str]:
    """Return sentences about how a scan with a map was analysed; what the result does not hold is left out.

    Args:
        result: the content of `result.json`.
    """
    settings, steps = result.get("parameters") or {}, result.get("preprocessing") or {}
    version = (result.get("versions") or {}).get(_BUNDLE)
    scan = {"t1": "T1-weighted scan", "t2": "T2-weighted scan"}.get(str(result.get("modality")), "scan")
    sentences = [f"The {scan} was analysed with {_BUNDLE}{f' {version}' if version else ''}."]
    sentences += _preparation(steps)
    if "num_samples" in settings and "timestep" in settings:
        sentences.append(
            f"A diffusion model that learnt healthy brains only reconstructed each axial slice "
            f"{settings['num_samples']} times from {settings.get('noise', '')} noise at timestep "
            f"{settings['timestep']}.".replace("  ", " ")
        )
    residual = _RESIDUALS.get(str(settings.get("residual")))
    sentences.append(
        "The anomaly map is the Mahalanobis distance of the scan from these reconstructions"
        + (f", weighted by {residual} between the scan and their mean." if residual else ".")
    )
    return [*sentences, *_regions(result, settings)]


def _preparation(steps: Mapping[str, Any]) -> list[str]:
    brain = (steps.get("brain_extraction") or {}).get("method")
    alignment = (steps.get("alignment") or {}).get("method")
    found = [f"The brain mask came from: {brain}."] if brain else []
    return found + ([f"It was placed on MNI152 by: {alignment}."] if alignment else [])


def _regions(result: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    if result.get("threshold") is None:
        return []
    smallest = settings.get("min_volume_ml")
    kept = f" of at least {smallest:g} ml" if isinstance(smallest, int | float) and smallest > 0 else ""
    return [
        f"Voxels of the map at or above {result['threshold']:.5g} that touch each other (by a face, edge or corner) "
        f"form a candidate region; regions{kept} are listed, ranked by the map's excess over the threshold summed over "
        "their volume. Names follow the nearest of a set of landmarks in MNI152."
    ]
