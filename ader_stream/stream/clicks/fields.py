"""Read the fields of a click record, wherever they are, and convert them to texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import reduce
from operator import getitem, itemgetter
from typing import Any
from uuid import UUID

import msgspec

from ader_stream.errors import ClickError
from ader_stream.stream.clicks.formats.json_values import decode_inner_json
from ader_stream.stream.clicks.language.paths import Field, FirstOf, ItemWith, Joined, Path, Step

Fields = Mapping[Any, Any]
"""Fields of a record's value by their names, and the parts of the record (`RecordPart`)."""

Get = Callable[[Fields], Any]

RESERVED_KEY = "__partition__"
"""Start of the changelog's keys of a partition's own state: no session key starts with it."""

LARGEST_WHOLE_FLOAT = 2**53
"""A larger float may be another whole number than the one that was written."""

_INDEX = re.compile(r"-?[0-9]{1,9}")


def getter(field: Field) -> Get:
    """Return a function that reads a field; KeyError or TypeError if it is missing.

    >>> getter(("user", "id"))({"user": '{"id": 7}'})
    7
    """
    if isinstance(field, FirstOf):
        return _first_of(field)
    if isinstance(field, Joined):
        return _joined(field)
    if len(field) == 1:
        return itemgetter(field[0])

    def read(fields: Fields) -> Any:
        try:
            return reduce(getitem, field, fields)
        except (KeyError, TypeError):
            return reduce(_descend, field, fields)

    return read


def picker(session: Field, item: Field, time: Field) -> Callable[[Fields], tuple[Any, Any, Any]]:
    """Return a function that reads three fields; KeyError or TypeError if one is missing.

    >>> picker(("user", "id"), ("sku",), ("at",))({"user": {"id": 7}, "sku": "hat", "at": 5})
    (7, 'hat', 5)
    """
    fields = session, item, time
    if all(isinstance(field, tuple) and len(field) == 1 for field in fields):
        return itemgetter(session[0], item[0], time[0])  # type: ignore[index]
    first, second, third = map(getter, fields)
    return lambda fields: (first(fields), second(fields), third(fields))


def optional(field: Field, default: object) -> Get:
    """Return a function that reads a field of a record; a missing field is `default`."""
    get = getter(field)

    def read(fields: Fields) -> Any:
        try:
            return get(fields)
        except (KeyError, TypeError):
            return default

    return read


def is_absent(value: object) -> bool:
    """Return whether a value is null or an empty text; a missing one is read as null."""
    return value is None or value == ""


def missing_field(fields: Fields, named: Iterable[tuple[str, Field]]) -> ClickError:
    """Return an error that names the missing field, and what the record has instead."""
    for name, field in named:
        if (found := _found_instead(fields, field)) is not None:
            return ClickError("missing-field", f"no field {name!r}; found: {found}")
    raise AssertionError("no field is missing")


def session_key(name: str, value: object) -> str:
    """Return a session key as text."""
    key = text(name, value)
    if key.startswith(RESERVED_KEY):
        raise ClickError("bad-value", f"{name} = {key!r}: reserved for the sessionizer's changelog")
    return key


def text(name: str, value: object) -> str:
    """Return an id as text; it may be a text, a whole number, a UUID or the bytes of a text.

    >>> text("sku", 101.0)
    '101'
    """
    if type(value) is str and value:
        return value
    if type(value) is int or type(value) is UUID:
        return str(value)
    if type(value) is bytes and value:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    if _is_whole(value):
        return str(int(value))  # type: ignore[call-overload]
    raise ClickError("bad-value", f"{name} = {value!r:.100}: expected a text or a whole number")


def json_text(name: str, value: object) -> str:
    """Return a field that passes through as JSON."""
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ClickError("bad-value", f"{name}: cannot be passed on as JSON: {error}") from None


def _first_of(field: FirstOf) -> Get:
    options = [optional(option, None) for option in field.options]

    def read(fields: Fields) -> Any:
        for get in options:
            if not is_absent(value := get(fields)):
                return value
        raise KeyError(field)

    return read


def _joined(field: Joined) -> Get:
    """Read several fields as one text, from which each of them could be found again."""
    parts = [getter(part) for part in field.parts]

    def read(fields: Fields) -> str:
        values = [get(fields) for get in parts]
        if any(map(is_absent, values)):
            raise KeyError(field)
        return ":".join([escaped_part(text("part", value)) for value in values])

    return read


def escaped_part(part: str) -> str:
    r"""Return a part of a joined text, with ``\`` before each colon of its own.

    >>> escaped_part("a:b")
    'a\\:b'
    """
    return part.replace("\\", "\\\\").replace(":", "\\:")


def _descend(at: Any, step: Step) -> Any:
    """Return what a step leads to, in an object, in a list, or in a text that holds JSON.

    Raises
    ------
    KeyError, TypeError
        If there is nothing, or no object and no list.
    """
    if type(at) is str or type(at) is bytes:
        at = _inner_json(at)
    if type(at) is list:
        return _item(at, step)
    if isinstance(at, Mapping):
        return at[step]
    raise TypeError


def _inner_json(value: str | bytes) -> Any:
    try:
        return decode_inner_json(value)
    except ValueError:
        raise TypeError from None


def _item(items: list[Any], step: Step) -> Any:
    if isinstance(step, ItemWith):
        for item in items:
            if isinstance(item, Mapping) and _is_same(item.get(step.name), step.value):
                return item
        raise KeyError(step)
    if not (isinstance(step, str) and _INDEX.fullmatch(step)):
        raise TypeError
    try:
        return items[int(step)]
    except IndexError:
        raise KeyError(step) from None


def _is_same(value: object, written: str) -> bool:
    return value == written or (type(value) is int and str(value) == written)


def _is_whole(value: object) -> bool:
    if type(value) is float:
        return value.is_integer() and abs(value) <= LARGEST_WHOLE_FLOAT
    return type(value) is Decimal and value.is_finite() and value == value.to_integral_value()


def _found_instead(fields: Fields, field: Field) -> str | None:
    """Return what a record has where a field is missing; None if the field is there."""
    try:
        getter(field)(fields)
    except (KeyError, TypeError):
        pass
    else:
        return None
    if isinstance(field, tuple):
        return _found_on(fields, field)
    if isinstance(field, Joined):
        return next(filter(None, (_found_instead(fields, part) for part in field.parts)), "none")
    return _found(fields)


def _found_on(fields: Fields, path: Path) -> str:
    """Return what a record has at the first step of a path that leads to nothing."""
    at: Any = fields
    for step in path:
        try:
            at = _descend(at, step)
        except (KeyError, TypeError):
            break
    return _found(at)


def _found(at: object) -> str:
    if type(at) is str or type(at) is bytes:
        with suppress(TypeError):
            at = _inner_json(at)
    if not isinstance(at, Mapping):
        return f"{type(at).__name__} in place of an object"
    names = sorted(name for name in at if isinstance(name, str))
    return ", ".join(f"{name!r:.50}" for name in names[:10]) or "none"
