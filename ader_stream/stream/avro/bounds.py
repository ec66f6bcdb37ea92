"""Check whether few bytes can describe a value without end, by its schema."""

from __future__ import annotations

from typing import Any, NamedTuple

import fastavro

MOST_VALUES = 100_000
"""Most values that every record of a schema contains: with ten types, each with ten fields of the
next, a schema of a page makes ten thousand million values without bytes."""

_HOLDING = ("record", "error")


def is_recursive(schema: Any) -> bool:
    """Return whether a value of the schema may contain one of the same type, without end.

    >>> fields = [{"name": "next", "type": ["null", "Node"]}]
    >>> is_recursive({"type": "record", "name": "Node", "fields": fields})
    True
    """
    named: dict[str, Any] = {}
    return _leads_back(fastavro.parse_schema(schema, named), named, frozenset(), set())


def repeats_nothing(schema: Any) -> bool:
    """Return whether a value of the schema may contain a list of items without bytes.

    >>> repeats_nothing({"type": "array", "items": "null"})
    True
    """
    named: dict[str, Any] = {}
    parsed, sizes = fastavro.parse_schema(schema, named), dict[str, _Size]()
    arrays = [type_ for type_ in _types_in(parsed) if type_["type"] == "array"]
    return any(_least(type_["items"], named, sizes).bytes == 0 for type_ in arrays)


def require_few_values(schema: Any) -> None:
    """Raise ValueError for a schema with values that are too large, whatever the bytes are."""
    named: dict[str, Any] = {}
    parsed, sizes = fastavro.parse_schema(schema, named), dict[str, _Size]()
    for type_ in _types_in(parsed):
        if (count := _least(type_, named, sizes).values) > MOST_VALUES:
            raise ValueError(
                f"each {type_.get('name', 'value')!r:.100} holds {count} values; at most "
                f"{MOST_VALUES} are read"
            )


class _Size(NamedTuple):
    """Least size of a value of a type."""

    bytes: int
    values: int


_SMALLEST = {"null": _Size(0, 1), "float": _Size(4, 1), "double": _Size(8, 1)}
_A_BYTE = _Size(1, 1)
"""Size of all other types: a union has the number of its branch, a list its number of items."""


def _least(type_: Any, named: dict[str, Any], sizes: dict[str, _Size]) -> _Size:
    """Return the least size of a parsed type; `sizes` are those of known named types."""
    name = type_ if isinstance(type_, str) else type_["name"] if _has_name(type_) else None
    if name in named:
        if name not in sizes:
            sizes[name] = _Size(0, 1)  # during the visit: it may contain itself
            sizes[name] = _least_of_definition(named[name], named, sizes)
        return sizes[name]
    if isinstance(type_, dict) and type_["type"] not in ("array", "map"):
        return _least(type_["type"], named, sizes)
    return _SMALLEST.get(type_, _A_BYTE) if isinstance(type_, str) else _A_BYTE


def _least_of_definition(type_: Any, named: dict[str, Any], sizes: dict[str, _Size]) -> _Size:
    if type_["type"] in _HOLDING:
        fields = [_least(field["type"], named, sizes) for field in type_["fields"]]
        return _Size(sum(f.bytes for f in fields), 1 + sum(f.values for f in fields))
    return _Size(type_["size"], 1) if type_["type"] == "fixed" else _A_BYTE


def _has_name(type_: Any) -> bool:
    return isinstance(type_, dict) and "name" in type_


def _types_in(type_: Any) -> list[dict[str, Any]]:
    """Return every type that is defined in a parsed one, itself included."""
    if isinstance(type_, list):
        return [found for branch in type_ for found in _types_in(branch)]
    if not isinstance(type_, dict):
        return []
    inner = [type_[name] for name in ("items", "values") if name in type_]
    inner += [field["type"] for field in type_.get("fields", ())]
    if isinstance(type_["type"], dict | list):
        inner.append(type_["type"])
    return [type_, *_types_in(inner)]


def _leads_back(type_: Any, named: dict[str, Any], inside: frozenset[str], done: set[str]) -> bool:
    """Return whether a type leads to one that contains it; those in `done` do not."""
    if isinstance(type_, list):
        return any(_leads_back(branch, named, inside, done) for branch in type_)
    if isinstance(type_, str):
        if type_ in inside or type_ in done or type_ not in named:
            return type_ in inside
        return _leads_back(named[type_], named, inside, done)
    inner = [type_[name] for name in ("items", "values") if name in type_]
    inner += [field["type"] for field in type_.get("fields", ())]
    if isinstance(type_["type"], dict | list):
        inner.append(type_["type"])
    name = type_.get("name")
    inside = inside | {name} if name else inside
    if _leads_back(inner, named, inside, done):
        return True
    done.add(name or "")
    return False
