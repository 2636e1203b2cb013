"""What the steps found out about a scan, carried along with it as JSON text that survives collating."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["NOTES_KEY", "add_note", "read_notes"]

NOTES_KEY = "notes"


def read_notes(data: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Return the notes of a case: a dict of facts for each step that left some, empty where none did."""
    return json.loads(data.get(NOTES_KEY) or "{}")


def add_note(data: dict[Any, Any], step: str, **facts: Any) -> None:
    """Add facts to a step's note of a case, in place.

    Args:
        data: the dict of one case.
        step: name of the step, such as `brain_extraction`.
        **facts: what JSON can hold: text, numbers, truth values, None, lists and dicts of these.

    Raises:
        TypeError: if a fact is nothing that JSON can hold.
    """
    notes = read_notes(data)
    notes.setdefault(step, {}).update(facts)
    data[NOTES_KEY] = json.dumps(notes)
