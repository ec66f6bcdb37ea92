"""Convert the fields of a click record: nested names, texts, times."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import getitem, itemgetter
from typing import Any
from uuid import UUID

import msgspec

from ader_stream.errors import ClickError

Fields = Mapping[str, Any]
Path = tuple[str, ...]

MAX_TIME = 253_402_300_799_999
"""The last ms of the year 9999."""

RESERVED_KEY = "__partition__"
"""Start of the changelog's keys of a partition's own state: no session key starts with it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MS = timedelta(milliseconds=1)


def path_of(name: str) -> Path:
    r"""Return the steps of a nested name; a dot that belongs to a name itself is written ``\.``.

    >>> path_of("event.user.id"), path_of(r"event.user\.id")
    (('event', 'user', 'id'), ('event', 'user.id'))
    """
    return tuple(step.replace(r"\.", ".") for step in re.split(r"(?<!\\)\.", name))


def picker(session: str, item: str, time: str) -> Callable[[Fields], tuple[Any, Any, Any]]:
    """Return a function that reads three fields; KeyError or TypeError if one is missing.

    >>> picker("user.id", "sku", "at")({"user": {"id": 7}, "sku": "hat", "at": 5})
    (7, 'hat', 5)
    """
    paths = [path_of(name) for name in (session, item, time)]
    if all(len(path) == 1 for path in paths):
        return itemgetter(*(path[0] for path in paths))
    first, second, third = map(_getter, paths)
    return lambda fields: (first(fields), second(fields), third(fields))


def optional(name: str, default: object) -> Callable[[Fields], Any]:
    """Return a function that reads a field of a record; a missing field is `default`."""
    get = _getter(path_of(name))

    def read(fields: Fields) -> Any:
        try:
            return get(fields)
        except (KeyError, TypeError):
            return default

    return read


def missing_field(fields: Fields, names: Iterable[str]) -> ClickError:
    """Return an error that names the missing field, and what the record has instead."""
    for name in names:
        at: object = fields
        for step in path_of(name):
            if not isinstance(at, Mapping) or step not in at:
                return ClickError("missing-field", f"no field {name!r}; found: {_found(at)}")
            at = at[step]
    raise AssertionError("no field is missing")


def session_key(name: str, value: object) -> str:
    """Return a session key as text."""
    key = text(name, value)
    if key.startswith(RESERVED_KEY):
        raise ClickError("bad-value", f"{name} = {key!r}: reserved for the sessionizer's changelog")
    return key


def text(name: str, value: object) -> str:
    """Return an id as text; it may be a text, a whole number, a UUID or the bytes of a text."""
    if type(value) is str and value:
        return value
    if type(value) is int or type(value) is UUID:
        return str(value)
    if type(value) is bytes and value:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    raise ClickError("bad-value", f"{name} = {value!r:.100}: expected a text or a whole number")


def json_text(name: str, value: object) -> str:
    """Return a field that passes through as JSON."""
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ClickError("bad-value", f"{name}: cannot be passed on as JSON: {error}") from None


def time_reader(name: str, time_format: str) -> Callable[[object], int]:
    """Return a function that converts a field to ms since 1970; Avro timestamps work in any format.

    >>> time_reader("at", "iso8601")("1970-01-01T01:00:00.5+01:00"), time_reader("at", "s")(1.5)
    (500, 1500)
    """
    read_any, expected = any_time_reader(time_format), TIME_FORMATS[time_format][1]

    def read(value: object) -> int:
        ms = read_any(value)
        if 0 <= ms <= MAX_TIME:
            return ms
        raise ClickError(
            "bad-value", f"{name} = {value!r:.100}: expected {expected}, from 1970 to 9999"
        )

    def read_ms(value: object) -> int:
        return value if type(value) is int and 0 <= value <= MAX_TIME else read(value)

    return read_ms if time_format == "ms" else read


def any_time_reader(time_format: str) -> Callable[[object], int]:
    """Return a function that converts a field to ms since 1970, in any year; negative: no time.

    >>> any_time_reader("s")(1_717_410_158_253)
    1717410158253000
    """
    to_ms, _ = TIME_FORMATS[time_format]

    def read(value: object) -> int:
        return _datetime_to_ms(value) if isinstance(value, datetime) else to_ms(value)

    return read


def _getter(path: Path) -> Callable[[Fields], Any]:
    if len(path) == 1:
        return itemgetter(path[0])
    return lambda fields: reduce(getitem, path, fields)


def _found(at: object) -> str:
    if not isinstance(at, Mapping):
        return f"{type(at).__name__} in place of an object"
    return ", ".join(f"{field!r:.50}" for field in sorted(map(str, at))[:10]) or "none"


_NO_TIME = -1


def _ms(value: object) -> int:
    return value if type(value) is int else _NO_TIME


def _us(value: object) -> int:
    return value // 1_000 if type(value) is int else _NO_TIME


def _s(value: object) -> int:
    if type(value) is float:
        return round(value * 1_000) if 0 <= value <= MAX_TIME else _NO_TIME
    return value * 1_000 if type(value) is int else _NO_TIME


def _iso8601(value: object) -> int:
    try:
        return _datetime_to_ms(datetime.fromisoformat(value)) if type(value) is str else _NO_TIME
    except (ValueError, OverflowError):
        return _NO_TIME


def _datetime_to_ms(value: datetime) -> int:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _ONE_MS


TIME_FORMATS: Mapping[str, tuple[Callable[[object], int], str]] = {
    "ms": (_ms, "a whole number of ms"),
    "s": (_s, "a number of s"),
    "us": (_us, "a whole number of µs"),
    "iso8601": (_iso8601, "ISO 8601"),
}
"""Format of an event time → its conversion to ms, and the expectation in messages."""
