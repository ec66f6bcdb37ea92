"""Check whether event times are plausible: the right unit, recent years, not all equal.

A wrong unit or a wrong field raises no error by itself: seconds that are read as milliseconds are
valid times in January 1970. They are detected by a sample, the clock, and the timestamps of the
records themselves.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Literal, NamedTuple

from ader_stream.times import instant_text
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

EARLIEST_MS = 946_684_800_000
"""2000-01-01: no click is older, and a time read in too small a unit is in 1970."""

AHEAD_MS = DAY_MS
"""How far clocks and time zones may put an event time ahead of the record's own timestamp."""

NO_TIMESTAMP = -1
"""Marks a record without a timestamp, or with one that only copies the event time."""

UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

_FACTORS = (Fraction(1_000), Fraction(1_000_000), Fraction(1, 1_000), Fraction(1, 1_000_000))

_NEARLY_ALL = 0.95
_SOME = 0.05
"""A smaller share means a few wrong clocks, not a second unit."""

_FEW = 3
"""Fewer times can be the wrong clocks of single devices, whatever their share."""

_ALIKE_FROM = 20
"""More clicks than happen in the same millisecond."""

_OFFSET_FROM = 10
_OFFSET_SPREAD_MS = 10 * MINUTE_MS
_HALF_HOUR_MS = HOUR_MS // 2
_FARTHEST_ZONE_MS = 14 * HOUR_MS
_ZONE_TOLERANCE_MS = 4 * MINUTE_MS

_YEAR_MS = DAY_MS * 365.2425


class TimeSample(NamedTuple):
    """An event time and the timestamp of its record, both in ms since 1970.

    `time` may be out of every range: a unit that is too large must be detected, too.
    """

    time: int
    timestamp: int = NO_TIMESTAMP


@dataclass(frozen=True, slots=True)
class TimeProblem:
    """A problem with event times.

    Parameters
    ----------
    level
        ``error`` where no useful sessions can result, else ``warning``.
    text
        How many times are wrong, which, and an example.
    unit
        The unit in which they would be right; empty if there is none.
    remedy
        What to do where no setting fixes it; empty where one may.
    """

    level: Literal["warning", "error"]
    text: str
    unit: str = ""
    remedy: str = ""


def find_time_problem(
    samples: Sequence[TimeSample], now: int, unit: str = ""
) -> TimeProblem | None:
    """Return the most severe problem with event times, or None.

    Old clicks may be sent again today: a time may be any number of years behind the record's
    timestamp.

    Parameters
    ----------
    samples
        In the order of the log.
    now
        The reader's clock, ms.
    unit
        Unit in which the times were read, a key of `UNITS_PER_SECOND`; empty where they have none.

    >>> find_time_problem([TimeSample(1_717_410_158)] * 2, 1_800_000_000_000, "ms").unit
    's'
    """
    if not samples:
        return None
    judged = _Judged(samples, now, unit)
    checks: tuple[Callable[[_Judged], TimeProblem | None], ...] = (
        _wrong_unit,
        _two_units,
        _out_of_range,
        _all_alike,
        _few_out_of_range,
        _half_alike,
        _without_time_of_day,
        _hours_apart,
    )
    return next((problem for check in checks if (problem := check(judged))), None)


def is_absurd(time: int, now: int) -> bool:
    """Return whether no click can have happened at a time (ms): before 2000, or in the future."""
    return not EARLIEST_MS <= time <= now + AHEAD_MS


def describe_time(time: int) -> str:
    """Return a time (ms) as ISO 8601, or as its year where that has more than four digits.

    >>> describe_time(1_717_410_158_253), describe_time(10**17)
    ('2024-06-03T10:22:38.253Z', 'the year 3170843')
    """
    text = instant_text(time)
    return f"the year {1970 + int(time / _YEAR_MS)}" if text == str(time) else text


class _Judged:
    """Samples, and the units that each of them could have."""

    def __init__(self, samples: Sequence[TimeSample], now: int, unit: str) -> None:
        self.samples, self.now, self.unit = samples, now, unit
        self.early = [s for s in samples if s.time < EARLIEST_MS]
        self.late = [s for s in samples if s.time > self.latest(s)]
        self.plausible = [s for s in samples if EARLIEST_MS <= s.time <= self.latest(s)]

    @property
    def own_times(self) -> list[int]:
        """Return the times that do not copy timestamps: records sent together may share one."""
        return [sample.time for sample in self.samples if sample.time != sample.timestamp]

    def latest(self, sample: TimeSample) -> int:
        """Return the latest time that a sample may have; a copy of the time is no evidence."""
        supported = EARLIEST_MS <= sample.timestamp != sample.time
        return AHEAD_MS + (min(sample.timestamp, self.now) if supported else self.now)

    def scaled(self, factor: Fraction) -> list[TimeSample]:
        """Return the samples that are wrong as they are, and right in another unit."""
        return [
            s for s in (*self.early, *self.late) if EARLIEST_MS <= s.time * factor <= self.latest(s)
        ]

    def best_factor(self) -> tuple[Fraction, list[TimeSample]]:
        return max(
            ((factor, self.scaled(factor)) for factor in _FACTORS), key=lambda found: len(found[1])
        )

    def share(self, some: Sequence[TimeSample]) -> float:
        return len(some) / len(self.samples)

    def count(self, some: Sequence[TimeSample]) -> str:
        return f"{len(some):,} of {len(self.samples):,} event times"


def _wrong_unit(judged: _Judged) -> TimeProblem | None:
    factor, fitting = judged.best_factor()
    if judged.share(fitting) < _NEARLY_ALL:
        return None
    example = fitting[0].time
    off = f"{int(factor):,} times too small" if factor > 1 else f"{int(1 / factor):,} times too big"
    text = (
        f"{judged.count(fitting)} are {off}: {_as_read(example, judged.unit)}, in "
        f"{_named(judged.unit, factor)} it would be {describe_time(int(example * factor))}"
    )
    return TimeProblem("error", text, _unit_of(judged.unit, factor))


def _two_units(judged: _Judged) -> TimeProblem | None:
    factor, fitting = judged.best_factor()
    if judged.share(fitting) < _SOME or min(len(fitting), len(judged.plausible)) < _FEW:
        return None
    text = (
        f"two units in one field: {judged.count(fitting)} are in {_named(judged.unit, factor)} "
        f"({_as_read(fitting[0].time, judged.unit)}), {len(judged.plausible):,} in "
        f"{judged.unit or 'the expected one'} ({_as_read(judged.plausible[0].time, judged.unit)})"
    )
    return TimeProblem("error", text, remedy="have all producers write one unit")


def _out_of_range(judged: _Judged) -> TimeProblem | None:
    for wrong, where in _ranges(judged):
        if judged.share(wrong) > 0.5 and len(wrong) >= _FEW:
            return TimeProblem("error", f"{judged.count(wrong)} lie {where}")
    return None


def _few_out_of_range(judged: _Judged) -> TimeProblem | None:
    for wrong, where in _ranges(judged):
        if wrong:
            text = f"{judged.count(wrong)} lie {where}"
            return TimeProblem("warning", text, remedy="correct the clocks that wrote them")
    return None


def _ranges(judged: _Judged) -> tuple[tuple[list[TimeSample], str], ...]:
    early, late, unit = judged.early, judged.late, judged.unit
    return (
        (early, f"before the year 2000{_example(early, unit)}"),
        (late, f"in the future (it is {describe_time(judged.now)} now){_example(late, unit)}"),
    )


def _all_alike(judged: _Judged) -> TimeProblem | None:
    own = judged.own_times
    if len(own) < max(_ALIKE_FROM, len(judged.samples)) or len(set(own)) > 1:
        return None
    return TimeProblem("error", f"all {len(own):,} event times are alike{_first(judged)}")


def _half_alike(judged: _Judged) -> TimeProblem | None:
    time, count = next(iter(Counter(judged.own_times).most_common(1)), (0, 0))
    if count < _ALIKE_FROM or 2 * count <= len(judged.samples):
        return None
    return TimeProblem(
        "warning",
        f"{count:,} of {len(judged.samples):,} event times are equal: "
        f"{_as_read(time, judged.unit)}",
        remedy="look for what writes a default in place of the event time",
    )


def _without_time_of_day(judged: _Judged) -> TimeProblem | None:
    times = {sample.time for sample in judged.samples}
    has_times_of_day = len({time % DAY_MS for time in times}) > 1
    if len(judged.samples) < _ALIKE_FROM or has_times_of_day or len(times) < 2:
        return None
    return TimeProblem(
        "warning",
        f"all {len(judged.samples):,} event times are whole days{_first(judged)}: dates without a "
        "time of day make every session as long as a day",
        remedy="name a field with the time of day in clicks.time_field",
    )


def _hours_apart(judged: _Judged) -> TimeProblem | None:
    """Detect local times without a zone: whole half hours away from their timestamps."""
    apart = [s.time - s.timestamp for s in judged.samples if s.timestamp >= EARLIEST_MS]
    if len(apart) < _OFFSET_FROM or _spread(apart) > _OFFSET_SPREAD_MS:
        return None
    middle = round(statistics.median(apart))
    zone = round(middle / _HALF_HOUR_MS) * _HALF_HOUR_MS
    if not HOUR_MS <= abs(zone) <= _FARTHEST_ZONE_MS or abs(middle - zone) > _ZONE_TOLERANCE_MS:
        return None
    hours = f"{abs(zone) / HOUR_MS:g} hours {'ahead of' if zone > 0 else 'behind'}"
    return TimeProblem(
        "warning",
        f"event times are {hours} their records' timestamps, all of them: local times without a "
        f"zone would be so{_first(judged)}",
        remedy="write the zone with the time, or UTC",
    )


def _spread(values: Sequence[int]) -> int:
    """Return the distance within which the middle four fifths are."""
    ordered, tenth = sorted(values), len(values) // 10
    return ordered[-1 - tenth] - ordered[tenth]


def _first(judged: _Judged) -> str:
    return _example(judged.samples, judged.unit)


def _example(samples: Sequence[TimeSample], unit: str) -> str:
    return f", {_as_read(samples[0].time, unit)} for one" if samples else ""


def _as_read(time: int, unit: str) -> str:
    """Describe a time as its record has it, and as it was read."""
    if not unit:
        return describe_time(time)
    value = time * UNITS_PER_SECOND[unit] // SECOND_MS
    return f"{value} is {describe_time(time)}{_written_date(value)}"


def _written_date(value: int) -> str:
    """Return the date that a number looks like, or an empty text."""
    digits = str(value)
    for length, form in ((8, "%Y%m%d"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S")):
        if len(digits) == length and digits.startswith(("19", "20")):
            try:
                at = datetime.strptime(digits, form).replace(tzinfo=UTC)
            except ValueError:
                continue
            return f" (its digits look like {at:%Y-%m-%d %H:%M:%S}: write ISO 8601)"
    return ""


def _unit_of(unit: str, factor: Fraction) -> str:
    """Return the unit that is `factor` times as large; empty if there is none."""
    if unit not in UNITS_PER_SECOND:
        return ""
    per_second = UNITS_PER_SECOND[unit] / factor
    return next((name for name, count in UNITS_PER_SECOND.items() if count == per_second), "")


def _named(unit: str, factor: Fraction) -> str:
    return _unit_of(unit, factor) or "another unit"
