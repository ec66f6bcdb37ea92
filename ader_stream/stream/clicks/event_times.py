"""Convert event times to ms since 1970: numbers in a unit, texts, and Avro timestamps."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

from ader_stream.errors import ClickError

MAX_TIME = 253_402_300_799_999
"""The last ms of the year 9999."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MS = timedelta(milliseconds=1)

_NO_TIME = -1

_LARGEST = 10**30
"""More than any time in a wrong unit, which must be recognised."""

Number = int | float | Decimal

_WHOLE = re.compile(r"[0-9]{1,30}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE]\+?[0-9]{1,2})?")

_DIGITS = re.compile(r"([0-9]{8})([0-9]{6})([0-9]{0,9})")
"""``20240603102238`` and, after it, a fraction of the second."""

_LONGEST_DIGITS = 23

_WITH_ZONE = re.compile(
    r"(?P<local>\d{4}-?\d\d-?\d\d(?:[Tt ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,12})?)?)?)?)"
    r"\s*(?P<offset>(?<!^\d{8})(?<!^\d{4}-\d\d-\d\d)[+-]\d\d(?::?\d\d)?|[Zz])?"
    r"\s*(?P<utc>UTC|GMT)?\s*(?P<zone>\[[A-Za-z0-9_+/:-]{1,40}\])?",
    re.ASCII,
)
"""A day alone has no offset: readers do not agree on what it would mean."""

_NO_OFFSET = frozenset({None, "Z", "z", "+00", "+0000", "+00:00", "-00", "-0000", "-00:00"})
_UTC_ZONES = frozenset({"[UTC]", "[GMT]", "[Z]", "[Etc/UTC]", "[Etc/GMT]"})

_RFC_2822 = re.compile(
    r"(?:[A-Z][a-z]{2},\s+)?\d{1,2}\s+[A-Z][a-z]{2}\s+\d{4}\s+\d\d:\d\d(?::\d\d)?\s+"
    r"(?:GMT|UTC|UT|Z|[+-]\d{4})(?:\s+\([^)]{0,40}\))?",
    re.ASCII,
)

_LONGEST_TEXT = 100
"""Characters; no time is longer."""


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


def number_in(value: object) -> Number | None:
    """Return the number, not negative, that a value is, or that a text is.

    >>> number_in(5), number_in("1.5"), number_in("five"), number_in(True)
    (5, Decimal('1.5'), None, None)
    """
    if type(value) is int or type(value) is float or type(value) is Decimal:
        return value
    if type(value) is str:
        if _WHOLE.fullmatch(value):
            return int(value)
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    return None


def _ms(value: object) -> int:
    return value if type(value) is int else _scaled(value, 1)


def _s(value: object) -> int:
    if type(value) is float and 0 <= value <= MAX_TIME:
        return round(value * 1_000)
    return value * 1_000 if type(value) is int else _scaled(value, 1_000)


def _us(value: object) -> int:
    return value // 1_000 if type(value) is int else _divided(value, 1_000)


def _ns(value: object) -> int:
    return value // 1_000_000 if type(value) is int else _divided(value, 1_000_000)


def _scaled(value: object, factor: int) -> int:
    """Return a number of a larger unit, rounded to ms."""
    number = number_in(value)
    if number is None or not 0 <= number <= _LARGEST:
        return _NO_TIME
    return round(number * factor)


def _divided(value: object, divisor: int) -> int:
    """Return the whole ms in a number of a smaller unit."""
    number = number_in(value)
    if number is None or not 0 <= number <= _LARGEST:
        return _NO_TIME
    return int(number // divisor)


def _iso8601(value: object) -> int:
    try:
        if type(value) is str:
            if len(value) <= _LONGEST_DIGITS and not _has_separator(value):
                return _datetime_to_ms(_from_digits(value))
            return _datetime_to_ms(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        pass
    return _other_text(value)


def _has_separator(text: str) -> bool:
    """Return whether a text has a day and perhaps a time: not the ms or an offset after the day."""
    return not text.isdecimal() and text[10:11] not in ("+", "-")


def _from_digits(text: str) -> datetime:
    if len(text) == len("20240603"):
        return datetime.fromisoformat(text)
    if match := _DIGITS.fullmatch(text):
        day, clock, fraction = match.groups()
        return datetime.fromisoformat(f"{day}T{clock}.{fraction or 0}")
    raise ValueError


def _other_text(value: object) -> int:
    """Convert what serialisers write beside ISO 8601, if it is unambiguous."""
    try:
        if type(value) is list:
            return _datetime_to_ms(_from_parts(value))
        if type(value) is str and len(value) <= _LONGEST_TEXT:
            return _datetime_to_ms(_from_text(value.strip()))
    except (ValueError, TypeError, OverflowError):
        pass
    return _NO_TIME


def _from_text(text: str) -> datetime:
    if _RFC_2822.fullmatch(text):
        return parsedate_to_datetime(text)
    match = _WITH_ZONE.fullmatch(text)
    if match is None:
        raise ValueError
    local, offset, utc, zone = match.groups()
    if (utc and offset not in _NO_OFFSET) or (zone and not (offset or utc or zone in _UTC_ZONES)):
        raise ValueError  # two zones, or one that is known by its name alone
    is_utc = offset in ("Z", "z") or (not offset and (utc or zone))
    return datetime.fromisoformat(local + ("+00:00" if is_utc else offset or ""))


def _from_parts(parts: list[object]) -> datetime:
    """Return a time that Java's Jackson writes as a list: [2024, 6, 3, 10, 22, 38, NANOSECONDS].

    Zeros at its end may be missing.
    """
    numbers = [part for part in parts if type(part) is int]
    if not 3 <= len(numbers) == len(parts) <= 7:
        raise ValueError
    year, month, day, hour, minute, second, nanosecond = [*numbers, 0, 0, 0, 0][:7]
    return datetime(year, month, day, hour, minute, second, nanosecond // 1_000, UTC)


def _datetime_to_ms(value: datetime) -> int:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _ONE_MS


TIME_FORMATS: Mapping[str, tuple[Callable[[object], int], str]] = {
    "ms": (_ms, "a number of ms"),
    "s": (_s, "a number of s"),
    "us": (_us, "a number of µs"),
    "ns": (_ns, "a number of ns"),
    "iso8601": (_iso8601, "ISO 8601"),
}
"""Format of an event time → its conversion to ms, and the expectation in messages."""
