from __future__ import annotations

import pickle

import pytest

from scripts.errors import InputError


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "`k` must be 2 or more, got 1"),
        ({"path": "a.csv"}, "a.csv: `k` must be 2 or more, got 1"),
        ({"fix": "Set `k`"}, "`k` must be 2 or more, got 1. Set `k`"),
        ({"path": "a.csv", "fix": "Set `k`"}, "a.csv: `k` must be 2 or more, got 1. Set `k`"),
    ],
)
def test_message_says_where_what_and_what_to_do(parts: dict[str, str], message: str) -> None:
    assert str(InputError("`k` must be 2 or more, got 1", **parts)) == message


def test_full_stop_is_not_doubled() -> None:
    assert str(InputError("file is empty.", fix="Fill it")) == "file is empty. Fill it"


def test_is_a_value_error_that_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(InputError("file is empty", path="a.csv", fix="Fill it")))
    assert isinstance(error, ValueError)
    assert str(error) == "a.csv: file is empty. Fill it"
    assert (error.what, error.path, error.fix) == ("file is empty", "a.csv", "Fill it")
