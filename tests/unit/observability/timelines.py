"""Series for `promtool test rules`: a value a minute, in phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SESSIONIZER = 'job="ader-files",worker="sessionizer",instance="a"'
TRAINER = 'job="ader-files",worker="trainer",instance="t"'
INFERENCE = 'job="ader-files",worker="inference",instance="i"'
MONITOR = 'job="ader-files",worker="monitor",instance="m"'
OTHER_INFERENCE = 'job="ader-files",worker="inference",instance="j"'


@dataclass(frozen=True)
class Case:
    """One fault: before it nothing fires, in it exactly these alerts do, after it nothing.

    Parameters
    ----------
    alerts
        Name and severity of each alert that the fault fires; no other may.
    series
        PromQL series → values, one for each interval.
    before, during, after
        Intervals at which the alerts are looked at.
    interval
        Of scrapes and evaluations.
    """

    name: str
    alerts: set[tuple[str, str]]
    series: Mapping[str, str]
    before: int
    during: int
    after: int
    interval: str = "1m"


def gauge(*phases: tuple[float | None, int]) -> str:
    """Return values that stay for a number of intervals each; None: the series is missing."""
    return " ".join(
        " ".join(["_" if value is None else f"{value:g}"] * count) for value, count in phases
    )


def counter(*phases: tuple[float | None, int]) -> str:
    """Return a total that rises by a step in each interval of a phase; None: not exported yet."""
    values, total = [], 0.0
    for step, count in phases:
        for _ in range(count):
            total += step or 0
            values.append("_" if step is None else f"{total:.9g}")
    return " ".join(values)


def clock(*phases: tuple[float | None, int], interval: int = 60) -> str:
    """Return times: those of the scrapes, plus a phase's offset; None: the time stands still."""
    values, last = [], 0.0
    for offset, count in phases:
        for _ in range(count):
            last = last if offset is None else len(values) * interval + offset
            values.append(f"{last:g}")
    return " ".join(values)
