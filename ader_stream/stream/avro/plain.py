"""Records as frozen dataclasses, and as the plain values that Avro and JSON read and write.

A dataclass mirrors a schema field by field, in its order: a record is a dataclass, an array a
tuple, a map a mapping, a union with null an optional.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

Read = Callable[[Any], Any]


def from_plain(record: type[T], value: Mapping[str, Any]) -> T:
    """Return the dataclass that a plain value, which has every field, describes.

    >>> from ader_stream.stream.model_registry.manifest import PartOffsets
    >>> from_plain(PartOffsets, {"kind": "weights", "first_offset": 3, "last_offset": 5})
    PartOffsets(kind='weights', first_offset=3, last_offset=5)
    """
    hashable: Any = record  # as every class is, which mypy does not know of a type variable
    return record(**{name: read(value[name]) for name, read in _readers(hashable)})


def to_plain(value: Any) -> Any:
    """Return a dataclass as dicts and lists, its fields in their order; other values as they are.

    >>> from ader_stream.stream.model_registry.manifest import PartOffsets
    >>> to_plain((PartOffsets("weights", 3, 5),))
    [{'kind': 'weights', 'first_offset': 3, 'last_offset': 5}]
    """
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [to_plain(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value


@functools.cache
def _readers(record: type) -> tuple[tuple[str, Read], ...]:
    return tuple((name, _reader(hint)) for name, hint in get_type_hints(record).items())


def _reader(hint: Any) -> Read:
    if isinstance(hint, type) and is_dataclass(hint):
        return functools.partial(from_plain, hint)
    if get_origin(hint) is tuple:
        return functools.partial(_read_array, _reader(get_args(hint)[0]))
    if get_origin(hint) is UnionType:
        [inner] = set(get_args(hint)) - {NoneType}
        return functools.partial(_read_optional, _reader(inner))
    return _read_as_it_is


def _read_array(read: Read, values: list[Any]) -> tuple[Any, ...]:
    return tuple(map(read, values))


def _read_optional(read: Read, value: Any) -> Any:
    return None if value is None else read(value)


def _read_as_it_is(value: Any) -> Any:
    return value
