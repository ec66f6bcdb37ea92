"""Generate event times for clicks of which only the order is known."""

from __future__ import annotations

from collections.abc import Sequence

from ader_stream.errors import SettingsError


def spread(keys: Sequence[str], start: int, length: int, gap: int) -> range:
    """Return event times (ms) of clicks in file order, one step apart.

    The step is the longest whole number of ms for which all clicks are in ``[start, start +
    length)`` and two consecutive clicks of one session are less than `gap` apart. So the clicks
    fill the block as far as the gap allows, and no two have the same time.

    Parameters
    ----------
    keys
        Session key of every click, in file order, (N,); at least one.
    start, length
        Start and length of the block, ms.
    gap
        Session gap, ms.

    Raises
    ------
    SettingsError
        Not even 1 ms fits between two clicks.

    >>> list(spread(["a", "b", "a"], start=100, length=90, gap=61))
    [100, 130, 160]
    """
    widest = widest_distance(keys)
    if length < len(keys):
        raise SettingsError(
            f"blocks.length = {length} ms cannot hold {len(keys)} clicks, 1 ms or more apart; "
            f"use at least {len(keys)}ms"
        )
    if gap <= widest:
        raise SettingsError(
            f"sessions.gap = {gap} ms: two clicks of one session are {widest} lines apart, and a "
            f"line takes 1 ms or more; use at least {widest + 1}ms"
        )
    step = length // len(keys)
    if widest:
        step = min(step, (gap - 1) // widest)
    return range(start, start + len(keys) * step, step)


def widest_distance(keys: Sequence[str]) -> int:
    """Return the most lines between two consecutive clicks of one session; 0 without such clicks.

    >>> widest_distance(["a", "b", "c", "a", "b"])
    3
    """
    latest: dict[str, int] = {}
    widest = 0
    for line, key in enumerate(keys):
        widest = max(widest, line - latest.get(key, line))
        latest[key] = line
    return widest
