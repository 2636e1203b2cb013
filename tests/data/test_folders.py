"""Where data lie and results go: command line before environment before `.env`."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from scripts.data import data_dir, log_dir
from scripts.data.datalists import load_datalist
from scripts.errors import InputError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without `.env`, and an environment without the two variables."""
    for name in ("DATA_DIR", "LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("from_env", "from_file"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_without_any_setting_the_names_are_plain_folders() -> None:
    assert (data_dir(), log_dir()) == ("data", "runs")


def test_env_file_of_the_working_directory_is_read(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text('DATA_DIR="from_file"\nLOG_DIR=logs  # made later\n')
    assert (data_dir(), log_dir()) == ("from_file", "logs")


def test_environment_comes_before_the_file_and_empty_values_count_as_none(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / ".env").write_text("DATA_DIR=from_file\nLOG_DIR=logs\n")
    monkeypatch.setenv("DATA_DIR", "from_env")
    monkeypatch.setenv("LOG_DIR", "")
    assert (data_dir(), log_dir()) == ("from_env", "logs")


def test_home_is_expanded(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(empty_folder))
    monkeypatch.setenv("DATA_DIR", "~/from_env")
    assert data_dir() == str(empty_folder / "from_env")


def test_folder_that_is_not_there_is_named_with_where_it_was_set(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / ".env").write_text("DATA_DIR=gone\nLOG_DIR=.env\n")
    with pytest.raises(InputError, match=r"gone: `DATA_DIR` \(from \.env\) is not a folder\. Correct it, or give --data"):
        data_dir()
    with pytest.raises(InputError, match=r"\.env: `LOG_DIR` \(from \.env\) is a file\. Name a folder"):
        log_dir()
    monkeypatch.setenv("DATA_DIR", "nowhere")
    with pytest.raises(InputError, match=r"nowhere: `DATA_DIR` \(from the environment\) is not a folder"):
        data_dir()
    monkeypatch.delenv("DATA_DIR")
    with pytest.raises(InputError, match=r"`dataset_dir` is not a folder\. Give --dataset_dir .* set DATA_DIR"):
        load_datalist("data", "MSLUB", "test")


@pytest.mark.parametrize("name", ["train", "preprocess"])
def test_configs_read_both_and_the_command_line_wins(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DATA_DIR", "from_env")
    monkeypatch.setenv("LOG_DIR", "logs")
    parser = ConfigParser()
    parser.read_config(str(root / "bundle" / "configs" / f"{name}.yaml"))
    assert parser.get_parsed_content("dataset_dir") == "from_env"
    if name == "train":
        assert parser.get_parsed_content("output_dir") == "logs/train_t1_fold0"
    parser.read_config(str(root / "bundle" / "configs" / f"{name}.yaml"))
    parser["dataset_dir"] = "given"
    assert parser.get_parsed_content("dataset_dir") == "given"
