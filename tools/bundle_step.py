"""One step of a fold, training or evaluation: a `monai.bundle` command in a process of its own, done once."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from scripts.errors import InputError
from scripts.options.bundle_run import check_arguments
from scripts.paths import bundle_root, project_root
from scripts.report.tables import write_json
from scripts.results import portable_command

__all__ = ["Step", "StepError", "bundle_command", "end_on_signals", "file_hash"]

logger = logging.getLogger(__name__)
_MARK, _STARTED = "finished.json", "started.json"
_PATIENCE_S = 30


class StepError(RuntimeError):
    """A command that ended with an error; the message says what its log ends with, and where it is."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and the folder of its results.

    Attributes:
        name: in words, for the messages.
        command: the program and its arguments.
        folder: where it writes; `started.json` there names the command, `finished.json` marks that it ended well.
        product: file in the folder that must be there at the end.
        resumable: file in the folder with which an interrupted run goes on, by `--resume true`.
        inputs: hashes of files that the result depends on.
    """

    name: str
    command: Sequence[str]
    folder: Path
    product: str
    resumable: str = ""
    inputs: Mapping[str, str] | None = None

    @property
    def log(self) -> Path:
        """Where the output of the command goes."""
        return self.folder.with_suffix(".log")

    def run(self, *, overwrite: bool = False) -> Path:
        """Run the command, unless it has ended well before.

        Args:
            overwrite: run it again, whatever is there.

        Returns:
            The product.

        Raises:
            InputError: if the folder holds the result of another command. Where only the inputs are others, the
                command runs again from its beginning.
            StepError: if the command fails.
        """
        if not overwrite and self._is_done():
            logger.info("%s: done before", self.name)
            return self.folder / self.product
        going_on = not overwrite and self._was_interrupted()
        (self.folder / _MARK).unlink(missing_ok=True)
        command = list(self.command)
        if going_on:
            command += ["--resume", "true"]
            logger.info("%s: goes on from %s", self.name, self.resumable)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / _STARTED, self._identity())
        logger.info("%s: running, the output goes to %s", self.name, self.log)
        reported = self.log.stat().st_size if self.log.is_file() else 0
        path = os.pathsep.join(part for part in (str(project_root()), os.environ.get("PYTHONPATH", "")) if part)
        with self.log.open("a", encoding="utf-8") as log:
            code = _run_to_its_end(command, log, {**os.environ, "PYTHONPATH": path})
        if code or not (self.folder / self.product).is_file():
            raise StepError(f"{self.name} failed (status {code}): {_last_line(self.log, reported)} ({self.log})")
        write_json(self.folder / _MARK, self._identity())
        return self.folder / self.product

    def _is_done(self) -> bool:
        """Return whether the step has ended well, with the same command and inputs."""
        return (self.folder / self.product).is_file() and self._is_of_this(_MARK)

    def _was_interrupted(self) -> bool:
        """Return whether the same command with the same inputs has begun, and can go on."""
        begun = self.resumable and (self.folder / self.resumable).is_file() and not (self.folder / _MARK).is_file()
        return bool(begun) and self._is_of_this(_STARTED)

    def _is_of_this(self, mark: str) -> bool:
        """Return whether a mark is there and names the same inputs; another command's is refused."""
        path = self.folder / mark
        if not path.is_file():
            return False
        found, wanted = json.loads(path.read_text(encoding="utf-8")), self._identity()
        if found["sha256"] != wanted["sha256"]:
            what = f"it holds the result of another command: {found['command']}; now it is {wanted['command']}"
            raise InputError(what, path=self.folder, fix="Choose another --output_dir, or give --overwrite true.")
        return found["inputs"] == wanted["inputs"]

    def _identity(self) -> dict[str, Any]:
        """Return what the result depends on; the command without the machine's own paths, and a hash of all of it."""
        whole = "\0".join(self.command[1:])
        return {
            "command": portable_command(["python", *self.command[1:]]),
            "sha256": hashlib.sha256(whole.encode()).hexdigest(),
            "inputs": dict(self.inputs or {}),
        }


def _run_to_its_end(command: Sequence[str], log: IO[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its status; what ends this process ends the command first.

    A process that is killed can do nothing any more: then Linux ends the command.
    """
    last_wish = _end_with_parent() if sys.platform == "linux" else None
    with subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=environment, preexec_fn=last_wish
    ) as process:
        try:
            return process.wait()
        except BaseException:  # of any kind: a signal comes as SystemExit or KeyboardInterrupt
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _end_with_parent() -> Callable[[], None]:
    """Return what a new process calls to be sent SIGTERM when the one that started it has ended."""
    prctl, set_parent_death_signal, parent = ctypes.CDLL(None).prctl, 1, os.getpid()

    def call() -> None:
        prctl(set_parent_death_signal, int(signal.SIGTERM))
        if os.getppid() != parent:  # it has ended already
            os._exit(128 + signal.SIGTERM)

    return call


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as an interrupt does, so that what it runs is ended too."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def bundle_command(configs: Sequence[str], options: Mapping[str, Any], *, run_id: str = "") -> list[str]:
    """Return the command line of a bundle's run.

    Args:
        configs: names of files in configs/ without ending, or paths of YAML files; later ones are overlays.
        options: keys of the config and their values; None is left out.
        run_id: what to run, such as `training`.

    Raises:
        InputError: if a config does not exist, or an option does not or has a value that cannot be used.
    """
    folder = Path(bundle_root()) / "configs"
    files = [name if name.endswith((".yaml", ".yml")) else str(folder / f"{name}.yaml") for name in configs]
    absent = [name for name, file in zip(configs, files, strict=True) if not Path(file).is_file()]
    if absent:
        what = f"there is no config {absent[0]!r}"
        raise InputError(what, fix=f"Give the path of a YAML file, or a name in {folder} without its ending.")
    words = [sys.executable, "-m", "monai.bundle", "run", *([run_id] if run_id else []), "--config_file", str(files)]
    for key, value in options.items():
        if value is not None:
            words += [f"--{key}", str(value)]
    check_arguments(words[4:])
    return words


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, empty if it does not exist."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _last_line(log: Path, start: int) -> str:
    """Return the last line that says anything of a log, from the byte `start` on."""
    text = log.read_bytes()[start:].decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("error: ")]
    return (reasons or lines or ["no output"])[-1]
