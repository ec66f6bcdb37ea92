"""Combine several Avro schemas that reference one another into one, for the readers of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fastavro

NAMED = ("record", "error", "enum", "fixed")
"""Kinds of types that have a name and can be used by it."""

_OURS = ("__fastavro_parsed__", "__named_schemas")


def whole_schema(schemas: Sequence[Any]) -> Any:
    """Return the last of several schemas, with the types of the others at their first use.

    Each schema is after those that it references. A single schema is returned unchanged.

    >>> money = {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}
    >>> whole_schema([money, ["null", "Money"]])[1]["fields"]
    [{'name': 'cents', 'type': 'long'}]

    Raises
    ------
    Exception
        Any error of fastavro for an invalid Avro schema.
    """
    named: dict[str, Any] = {}
    schemas = [without_invalid_types(schema) for schema in schemas]
    parsed = [fastavro.parse_schema(schema, named) for schema in schemas][-1]
    # A parsed schema no longer shows which of its types are used by name.
    return schemas[0] if len(schemas) == 1 else _inlined(parsed, named, set())


def without_invalid_types(schema: Any) -> Any:
    """Return a schema without logical types that Avro's specification requires to ignore.

    Java registers a decimal with a scale above its precision, and reads its bytes. fastavro does
    not.
    """
    if isinstance(schema, list):
        return [without_invalid_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = dict(schema)
    if kept.get("logicalType") == "decimal" and not _is_decimal(kept):
        del kept["logicalType"]
    if isinstance(fields := kept.get("fields"), list):
        kept["fields"] = [_without_invalid_types_in(field) for field in fields]
    return kept | {
        name: without_invalid_types(kept[name])
        for name in ("type", "items", "values")
        if name in kept
    }


def _without_invalid_types_in(field: Any) -> Any:
    if not isinstance(field, dict) or "type" not in field:
        return field
    return field | {"type": without_invalid_types(field["type"])}


def _is_decimal(schema: dict[str, Any]) -> bool:
    precision, scale, size = schema.get("precision"), schema.get("scale", 0), schema.get("size")
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision:
        return False
    if schema.get("type") == "fixed":
        most = (1 << (8 * size - 1)) - 1 if type(size) is int and 0 < size < 1_000 else 0
        return 0 < precision < len(str(most))
    return schema.get("type") == "bytes" and precision > 0


def _inlined(type_: Any, named: dict[str, Any], seen: set[str]) -> Any:
    """Return a parsed type in which each named type is defined at its first use."""
    if isinstance(type_, list):
        return [_inlined(branch, named, seen) for branch in type_]
    if isinstance(type_, str):
        is_new = type_ in named and type_ not in seen
        return _inlined(named[type_], named, seen) if is_new else type_
    if type_["type"] in NAMED:
        name = type_["name"]
        if name in seen:
            return name
        seen.add(name)
    whole = {name: value for name, value in type_.items() if name not in _OURS}
    if "fields" in whole:
        whole["fields"] = [f | {"type": _inlined(f["type"], named, seen)} for f in whole["fields"]]
    for inner in ("items", "values"):
        if inner in whole:
            whole[inner] = _inlined(whole[inner], named, seen)
    if isinstance(whole["type"], dict | list):
        whole["type"] = _inlined(whole["type"], named, seen)
    return whole
