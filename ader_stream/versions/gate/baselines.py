"""Baselines without a model: lists of the most clicked items, and of those clicked next.

A version without a parent is compared with these. They are counted on the samples themselves, each
time without the sample's own session, so that they have no more information on a target than any
version.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ader_stream.ader.data.arrays import Bools, Int64
from ader_stream.ader.data.dataset import Samples
from ader_stream.versions.gate.bounds import sessions_of

CONFIRMED = 3
"""Clicks on an item next, by other sessions, before it is listed: one or two are chance, which no
version has to learn."""

Counts = Counter[int]


@dataclass(frozen=True, eq=False)
class Baselines:
    """Which targets are in lists made without a model.

    Parameters
    ----------
    popular
        In the list of the most clicked items; the oldest items fill a list that is too short (S,).
    neighbours
        In the list of the items that others clicked right after the sample's last click, each of
        them `CONFIRMED` times or more (S,).
    """

    popular: Bools
    neighbours: Bools


def count_baselines(samples: Samples, length: int, between: Callable[[], None]) -> Baselines:
    """Find the targets in lists of a length; `between` is called after every session.

    >>> from ader_stream.ader.data.dataset import split_sessions
    >>> samples = split_sessions([[7, 2], [7, 2], [7, 2], [7, 2], [3, 4]], maxlen=9)
    >>> found = count_baselines(samples, 1, lambda: None)
    >>> found.popular.tolist(), found.neighbours.tolist()
    ([True, True, True, True, False], [True, True, True, True, False])
    """
    groups = rows_by_session(samples)
    clicks = [clicks_of(samples, rows) for rows in groups]
    popularity = Counter(item for session in clicks for item in session)
    followers = _followers(clicks)
    ranked = [item for item, _ in _in_order(popularity.items())]
    popular, neighbours = (np.zeros(len(samples), np.bool_) for _ in range(2))
    for rows, session in zip(groups, clicks, strict=True):
        listed = _most_clicked(popularity, ranked, Counter(session), length)
        popular[rows] = np.isin(samples.labels[rows], listed)
        own = _followers([session])
        for row in rows.tolist():
            last, target = samples.items[samples.targets[row] - 1 : samples.targets[row] + 1]
            neighbours[row] = int(target) in _next(followers, own, int(last), length)
        between()
    return Baselines(popular, neighbours)


def rows_by_session(samples: Samples) -> list[Int64]:
    """Return the rows of each session's samples."""
    sessions = sessions_of(samples)
    order = np.argsort(sessions, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(sessions[order])) + 1) if len(order) else []


def clicks_of(samples: Samples, rows: Int64) -> list[int]:
    """Return a session's clicks that its samples have."""
    first, last = samples.starts[rows].min(), samples.targets[rows].max()
    clicks: list[int] = samples.items[first : last + 1].tolist()
    return clicks


def _followers(sessions: Iterable[list[int]]) -> defaultdict[int, Counts]:
    """Count what was clicked right after each item."""
    followers: defaultdict[int, Counts] = defaultdict(Counter)
    for session in sessions:
        for item, following in pairwise(session):
            followers[item][following] += 1
    return followers


def _most_clicked(popularity: Counts, ranked: list[int], own: Counts, length: int) -> list[int]:
    """List the most clicked items by the clicks of other sessions; items without one may be listed.

    Without a session's own clicks, no item moves before an item that it has not clicked: the list
    is among the first items of the whole order, as many more as the session has items.
    """
    candidates = ranked[: length + len(own)]
    return list(_first(((item, popularity[item] - own[item]) for item in candidates), length, 0))


def _next(
    followers: defaultdict[int, Counts], own: defaultdict[int, Counts], item: int, length: int
) -> set[int]:
    """List the items that other sessions clicked right after an item."""
    ours = own[item]
    counted = ((each, count - ours[each]) for each, count in followers[item].items())
    return set(_first(counted, length, CONFIRMED))


def _first(counted: Iterable[tuple[int, int]], length: int, least: int) -> Iterator[int]:
    """Yield the most clicked items that have at least the least number of clicks."""
    return (item for item, count in _in_order(counted)[:length] if count >= least)


def _in_order(counted: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort items by their clicks, the most first; of equal ones, the older."""
    return sorted(counted, key=lambda pair: (-pair[1], pair[0]))
