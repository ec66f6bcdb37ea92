"""Which path is the event time, and in which unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ader_stream.plausible_times import is_absurd
from ader_stream.stream.clicks.event_times import TIME_FORMATS, any_time_reader
from ader_stream.stream.guessing.candidates import Candidate
from ader_stream.stream.guessing.columns import TIMESTAMP, Column
from ader_stream.stream.guessing.words import LATER, TIME, suggests

LEAST_PRESENT = 0.3
LEAST_READ = 0.95
LEAST_DISTINCT = 0.1
LEAST_RISING = 0.6

STEP_MS = 1_000
"""A time that is so much later than the earliest one counts half: it is of a later step."""

OWN_SCORE = 0.1
"""Of the record's own timestamp: any field with times is better."""


@dataclass(frozen=True)
class TimeColumn:
    """A path all of whose values are plausible times.

    Parameters
    ----------
    path, unit
        The path and its `clicks.time_format`.
    times
        ms since 1970 by record; None where there is none.
    distinct, rising
        Share of different times, and share of the neighbours in a partition that do not fall.
    """

    path: str
    unit: str
    times: tuple[int | None, ...]
    distinct: float
    rising: float


def time_columns(
    columns: Sequence[Column], partitions: Sequence[int], now: int
) -> Iterator[TimeColumn]:
    """Yield the paths that may be times of events: they are plausible, differ and rise."""
    for column in columns:
        if column.present < LEAST_PRESENT * len(column.values):
            continue
        for unit in TIME_FORMATS:
            if (found := _in_unit(column, unit, partitions, now)) is not None:
                yield found
                break


def time_candidates(found: Sequence[TimeColumn]) -> Iterator[Candidate]:
    """Yield a candidate for each time: what happened comes before what was received."""
    fields = [column for column in found if column.path != TIMESTAMP]
    for column in found:
        if column.path == TIMESTAMP:
            yield Candidate(TIMESTAMP, OWN_SCORE, "when the record was written", "ms")
            continue
        lag = _lag(column, fields)
        name = suggests(column.path, TIME, LATER)
        structure = column.rising * min(1.0, 2 * column.distinct)
        score = 0.5 / (1 + lag / STEP_MS) + 0.3 * name + 0.3 * structure
        behind = f", {lag / 1000:g} s behind the earliest time" if lag else ""
        evidence = (
            f"{column.distinct:.0%} of the times differ, {column.rising:.0%} rise in a partition"
            f"{behind}"
        )
        yield Candidate(column.path, score, evidence, column.unit)


def _in_unit(column: Column, unit: str, partitions: Sequence[int], now: int) -> TimeColumn | None:
    read = any_time_reader(unit)
    times = tuple(None if value is None else read(value) for value in column.values)
    known = [time for time in times if time is not None]
    plausible = [time for time in known if time > 0 and not is_absurd(time, now)]
    if len(plausible) < LEAST_READ * len(known):
        return None
    distinct = len({*known}) / len(known)
    rising = _rising(times, partitions)
    if (distinct < LEAST_DISTINCT and len({*known}) < 5) or rising < LEAST_RISING:
        return None
    return TimeColumn(column.path, unit, times, distinct, rising)


def _rising(times: Sequence[int | None], partitions: Sequence[int]) -> float:
    """Return the share of the neighbours in a partition whose times do not fall."""
    known = [(p, t) for p, t in zip(partitions, times, strict=True) if t is not None]
    pairs = [after >= before for (p, before), (q, after) in pairwise(known) if p == q]
    return sum(pairs) / len(pairs) if pairs else 1.0


def _lag(column: TimeColumn, found: Sequence[TimeColumn]) -> float:
    """Return how much later it is than the earliest time of the same record, ms (median)."""
    lags = []
    for row in zip(column.times, *(other.times for other in found), strict=True):
        own, *all_ = row
        if own is not None:
            lags.append(own - min(time for time in all_ if time is not None))
    return float(median(lags))
