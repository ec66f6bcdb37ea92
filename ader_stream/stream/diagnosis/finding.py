"""Results of checks, and how their texts write durations and shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

Level = Literal["ok", "warning", "waiting", "error"]
"""``waiting``: nothing is wrong, but the current clicks would close no session."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Parameters
    ----------
    level
        How severe it is.
    text
        What was found, with the value and the expectation.
    remedy
        What to do; empty if nothing is to be done.
    details
        The numbers in the text, for programs.
    check
        Name of the check.
    """

    level: Level
    text: str
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    check: str = ""


_UNITS = ((DAY_MS, "days"), (HOUR_MS, "hours"), (MINUTE_MS, "minutes"), (SECOND_MS, "seconds"))


def as_duration(ms: int) -> str:
    """Return a span of time in its largest unit.

    >>> as_duration(7 * DAY_MS), as_duration(5_400_000), as_duration(12)
    ('7 days', '1.5 hours', '12 ms')
    """
    for unit, name in _UNITS:
        if abs(ms) >= unit:
            return f"{round(ms / unit, 1):g} {name}"
    return f"{ms} ms"


def as_percent(part: int, whole: int) -> str:
    """Return a share.

    >>> as_percent(1, 3), as_percent(1, 1000)
    ('33%', '0.1%')
    """
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.0f}%" if percent >= 1 or not part else f"{percent:.1g}%"
