"""Check whether the times of a table can be the times of clicks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ader_stream.errors import DatasetError
from ader_stream.plausible_times import (
    AHEAD_MS,
    EARLIEST_MS,
    TimeProblem,
    TimeSample,
    describe_time,
    find_time_problem,
)

SAMPLE = 1_000
"""Rows that are checked, evenly over the time."""

Times = np.ndarray[tuple[int, ...], np.dtype[Any]]


def require_plausible_times(name: str, times: Times, now: int, unit: str) -> None:
    """Refuse a table with times that no click can have.

    The user can correct a table before it is read, so a single such row is enough.

    Parameters
    ----------
    name
        Name of the table.
    times
        Times in ms, ascending; at least one.
    now
        Current time, ms.
    unit
        Unit in which the times were read; empty if they need none.

    Raises
    ------
    DatasetError
        Names the range of the times, the problem, and its remedy.
    """
    problem = _find_problem(times, now, unit)
    if problem is None:
        return
    unit = f"use --time-unit {problem.unit}" if problem.unit else ""
    remedy = (
        unit or problem.remedy or "name their form (--time-format), correct them or leave them out"
    )
    raise DatasetError(
        f"{name}: times from {describe_time(int(times[0]))} to {describe_time(int(times[-1]))}: "
        f"{problem.text}; {remedy}, or take them as they are with --any-time (for demo and "
        "trainer.bootstrap_dataset: clicks.check_times = false)"
    )


def _find_problem(times: Times, now: int, unit: str) -> TimeProblem | None:
    step = -(-len(times) // SAMPLE)
    sample = [TimeSample(time) for time in times[::step].tolist()]
    problem = find_time_problem(sample, now, unit)
    return problem if problem and problem.level == "error" else _find_absurd(times, now)


def _find_absurd(times: Times, now: int) -> TimeProblem | None:
    first, end = np.searchsorted(times, [EARLIEST_MS, now + AHEAD_MS + 1]).tolist()
    for count, place in (
        (first, "before the year 2000"),
        (len(times) - end, f"in the future (it is {describe_time(now)} now)"),
    ):
        if count:
            return TimeProblem("error", f"{count:,} of {len(times):,} times lie {place}")
    return None
