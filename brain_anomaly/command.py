"""The commands `brain-anomaly` and `brain-anomaly-bids`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.paths import bundle_root

__all__ = ["main", "main_bids", "scans_and_output"]

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
    """
    end = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    places, options = list(words[:end]), list(words[end:])
    return (places, None, options) if len(places) < 2 else (places[:-1], places[-1], options)


def main(words: Sequence[str] | None = None) -> None:
    """Run `brain-anomaly SCAN… OUT [--option value …]`."""
    words = sys.argv[1:] if words is None else words
    _show_version(words)
    scans, output, options = scans_and_output(words)
    places = [scans[0] if len(scans) == 1 else repr(scans)] if scans else []
    sys.argv = [sys.argv[0], *places, *([output] if output else []), *options]
    from scripts.cli.analyze import main as analyze_main

    analyze_main()


def main_bids(words: Sequence[str] | None = None) -> None:
    """Run `brain-anomaly-bids BIDS_DIR OUT participant|group`, as BIDS Apps are called."""
    words = sys.argv[1:] if words is None else words
    _show_version(words)
    parser = argparse.ArgumentParser(prog="brain-anomaly-bids", description=_NOTICE, allow_abbrev=False)
    parser.add_argument("bids_dir", help="the BIDS data set")
    parser.add_argument("output_dir", help="the derivatives go here")
    parser.add_argument("analysis_level", choices=["participant", "group"], help="group writes tables and index.html")
    label = parser.add_argument("--participant-label", "--participant_label", nargs="+", default=[], metavar="LABEL")
    label.help = "with or without sub-; all by default"
    parser.add_argument("--version", action="store_true", help="show the version and end")
    given, options = parser.parse_known_args(list(words))
    if given.analysis_level == "participant":
        folders = [str(path) for path in _participants(Path(given.bids_dir), given.participant_label, parser)]
        main([*(folders or [given.bids_dir]), given.output_dir, *options])
    elif options:
        parser.error(f"unknown at the group level: {' '.join(options)}")
    else:
        _write_group(given.bids_dir, given.output_dir)


def _participants(folder: Path, labels: Sequence[str], parser: argparse.ArgumentParser) -> list[Path]:
    paths = [folder / f"sub-{label.removeprefix('sub-')}" for label in labels]
    for path in paths:
        if not path.is_dir():
            parser.error(f"{folder} has no {path.name}")
    return paths


def _write_group(bids_dir: str, output_dir: str) -> None:
    """Write the tables and the page of all participants that have a result."""
    from scripts.data import find_scans
    from scripts.errors import InputError
    from scripts.results import result_path
    from scripts.workflows.cohort import write_bids_description, write_cohort

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    items, rows = [], []
    for item in find_scans(bids_dir):
        path = result_path(output_dir, item, "result", suffix=".json")
        if path.is_file():
            items.append(item)
            rows.append(dict[str, Any](json.loads(path.read_text(encoding="utf-8"))))
    if not rows:
        raise InputError("there is no result of a participant", path=output_dir, fix="Run the participant level first")
    write_bids_description(output_dir, items)
    write_cohort(output_dir, items, rows)
    logging.getLogger(__name__).info("%d scans: %s", len(rows), Path(output_dir) / "index.html")


def _show_version(words: Sequence[str]) -> None:
    if "--version" in words:
        sys.stdout.write(f"{version()}\n")
        sys.exit(0)
