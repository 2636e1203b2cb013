"""Files that are written whole or not at all, and what killed processes leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import files
from scripts.files import file_sha256, remove_left_over, replacing, temporary_folder


def test_a_file_is_replaced_only_when_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.json"
    with replacing(target) as temporary:
        temporary.write_text("old")
    with pytest.raises(ValueError, match="stop"), replacing(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ValueError("stop")
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("name", ["n" * 248 + ".nii.gz", "ü" * 120 + ".json", "plain", "a.b.nii", ".hidden"])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("x")
        assert len(os.fsencode(temporary.name)) < 60
        assert temporary.name.endswith(Path(name).suffix)
    assert (tmp_path / name).read_text() == "x"


def test_file_and_folder_are_on_the_disk_before_and_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(files, "_to_disk", lambda path: events.append("folder" if path.is_dir() else "file"))
    monkeypatch.setattr(files.os, "replace", lambda old, new: (events.append("rename"), Path(old).rename(new)))
    with replacing(tmp_path / "x") as temporary:
        temporary.write_text("x")
    assert events == ["file", "rename", "folder"]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path: Path, root: Path) -> None:
    program = "import os, sys\nfrom scripts.files import replacing\nwith replacing(sys.argv[1]) as t:\n    t.write_text('half')\n    os._exit(9)"
    command = [sys.executable, "-c", program, str(tmp_path / "x.nii.gz")]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert done.returncode == 9
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    with replacing(tmp_path / "y") as temporary:
        temporary.write_text("x")
        assert left[0].exists() is False
        assert remove_left_over(tmp_path) == []
        assert temporary.exists()


def test_a_folder_of_a_killed_process_is_removed(tmp_path: Path, root: Path) -> None:
    program = "import os, sys\nfrom scripts.files import temporary_folder\nfolder = temporary_folder(sys.argv[1])\nos._exit(9)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with temporary_folder(tmp_path) as name:
        assert [path.name for path in tmp_path.iterdir()] == [Path(name).name]
    assert not list(tmp_path.iterdir())


def test_files_of_other_machines_and_other_users_stay(tmp_path: Path) -> None:
    names = [".tmp-00000000-1-00000000.json", ".tmp-notes", ".123_x.json"]
    for name in names:
        (tmp_path / name).write_text("x")
    remove_left_over(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
