"""What an option is: its kind, its range, its unit and its meaning, and the one way in which a value is refused."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from enum import Enum
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from scripts.errors import InputError
from scripts.options.values import AUTO, NONE, example, flag, must_be, without_references

__all__ = [
    "AutocastDtype",
    "Device",
    "Flag",
    "GridSize",
    "Names",
    "NetworkDtype",
    "Number",
    "OddOrNone",
    "Options",
    "PathText",
    "Paths",
    "Seed",
    "Shard",
    "Text",
    "Threshold",
    "Whole",
    "checked",
    "checked_field",
    "checked_kind",
    "field_schema",
    "is_flag",
    "list_of",
    "mapping_or",
    "no_bool",
    "none_or",
    "option",
    "shown",
    "unknown_option",
]

_AXES, _STRIDE = 3, 8  # of a volume, and of the network in a slice
_LONGEST = 60  # characters of a value that a message shows
_LONGEST_PATH = 4096
_NO_NUMBER = (*NONE, AUTO)


def option(meaning: str, *, unit: str = "", group: str = "", **bounds: Any) -> Any:
    """Declare a field of `Options`.

    Args:
        meaning: in words, for help pages; no full stop.
        unit: of a number.
        group: heading that it stands under in a help page.
        **bounds: of pydantic's `Field`: ge, gt, le, lt, min_length, default, …
    """
    return Field(description=meaning, json_schema_extra={"unit": unit, "group": group}, **bounds)


def shown(value: object) -> str:
    """Return a value for a message, in one line and cut where it is long."""
    text = repr(str(value)) if isinstance(value, PathLike | Enum) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def no_bool(value: Any) -> Any:
    """Refuse a truth value where a number is due, and take the spaces off a text."""
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    if isinstance(value, str):
        return value.strip()
    return value


def _odd_or_zero(value: int) -> int:
    if value and value % 2 == 0:
        raise ValueError("even")
    return value


def _listed(value: Any) -> list[Any]:
    """Return a list, however it was written: one value, several with commas, or the text of a Python list."""
    if isinstance(value, str):
        text = value.strip()
        value = _evaluated(text) if text[:1] in ("[", "(") else [part.strip() for part in text.split(",")]
    if isinstance(value, Mapping | set | bytes) or value is None:
        raise ValueError("a list")
    return list(value) if isinstance(value, Iterable) else [value]


def _evaluated(text: str) -> Any:
    """Return the list that a text writes out; names need no quotes, as in [a.yaml,b.yaml]."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = [part.strip().strip("'\"") for part in text[1:-1].split(",")] if text[-1] in "])" else None
    if not isinstance(found, list | tuple):
        raise ValueError("a list")
    return found


def _mapping(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ValueError("a mapping")
    return value


def _path(value: Any) -> Any:
    if isinstance(value, PathLike):
        value = fspath(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > _LONGEST_PATH:
        raise ValueError("a path")
    return value


def _path_list(value: Any) -> Any:
    """Return one path as it is, and several as a list; a text in brackets is a list unless it is a path that exists."""
    if isinstance(value, str) and value.strip()[:1] == "[" and not Path(value).exists():
        value = _evaluated(value.strip())
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("empty")
        return [_path(part) for part in value]
    return _path(value)


def _device(value: Any) -> Any:
    text = str(value)
    kind, _, index = text.partition(":")
    if kind not in (AUTO, "cpu", "cuda", "mps", "xpu") or (index and not index.isdigit()) or text.endswith(":"):
        raise ValueError("a device")
    return text


def _one_or_listed(value: Any) -> Any:
    several = isinstance(value, list | tuple) or (isinstance(value, str) and bool(set(value) & set("[(,")))
    return _listed(value) if several else value


def _grid(sides: list[int]) -> list[int]:
    if len(sides) != _AXES or any(side % _STRIDE or side < 2 * _STRIDE for side in sides[:2]):
        raise ValueError("a grid")
    return sides


def _shard(value: Any) -> str:
    index, _, count = str(value).strip().partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count) <= 1_000_000):
        raise ValueError("a part")
    return f"{int(index)}/{int(count)}"


def _threshold(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("", *_NO_NUMBER) else no_bool(value)


def _or_none(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in _NO_NUMBER else value


def _none_by_name(value: Any) -> Any:
    return value if isinstance(value, str) and value.strip().lower() == AUTO else _or_none(value)


def _kind(base: Any, must_be: str, example: str, *checks: Any) -> Any:
    """Return a kind of value with the words that its refusal says, and an example."""
    return Annotated[(base, *checks, WithJsonSchema({"must_be": must_be, "examples": [example]}))]


if TYPE_CHECKING:  # what they are to a type checker
    Flag: TypeAlias = bool
    Whole: TypeAlias = int
    Seed: TypeAlias = int
    OddOrNone: TypeAlias = int
    Number: TypeAlias = float
    PathText: TypeAlias = str
    Device: TypeAlias = str
    Name: TypeAlias = str
    Paths: TypeAlias = str | list[str]
    Threshold: TypeAlias = float | None
    Names: TypeAlias = list[str]
    Text: TypeAlias = str
    Shard: TypeAlias = str
    GridSize: TypeAlias = list[int]
    AutocastDtype: TypeAlias = str | None
    NetworkDtype: TypeAlias = str | None
else:
    Flag = _kind(bool, "true or false", "true", BeforeValidator(flag))
    Whole = Annotated[int, BeforeValidator(no_bool)]
    Number = Annotated[float, BeforeValidator(no_bool), Field(allow_inf_nan=False)]
    Seed = Annotated[Whole, Field(ge=0, le=2**32 - 1)]
    OddOrNone = _kind(
        int,
        "0 or an odd whole number from 1 to 31",
        "3",
        BeforeValidator(no_bool),
        Field(ge=0, le=31),
        AfterValidator(_odd_or_zero),
    )
    PathText = _kind(str, "the path of a file or folder", "folder/name", BeforeValidator(_path))
    Paths = _kind(
        str | list[str], "the path of a file or folder, or a list of paths", "folder/name", BeforeValidator(_path_list)
    )
    Device = _kind(str, "auto, cpu, cuda, or one such as cuda:1", AUTO, BeforeValidator(_device))
    Threshold = _kind(
        Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] | None,
        f"a number from 0 to 1000000, or {AUTO}",
        AUTO,
        BeforeValidator(_threshold),
    )
    GridSize = _kind(
        list[Annotated[int, Field(ge=1, le=1024)]],
        "three whole numbers, the first two multiples of 8 from 16 to 1024",
        "96,96,80",
        BeforeValidator(_listed),
        AfterValidator(_grid),
    )
    Name = _kind(str, "a name of letters, digits, - and _", "name", Field(pattern=r"^[A-Za-z0-9_-]{1,100}$"))
    Text = _kind(str, "a text of one line", "text", Field(min_length=1, max_length=1000, pattern=r"^[^\x00\r\n]+$"))
    Shard = _kind(str, "i/n, the i-th of n parts, counted from 1", "2/8", BeforeValidator(_shard))
    Names = _kind(
        list[Text], "a name, or a list of names", "name", BeforeValidator(_listed), Field(min_length=1, max_length=1000)
    )
    NetworkDtype = Annotated[Literal["bfloat16", "float16"] | None, BeforeValidator(_or_none)]
    AutocastDtype = Annotated[Literal["auto", "bfloat16", "float16"] | None, BeforeValidator(_none_by_name)]


def list_of(kind: Any, *, least: int = 1, most: int | None = None) -> Any:
    """Return the kind of a list, which may be written as one value, with commas, or as a Python list."""
    return Annotated[list[kind], BeforeValidator(_listed), Field(min_length=least, max_length=most)]


def one_or_several(kind: Any) -> Any:
    """Return the kind of one value or a list of at least one."""
    return Annotated[kind | list_of(kind), BeforeValidator(_one_or_listed)]


def none_or(kind: Any) -> Any:
    """Return a kind that may be left out: None, or its text none, null or auto."""
    return Annotated[kind | None, BeforeValidator(_or_none)]


def mapping_or(default: None) -> Any:
    """Return the kind of a mapping, which may be written as a Python dict, or left out."""
    return Annotated[dict[str, Any] | default, BeforeValidator(_mapping)]


def is_flag(field: FieldInfo) -> bool:
    """Return whether a field is an on/off option."""
    return field.annotation is bool


class Options(BaseModel):
    """Options that are declared as fields; wrong ones are refused with `InputError`."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def __init__(self, **values: Any) -> None:
        """Check the values."""
        values = {name: checked(type(self), name, value) for name, value in values.items()}
        super().__init__(**values)

    @classmethod
    def check(cls, values: Mapping[str, Any], *, where: str | PathLike[str] | None = None) -> dict[str, Any]:
        """Return some of the options in their own types.

        Args:
            values: by name.
            where: the file that they come from, for the message.

        Raises:
            InputError: for the first that is unknown or cannot be used.
        """
        return {name: checked(cls, name, value, where=where) for name, value in values.items()}


def checked(model: type[Options], name: str, value: Any, *, where: str | PathLike[str] | None = None) -> Any:
    """Return the value of one option in its own type.

    Args:
        model: what declares it.
        name: of the option.
        value: as it was given.
        where: the file that it comes from, for the message.

    Raises:
        InputError: if there is no such option, or the value cannot be used.
    """
    if name not in model.model_fields:
        raise unknown_option(name, model.model_fields, where=where)
    return checked_field(name, model.model_fields[name], value, where=where)


def checked_field(name: str, field: FieldInfo, value: Any, *, where: str | PathLike[str] | None = None) -> Any:
    """Return a value in the type of a field, or raise `InputError`, which says what it must be and gives an example."""
    adapter = _adapter(repr(field), field)
    try:
        return adapter.validate_python(value)
    except (ValidationError, InputError):
        pass
    schema = without_references(adapter.json_schema())
    unit = f" ({schema['unit']})" if schema.get("unit") else ""
    what = f"`{name}` must be {must_be(schema)}{unit}, got {shown(value)}"
    raise InputError(what, path=where, fix=f"For example --{name} {example(schema)}")


def unknown_option(
    name: str, known: Iterable[str], *, where: str | PathLike[str] | None = None, mark: str = "--"
) -> InputError:
    """Return the error for an option that does not exist, with the nearest that does."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"Did you mean {mark}{near[0]}?" if near else "--help lists the options."
    return InputError(f"there is no option {mark}{shown(name)[1:-1]}", path=where, fix=hint)


def checked_kind(name: str, kind: Any, value: Any) -> Any:
    """Return a value in the type of a kind, or raise `InputError`; for an option that only one place takes."""
    return checked_field(name, FieldInfo.from_annotation(kind), value)


_ADAPTERS: dict[str, TypeAdapter[Any]] = {}


def _adapter(key: str, field: FieldInfo) -> TypeAdapter[Any]:
    if key not in _ADAPTERS:
        _ADAPTERS[key] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
    return _ADAPTERS[key]


def field_schema(key: str, field: FieldInfo) -> dict[str, Any]:
    """Return the JSON schema of an option, without references."""
    found: dict[str, Any] = without_references(_adapter(key, field).json_schema())
    return found
