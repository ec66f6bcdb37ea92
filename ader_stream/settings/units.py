"""Durations, points in time and names of fields, as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from ader_stream.stream.clicks.fields import path_of
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

_UNITS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}


def parse_duration(value: object) -> int:
    """Read a duration as milliseconds.

    >>> parse_duration("1.5s"), parse_duration("7d")
    (1500, 604800000)

    Raises
    ------
    ValueError
        If it is negative or has no known unit.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*(ms|s|m|h|d|w)", str(value).strip())
    if not match:
        expected = "a number and one of ms, s, m, h, d, w, not negative: 500ms, 30m, 7d"
        raise ValueError(f"expected {expected}")
    return round(float(match[1]) * _UNITS[match[2]])


def parse_instant(value: object) -> int:
    """Read a point in time, ISO 8601 or whole milliseconds since 1970, as milliseconds.

    >>> parse_instant("1970-01-02T00:00:00Z"), parse_instant(12)
    (86400000, 12)

    Raises
    ------
    ValueError
        If it is neither.
    """
    if re.fullmatch(r"-?\d{1,15}", str(value)):
        return int(str(value))
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("expected ISO 8601 or ms since 1970: 2024-01-01T00:00:00Z") from None
    return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)


def check_field_name(name: str) -> str:
    r"""Refuse the name of a field, nested or not, that has an empty step.

    >>> check_field_name("event.user.id")
    'event.user.id'

    Raises
    ------
    ValueError
        If it has one.
    """
    if not all(path_of(name)):
        raise ValueError(
            r"expected a field's name: user, event.user.id, or user\.id with a dot in it"
        )
    return name


def parse_timeout(value: object) -> int | None:
    """Read a duration as milliseconds, or ``off`` as None.

    >>> parse_timeout("1m"), parse_timeout("off")
    (60000, None)

    Raises
    ------
    ValueError
        If it is neither.
    """
    return None if str(value).strip() == "off" else parse_duration(value)


Timeout = Annotated[int | None, BeforeValidator(parse_timeout)]
Duration = Annotated[int, BeforeValidator(parse_duration)]
Instant = Annotated[int, BeforeValidator(parse_instant)]
FieldName = Annotated[str, AfterValidator(check_field_name)]
