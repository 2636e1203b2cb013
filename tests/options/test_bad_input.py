"""Every option of every config against every kind of wrong value: one line that says what, where and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.errors import InputError
from scripts.options.fields import checked
from scripts.options.workflows import CONFIGS

WRONG: dict[str, Any] = {
    "a word": "abc",
    "NaN": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "minus one": -1,
    "a fraction": 1.5,
    "huge": 10**30,
    "a truth value": True,
    "None": None,
    "empty": "",
    "an empty list": [],
    "a mapping": {"a": 1},
    "bytes": b"\xff",
    "a long text": "x" * 5000,
    "a NUL": "a\0b",
    "an object": object(),
}
# What is no mistake: all that an option takes of the above; its description in scripts/options says what it means.
TAKEN: dict[str, str] = {
    "a fraction": "regularization ssim_sigma smoothing_sigma memory_budget_mb grid_spacing lesion_bins_ml max_median_ml "
    "max_p95_ml population_smoothing component_smoothing learning_rate weight_decay cloud_covariance threshold min_volume_ml "
    "max_gradient_norm anomaly_weight",
    "a truth value": "min_max median_scaling population shared_noise progress bias_correction quality_control overwrite force picture "
    "report dicom longitudinal keep_published_splits full_resolution ema_ramp anomalies resume activation_checkpointing",
    "a word": "bundle_root input output_dir outputs preset dataset_dir model_dir datasets log_dir train_datasets "
    "thresholds_file series population_dir ckpt_dir dataset brain_mask t1 operating_point checkpoint thresholds lesion_dir "
    "default_point baseline session_label bids_filter_file cache_dir init_weights encoder_path healthy untrained lesion held_out t1_datasets",
    "None": "shard cluster series population_components autocast_dtype modality limit decoder_width role brain_mask t1 operating_point checkpoint thresholds "
    "lesion_dir default_point baseline session_label bids_filter_file cache_dir init_weights encoder_path threshold",
    "empty": "threshold",
    "an empty list": "save session_label healthy untrained lesion held_out t1_datasets",
    "infinity": "max_gradient_norm",
    "huge": "max_gradient_norm",
}
NOT_EVERYWHERE = {"None": {"modality"}}  # evaluate.yaml and train.yaml need one


def rows() -> Iterator[tuple[str, str, str]]:
    for config, model in CONFIGS.items():
        for name in model.model_fields:
            for kind in WRONG:
                if name not in TAKEN.get(kind, "").split():
                    yield config, name, kind


ROWS = list(rows())


@pytest.mark.parametrize("config", CONFIGS)
def test_every_wrong_value_is_refused_in_one_line_that_names_the_option_the_value_and_one_that_would_do(
    config: str,
) -> None:
    for _, name, kind in (row for row in ROWS if row[0] == config):
        with pytest.raises(InputError) as caught:
            checked(CONFIGS[config], name, WRONG[kind], where="my.yaml")
        reported = str(caught.value)
        assert re.fullmatch(rf"my\.yaml: `{name}` must be .+, got .+\. For example --{name} .+", reported), (
            name,
            kind,
            reported,
        )
        assert len(reported) < 420, (name, kind)


def test_the_table_is_large_and_what_an_option_takes_is_taken() -> None:
    assert len(ROWS) >= 300
    for kind, names in TAKEN.items():
        for name in names.split():
            models = [model for model in CONFIGS.values() if name in model.model_fields]
            assert models, name
            taken = 0
            for model in models:
                try:
                    checked(model, name, WRONG[kind])
                    taken += 1
                except InputError:
                    assert name in NOT_EVERYWHERE.get(kind, ()), (name, kind)
            assert taken, (name, kind)


@pytest.mark.parametrize(("config", "model"), CONFIGS.items())
def test_the_example_of_a_refusal_is_taken(config: str, model: type) -> None:
    for name in model.model_fields:
        with pytest.raises(InputError) as caught:
            checked(model, name, object())
        example = str(caught.value).rsplit(f"--{name} ", 1)[1]
        checked(model, name, example)


@pytest.mark.parametrize(
    ("name", "near"), [("num_sample", "num_samples"), ("smoothing_sigm", "smoothing_sigma"), ("moality", "modality")]
)
def test_an_unknown_option_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"there is no option --{name}\. Did you mean --{near}\?"):
        checked(CONFIGS["inference"], name, 1)
