"""The sentences about a result say what was done, and nothing that is not known."""

from __future__ import annotations

from scripts.report.words import CITATION, methods_text


def test_sentences_hold_the_settings_that_were_used():
    settings = {"num_samples": 10, "timestep": 500, "noise": "simplex", "residual": "ssim", "min_volume_ml": 0.3}
    steps = {"brain_extraction": {"method": "deepbet"}, "alignment": {"method": "affine"}}
    versions = {"brain_mri_anomaly_segmentation": "9.9"}
    result = {"modality": "t2", "parameters": settings, "preprocessing": steps, "versions": versions, "threshold": 1.25}
    text = " ".join(methods_text(result))
    for fact in (
        "The T2-weighted scan was analysed with brain_mri_anomaly_segmentation 9.9.", "deepbet", "by: affine.",
        "10 times from simplex noise at timestep 500", "1 − SSIM", "at or above 1.25", "regions of at least 0.3 ml",
    ):  # fmt: skip
        assert fact in text
    assert "  " not in text


def test_what_is_not_known_is_left_out():
    text = " ".join(methods_text({}))
    assert text.startswith("The scan was analysed with brain_mri_anomaly_segmentation. The anomaly map is")
    for fact in ("None", "MNI152", "reconstructed each", "candidate region"):
        assert fact not in text
    assert " of at least" not in " ".join(methods_text({"threshold": 1, "parameters": {"min_volume_ml": 0.0}}))


def test_the_citation_is_a_whole_bibtex_entry():
    assert CITATION.startswith("@inproceedings{")
    assert CITATION.count("{") == CITATION.count("}")
