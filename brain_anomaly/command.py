"""The commands `brain-anomaly` and `brain-anomaly-bids`."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain_anomaly.completion import add_completed_options, complete
from scripts.errors import InputError
from scripts.paths import bundle_root

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["main", "main_bids", "scans_and_output"]

logger = logging.getLogger(__name__)
_VALIDATORS = ("bids-validator", "bids-validator-deno")
_NOTICE = "Research software; not a medical device."


def version() -> str:
    """Return the bundle's version."""
    metadata = Path(bundle_root(), "configs", "metadata.json")
    return str(json.loads(metadata.read_text(encoding="utf-8"))["version"])


def scans_and_output(words: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Split a command line into scans, output folder and options.

    Args:
        words: `SCAN… OUT --option …`; one word alone is a scan.

    Returns:
        The scans, the folder (None where it is not named), and the rest, from the first option on.

    Examples:
        >>> scans_and_output(["a.nii", "b.nii", "out", "--seed", "1"])
        (['a.nii', 'b.nii'], 'out', ['--seed', '1'])
    """
    end = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    places, options = list(words[:end]), list(words[end:])
    return (places, None, options) if len(places) < 2 else (places[:-1], places[-1], options)


def main(words: Sequence[str] | None = None) -> None:
    """Run `brain-anomaly SCAN… OUT [--option value …]`."""
    complete(_completed)
    words = sys.argv[1:] if words is None else words
    _show_version(words)
    scans, output, options = scans_and_output(words)
    places = [scans[0] if len(scans) == 1 else repr(scans)] if scans else []
    sys.argv = [sys.argv[0], *places, *([output] if output else []), *options]
    from scripts.cli.analyze import main as analyze_main

    analyze_main()


def _completed() -> argparse.ArgumentParser:
    """Return a parser that knows what may be typed."""
    parser = argparse.ArgumentParser(prog="brain-anomaly", allow_abbrev=False)
    parser.add_argument("places", nargs="*")
    parser.add_argument("--version", action="store_true")
    add_completed_options(parser, _analysis_options())
    return parser


def _analysis_options() -> dict[str, FieldInfo]:
    from scripts.cli.analyze import analyze
    from scripts.options.command import command_fields
    from scripts.options.workflows import InferenceOptions

    fields = command_fields(analyze, InferenceOptions)
    return {name: field for name, field in fields.items() if name not in ("input", "output_dir")}


def main_bids(words: Sequence[str] | None = None) -> None:
    """Run `brain-anomaly-bids BIDS_DIR OUT participant|group`, as BIDS Apps are called."""
    complete(_completed_bids)
    words = sys.argv[1:] if words is None else words
    _show_version(words)
    parser = _bids_parser()
    given, options = parser.parse_known_args(list(words))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if given.analysis_level == "group" and options:
            parser.error(f"unknown at the group level: {' '.join(options)}")
        _validate(given.bids_dir, skip=given.skip_bids_validation)
        folders = [str(path) for path in _participants(Path(given.bids_dir), given.participant_label, parser)]
        if given.analysis_level == "group":
            _write_group(folders or [given.bids_dir], given)
            return
    except InputError as error:
        parser.error(str(error))
    own = ["--session_label", ",".join(given.session_label)] if given.session_label else []
    own += ["--bids_filter_file", given.bids_filter_file] if given.bids_filter_file else []
    main([*(folders or [given.bids_dir]), given.output_dir, *own, *options])


def _bids_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="brain-anomaly-bids",
        description=_NOTICE,
        epilog="Options of brain-anomaly may follow at the participant level, such as --longitudinal; see its --help.",
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", help="the BIDS data set")
    parser.add_argument("output_dir", help="the derivatives go here")
    parser.add_argument("analysis_level", choices=["participant", "group"], help="group writes tables and index.html")
    for what, prefix in (("participant", "sub-"), ("session", "ses-")):
        names = (f"--{what}-label", f"--{what}_label")
        meaning = f"with or without {prefix}; all by default"
        parser.add_argument(*names, nargs="+", default=[], metavar="LABEL", help=meaning)
    meaning = 'JSON such as {"t1w": {"acquisition": "mprage"}}, as fMRIPrep has it'
    parser.add_argument("--bids-filter-file", "--bids_filter_file", metavar="FILE", help=meaning)
    meaning = "take the data set as valid; by default bids-validator is run where it is installed"
    parser.add_argument("--skip-bids-validation", "--skip_bids_validation", action="store_true", help=meaning)
    parser.add_argument("--version", action="store_true", help="show the version and end")
    return parser


def _completed_bids() -> argparse.ArgumentParser:
    parser = _bids_parser()
    known = {option for action in parser._actions for option in action.option_strings}
    fields = {name: field for name, field in _analysis_options().items() if f"--{name}" not in known}
    add_completed_options(parser, fields)
    return parser


def _validate(bids_dir: str, *, skip: bool) -> None:
    """Run the BIDS validator where it is installed.

    Raises:
        InputError: if it finds errors.
    """
    program = next(filter(None, map(shutil.which, _VALIDATORS)), None)
    if skip or program is None:
        if not skip:
            logger.info("%s: not validated, as bids-validator is not installed.", bids_dir)
        return
    done = subprocess.run([program, bids_dir], capture_output=True, text=True, check=False)
    if done.returncode:
        found = (done.stdout + done.stderr).strip()
        fix = "Correct the data set, or give --skip-bids-validation"
        raise InputError(f"{Path(program).name} finds errors:\n{found}", path=bids_dir, fix=fix)


def _participants(folder: Path, labels: Sequence[str], parser: argparse.ArgumentParser) -> list[Path]:
    paths = [folder / f"sub-{label.removeprefix('sub-')}" for label in labels]
    for path in paths:
        if not path.is_dir():
            parser.error(f"{folder} has no {path.name}")
    return paths


def _write_group(folders: Sequence[str], given: argparse.Namespace) -> None:
    """Write the tables, the page and the boilerplate of all participants that have a result."""
    from brain_anomaly.boilerplate import write_boilerplate
    from scripts.data import find_sessions
    from scripts.results import result_path
    from scripts.workflows.cohort import write_bids_description, write_cohort

    output_dir, items, rows = given.output_dir, [], []
    choice = {"session_label": given.session_label, "bids_filter_file": given.bids_filter_file}
    for item in find_sessions(list(folders), **choice):
        path = result_path(output_dir, item, "result", suffix=".json")
        if path.is_file():
            items.append(item)
            rows.append(dict[str, Any](json.loads(path.read_text(encoding="utf-8"))))
    if not rows:
        raise InputError("there is no result of a participant", path=output_dir, fix="Run the participant level first")
    write_bids_description(output_dir, items)
    write_cohort(output_dir, items, rows)
    write_boilerplate(Path(output_dir) / "logs", rows)
    logger.info("%d scans: %s", len(rows), Path(output_dir) / "index.html")


def _show_version(words: Sequence[str]) -> None:
    if "--version" in words:
        sys.stdout.write(f"{version()}\n")
        sys.exit(0)
