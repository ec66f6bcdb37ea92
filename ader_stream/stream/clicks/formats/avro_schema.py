"""Find the fields of an Avro schema, and remove logical types that are not needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ader_stream.stream.clicks.language.paths import (
    Field,
    FirstOf,
    Joined,
    Path,
    RecordPart,
    paths_in,
)

_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_COMPOUND = {"record", "error", "enum", "array", "map", "fixed"}
_MAY_HOLD_JSON = {"string", "bytes"}
_MILLIS = {"timestamp-millis", "local-timestamp-millis"}


def has_field(schema: Any, field: Field) -> bool:
    """Return whether a record of the schema may have a field; other parts of it always may."""
    if isinstance(field, FirstOf):
        return any(has_field(schema, option) for option in field.options)
    if isinstance(field, Joined):
        return all(has_field(schema, part) for part in field.parts)
    return isinstance(field[0], RecordPart) or _has(schema, field)


def without_needless_types(schema: Any, fields: Iterable[Field], millis: Path | None) -> Any:
    """Return a schema that reads the same bytes without values that are not needed.

    Building a decimal or a date costs more than reading the rest of a click. Outside of `fields`,
    logical types are removed. So is the timestamp-millis at the path `millis`: the number of ms
    is what is needed. Schemas that use a type by its name are not changed: what is removed at one
    place would be missing at the other.
    """
    if _uses_types_by_name(schema):
        return schema
    return _slim(schema, [path for field in fields for path in paths_in(field)], millis)


def _has(schema: Any, path: Path) -> bool:
    if not path:
        return True
    if isinstance(schema, list):
        return any(_has(branch, path) for branch in schema)
    if not isinstance(schema, dict):
        return schema not in _PRIMITIVES or schema in _MAY_HOLD_JSON
    if schema["type"] in ("map", "array"):
        return _has(schema["values" if schema["type"] == "map" else "items"], path[1:])
    if schema["type"] in ("record", "error"):
        fields = (field["type"] for field in schema["fields"] if field["name"] == path[0])
        return any(_has(type_, path[1:]) for type_ in fields)
    return _has(schema["type"], path)


def _uses_types_by_name(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_uses_types_by_name, schema))
    if isinstance(schema, dict):
        fields = (field["type"] for field in schema.get("fields", ()))
        inner = [schema[name] for name in ("items", "values") if name in schema]
        type_ = [] if schema["type"] in _COMPOUND else [schema["type"]]
        return any(map(_uses_types_by_name, [*fields, *inner, *type_]))
    return schema not in _PRIMITIVES


def _slim(schema: Any, used: list[Path], time: Path | None) -> Any:
    """Follow the used paths into a schema; remove logical types in all other places."""
    if isinstance(schema, list):
        return [_slim(branch, used, time) for branch in schema]
    if () in used:
        return _plain(schema) if time == () and _is_millis(schema) else schema
    if not used:
        return _plain(schema)
    if not isinstance(schema, dict) or "fields" not in schema:
        return schema
    return schema | {"fields": [_slim_field(field, used, time) for field in schema["fields"]]}


def _slim_field(field: dict[str, Any], used: list[Path], time: Path | None) -> dict[str, Any]:
    name = field["name"]
    inside = [path[1:] for path in used if path[:1] == (name,)]
    time_inside = time[1:] if time and time[0] == name else None
    return field | {"type": _slim(field["type"], inside, time_inside)}


def _is_millis(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("logicalType") in _MILLIS


def _plain(schema: Any) -> Any:
    """Return a schema without its logical types."""
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: value for name, value in schema.items() if name != "logicalType"}
    if "fields" in plain:
        plain["fields"] = [f | {"type": _plain(f["type"])} for f in plain["fields"]]
    return plain | {
        name: _plain(plain[name]) for name in ("type", "items", "values") if name in plain
    }
