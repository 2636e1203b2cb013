"""Read the fields of a YAML file with a message for every way in which they can be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Formatter

import yaml

from scripts.errors import InputError

__all__ = ["Fields", "load_yaml_mapping"]


def load_yaml_mapping(path: Path) -> dict[str, object]:
    """Load a YAML file whose top level is a mapping.

    Raises:
        InputError: if the file is missing, is not YAML or holds something else.
    """
    if not path.is_file():
        raise InputError("file not found", path=path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not a YAML file ({' '.join(str(error).split())})", path=path) from error
    if not isinstance(values, dict):
        raise InputError(f"must hold a mapping of keys to values, got {type(values).__name__}", path=path)
    return {str(key): value for key, value in values.items()}


class Fields:
    """Give typed access to the values of a mapping that was read from a file.

    Args:
        values: the mapping.
        path: the file, for the messages.
    """

    def __init__(self, values: Mapping[str, object], *, path: Path) -> None:
        """Keep the mapping and the file that it came from."""
        self._values = values
        self._path = path

    def check_known(self, known: Iterable[str]) -> None:
        """Check that there are no other keys than the known ones.

        Raises:
            InputError: naming the unknown and the known keys.
        """
        known = list(known)
        unknown = [key for key in self._values if key not in known]
        if unknown:
            raise InputError(f"unknown key(s) {', '.join(unknown)}; known keys: {', '.join(known)}", path=self._path)

    def text(
        self,
        key: str,
        *,
        default: str | None = None,
        choices: tuple[str, ...] = (),
        placeholders: tuple[str, ...] = (),
    ) -> str:
        """Return a text.

        Args:
            key: key of the value.
            default: value if the key is absent; without one the key is required.
            choices: valid values; any if empty.
            placeholders: names that may stand in braces; if empty, braces have no meaning.

        Raises:
            InputError: if the value is missing, not a text, none of the choices or has another placeholder.
        """
        value = self._get(key, default)
        self._check_text(key, value, placeholders)
        if choices and value not in choices:
            raise self._invalid(key, f"one of {', '.join(choices)}", value)
        return str(value)

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of texts that has at least one entry and none twice.

        Raises:
            InputError: if the value is anything else.
        """
        value = self._get(key, None)
        if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
            raise self._invalid(key, "a list of names", value)
        if not value or len(set(value)) < len(value):
            raise self._invalid(key, "at least one name and none twice", value)
        return tuple(value)

    def texts(
        self,
        key: str,
        *,
        keys: tuple[str, ...],
        default: Mapping[str, str] | None = None,
        placeholders: tuple[str, ...] = (),
    ) -> dict[str, str]:
        """Return a mapping of some of `keys` to texts.

        Raises:
            InputError: if the value is anything else.
        """
        value = self._get(key, default)
        if not isinstance(value, dict) or not set(value) <= set(keys):
            raise self._invalid(key, f"a mapping with keys out of {', '.join(keys)}", value)
        for name, text in value.items():
            self._check_text(f"{key}.{name}", text, placeholders)
        return dict(value)

    def _get(self, key: str, default: object) -> object:
        value = self._values.get(key, default)
        if value is None:
            raise InputError(f"`{key}` is missing", path=self._path)
        return value

    def _check_text(self, key: str, value: object, placeholders: tuple[str, ...]) -> None:
        if not isinstance(value, str) or not value.strip():
            raise self._invalid(key, "a text that is not empty", value)
        if not placeholders:
            return
        try:
            used = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
        except ValueError as error:
            raise self._invalid(key, "a text with matching braces", value) from error
        if not used <= set(placeholders):
            raise self._invalid(key, f"a text with no other placeholders than {', '.join(placeholders)}", value)

    def _invalid(self, key: str, expected: str, value: object) -> InputError:
        return InputError(f"`{key}` must be {expected}, got {value!r}", path=self._path)
