"""Durations and points in time, as users write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

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


def duration_text(duration: int) -> str:
    """Write milliseconds in the largest unit below weeks that divides them.

    >>> duration_text(1_800_000), duration_text(1_500), duration_text(604_800_000)
    ('30m', '1500ms', '7d')
    """
    units = [(unit, size) for unit, size in _UNITS.items() if unit != "w" and duration % size == 0]
    unit, size = max(units, key=lambda one: one[1]) if duration else ("ms", 1)
    return f"{duration // size}{unit}"


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


def instant_text(time: int) -> str:
    """Write milliseconds since 1970 as ISO 8601; as a number where the calendar ends.

    >>> instant_text(86_400_000), instant_text(86_400_007), instant_text(-(10**15))
    ('1970-01-02T00:00:00Z', '1970-01-02T00:00:00.007Z', '-1000000000000000')
    """
    try:
        instant = datetime.fromtimestamp(time // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(time)
    below = f".{time % 1000:03}" if time % 1000 else ""
    return f"{instant.replace(tzinfo=None).isoformat()}{below}Z"
