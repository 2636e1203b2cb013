"""The log of a command holds what its user can act on."""

from __future__ import annotations

import warnings

import pytest

from scripts.log import quiet_log


def _warn(message: str, category: type[Warning], module: str) -> None:
    warnings.warn_explicit(message, category, filename=f"{module}.py", lineno=1, module=module)


def test_what_a_user_cannot_change_is_left_out_and_the_rest_stays():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        quiet_log()
        _warn("parsing config_file a.yaml: `eval()`", UserWarning, "monai.bundle.scripts")
        _warn("`torch.cuda.amp.autocast` is deprecated", FutureWarning, "generative.networks.layers")
        _warn("NvImgCodecPydicomReader: no plugin", UserWarning, "monai.data.image_reader")
        _warn("of ours", FutureWarning, "scripts.ops")
        _warn("the scan is cut off", UserWarning, "scripts.quality")
    assert [str(one.message) for one in seen] == ["of ours", "the scan is cut off"]


def test_filters_stay_within_their_block():
    with warnings.catch_warnings():
        quiet_log()
    with pytest.warns(UserWarning, match="parsing config_file"):
        warnings.warn("parsing config_file", UserWarning, stacklevel=1)
