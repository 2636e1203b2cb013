"""What an option may be, in words, and a value that would do, from its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["example", "must_be", "without_references"]


def without_references(schema: Any, definitions: Mapping[str, Any] | None = None) -> Any:
    """Return a JSON schema with what it refers to put in."""
    if isinstance(schema, list):
        return [without_references(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", definitions) or {}
    found = {name: without_references(part, definitions) for name, part in schema.items() if name != "$defs"}
    if "$ref" in found:
        found = {**definitions[found.pop("$ref").rsplit("/", 1)[1]], **found}
    return found


def must_be(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema allows."""
    if "must_be" in schema:
        return str(schema["must_be"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        parts = [must_be(part) for part in schema["anyOf"]]
        return ", or ".join(dict.fromkeys(parts))
    kind = schema.get("type")
    if kind == "array":
        return f"{_count(schema)} (each {must_be(schema.get('items', {}))})"
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(schema)
    return {"boolean": "true or false", "null": "none", "object": "a mapping such as {'max_epochs': 3}"}.get(
        str(kind), "text" if kind == "string" else "a value"
    )


def _count(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if least == most:
        return f"a list of {least}"
    return "a list of one or more" if least == 1 else "a list"


def _range(schema: Mapping[str, Any]) -> str:
    low, above, high, below = _bounds(schema)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    words = []
    if low is not None or above is not None:
        words.append(f"of at least {low}" if low is not None else f"above {above}")
    if high is not None or below is not None:
        words.append(f"at most {high}" if high is not None else f"below {below}")
    return f" {' and '.join(words)}" if words else ""


def _bounds(schema: Mapping[str, Any]) -> list[Any]:
    """Return the bounds ge, gt, le and lt; pydantic leaves them these names where a check stands before a kind."""
    names = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}
    return [schema.get(name, schema.get(short)) for name, short in names.items()]


_EXAMPLES = {"string": "text", "boolean": "true", "null": "none", "object": "\"{'max_epochs': 3}\""}


def example(schema: Mapping[str, Any]) -> str:
    """Return a value that would do."""
    if "examples" in schema:
        return str(schema["examples"][0])
    if "anyOf" in schema:
        return example(next((part for part in schema["anyOf"] if part.get("type") != "null"), schema["anyOf"][0]))
    if schema.get("type") == "array":
        count = max(1, schema.get("minItems", 1))
        return ",".join([example(schema.get("items", {}))] * count)
    if "enum" in schema or "const" in schema:
        return str(schema["enum"][0] if "enum" in schema else schema["const"])
    if schema.get("type") in ("integer", "number"):
        return _number_in(schema)
    return _EXAMPLES.get(str(schema.get("type")), str(schema.get("must_be", "text")).split(",")[0].split(" or ")[0])


def _number_in(schema: Mapping[str, Any]) -> str:
    low, above, high, below = _bounds(schema)
    if low is not None:
        return str(low)
    above, top = above or 0, below if high is None else high
    return str(above + 1 if top is None or above + 1 < top else (above + top) / 2)
