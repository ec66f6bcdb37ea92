"""Measure a block against what was before, and against what a version knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import NamedTuple

import numpy as np

from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.distances import Distance, coverage, entropy, js_distance
from ader_stream.drift.item_counts import ItemCounts
from ader_stream.drift.popularity import Popularity

Knows = Container[str] | Callable[[str], bool]
"""A set of item ids, or a function that returns whether an item is in it."""


class Measurement(NamedTuple):
    """Value of a signal.

    Parameters
    ----------
    value
        Distances are without the part that chance makes.
    noise
        Standard deviation of the value that comes from the number of clicks alone.
    on
        What it was measured on, for people: ``12,000 clicks``.
    observations
        For a share, the number of independent observations; 0 for other values.
    """

    value: float
    noise: float
    on: str
    observations: float = 0.0

    def noise_at(self, usual: float) -> float:
        """Return the noise if the value were the usual one."""
        return share_noise(usual, self.observations) if self.observations else self.noise


Measurements = dict[str, Measurement]
"""Signal → its measurement."""


def measure_shape(current: BlockStatistics) -> Measurements:
    """Measure what needs no reference: repeat clicks and the busiest group of keys."""
    if not current.clicks:
        return {}
    busiest = int(current.key_clicks.max())
    return {
        "repeat_clicks": share(current.repeat_clicks, current),
        "busiest_key": share(busiest, current),
    }


def measure_shift(current: BlockStatistics, reference: BlockStatistics) -> Measurements:
    """Measure the distance of a block from the clicks before; empty if one has no click."""
    if not current.clicks or not reference.clicks:
        return {}
    popularity = Popularity(current, reference)
    n, m = current.sessions, reference.sessions
    distances = {
        "popularity_psi": popularity.bins(),
        "top_items_psi": popularity.top(),
        "popularity_js": popularity.divergence(),
        "session_length": js_distance(current.lengths, reference.lengths, n, m),
        # The pauses of one session are alike: a session counts as one observation.
        "click_interval": js_distance(current.intervals, reference.intervals, n, m),
    }
    on = f"{current.clicks:,} clicks against {reference.clicks:,}"
    return {name: _of_distance(found, on) for name, found in distances.items()}


def measure_knowledge(
    current: BlockStatistics, known: Knows | None = None, exemplars: Knows | None = None
) -> Measurements:
    """Measure the shares of clicks on unknown items, and on items with an exemplar."""
    found: Measurements = {}
    if known is not None and current.clicks:
        unknown = 1 - current.items.share(_function(known))
        found["unknown_items"] = share(unknown * current.clicks, current)
    if exemplars is not None and current.clicks:
        covered = current.items.share(_function(exemplars))
        found["exemplar_coverage"] = share(covered * current.clicks, current)
    return found


def measure_recommended(recommended: ItemCounts, known: int) -> Measurements:
    """Measure entropy and coverage of what was recommended, given the number of known items."""
    if not recommended.clicks:
        return {}
    on = f"{recommended.clicks:,} recommended items"
    counts = np.array([*recommended.weights().values()])
    return {
        "recommended_entropy": Measurement(entropy(counts), 0.0, on),
        "recommended_coverage": Measurement(coverage(recommended.distinct, known), 0.0, on),
    }


def share(part: float, of: BlockStatistics) -> Measurement:
    """Return the share of a block's clicks.

    The clicks of a session are not independent. At worst all are alike, and then its sessions are
    the independent observations (Kish 1965, "Survey sampling", section 5.4: the design effect).
    """
    value = min(1.0, max(0.0, part / of.clicks))
    return share_of(value, of.sessions, f"{of.clicks:,} clicks")


def share_of(value: float, observations: float, on: str) -> Measurement:
    """Return a share, or another mean of values between 0 and 1, of independent observations."""
    return Measurement(value, share_noise(value, observations), on, observations)


def share_noise(value: float, observations: float) -> float:
    """Return the standard deviation of a share.

    That of a mean of other values between 0 and 1 is at most this. One observation is the least
    that a share can change by.
    """
    return math.sqrt(max(value * (1 - value), 1 / observations) / observations)


def _of_distance(found: Distance, on: str) -> Measurement:
    return Measurement(found.corrected, found.noise, on)


def _function(known: Knows) -> Callable[[str], bool]:
    return known if callable(known) else known.__contains__
