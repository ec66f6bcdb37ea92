"""What is known of a rate after few or many trials: confidence bounds in place of points.

A trial is a session: its samples share clicks, so they count together as one. Bounds are one-sided,
each of them at `CONFIDENCE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, prod, sqrt
from statistics import NormalDist

import numpy as np

from ader_stream.ader.data.arrays import Bools, Float64, Int64
from ader_stream.ader.data.dataset import Samples

CONFIDENCE = 0.95
"""Of each bound: the usual one, which no data set has chosen."""

DEVIATIONS = NormalDist().inv_cdf(CONFIDENCE)
"""Standard deviations that a bound is away."""

ALMOST_SURE = 0.99
"""Of a bound that is looked at several times before anything is served: once a block that joins."""


@dataclass(frozen=True)
class Bounds:
    """Where a rate or a difference of rates lies, percent.

    Parameters
    ----------
    low, high
        It is at least the one, and at most the other, each at `CONFIDENCE`.
    trials
        Sessions that say so.
    """

    low: float
    high: float
    trials: int


@dataclass(frozen=True)
class Share:
    """A share, and what it surely is at least.

    Parameters
    ----------
    percent, low
        As it was seen, and its lower bound.
    trials
        That say so.
    """

    percent: float
    low: float
    trials: int

    @classmethod
    def of(
        cls, shares: Float64, most: int | None = None, confidence: float = CONFIDENCE
    ) -> Share | None:
        """Return the mean of what each trial says, from 0 to 1; None without trials.

        Where some of them are not independent, they count as `most` trials at most.

        >>> Share.of(np.array([1.0, 0.0])).percent
        50.0
        """
        if not len(shares):
            return None
        percent, trials = 100 * float(shares.mean()), len(shares)
        trials = trials if most is None else min(trials, most)
        return cls(percent, rate_bounds(percent, trials, confidence).low, trials)


def rate_bounds(rate: float, trials: int, confidence: float = CONFIDENCE) -> Bounds:
    """Bound a rate that was seen in so many trials (Wilson 1927).

    Parameters
    ----------
    rate
        Percent; a mean of shares, where a trial is no yes or no: those scatter less.
    trials
        Above 0.
    confidence
        Of each bound.

    >>> bounds = rate_bounds(0.0, 100)
    >>> bounds.low, round(bounds.high, 2)
    (0.0, 2.63)
    """
    share, spread = rate / 100, NormalDist().inv_cdf(confidence) ** 2 / trials
    middle = share + spread / 2
    reach = sqrt(spread * share * (1 - share) + spread**2 / 4)
    low, high = (100 * end / (1 + spread) for end in (middle - reach, middle + reach))
    return Bounds(max(0.0, low), min(100.0, high), trials)


def difference_bounds(gained: float, lost: float, trials: int) -> Bounds:
    """Bound what was gained less what was lost on the same targets, points.

    The bounds of the two rates are joined by squares, as Newcombe does (1998); what is gained is
    not lost, so the rates are correlated as those of a multinomial. Where nothing was gained or
    lost in a few trials, much may still be.

    >>> few, many = difference_bounds(0.0, 0.0, 10), difference_bounds(0.0, 0.0, 1_000)
    >>> round(few.low), round(many.low, 1)
    (-21, -0.3)
    """
    ups, downs = rate_bounds(gained, trials), rate_bounds(lost, trials)
    odds = (rate / (100 - rate) if rate < 100 else 0.0 for rate in (gained, lost))
    correlation = -sqrt(prod(odds))
    worse = _joined(gained - ups.low, downs.high - lost, correlation)
    better = _joined(ups.high - gained, lost - downs.low, correlation)
    return Bounds(gained - lost - worse, gained - lost + better, trials)


def _joined(one: float, other: float, correlation: float) -> float:
    return sqrt(one**2 + other**2 - 2 * correlation * one * other)


def fewest_trials(points: float) -> float:
    """Return how many trials must show no loss at all, before less than these points are lost.

    >>> fewest_trials(5.0)
    52
    """
    return ceil(DEVIATIONS**2 * (100 - points) / points) if points else inf


def sessions_of(samples: Samples) -> Int64:
    """Number the samples' sessions (S,): samples that share clicks are of one.

    >>> from ader_stream.ader.data.dataset import split_sessions
    >>> samples = split_sessions([[7, 8, 9], [5, 6]], maxlen=50)
    >>> sessions_of(samples.take(np.array([2, 0, 1]))).tolist()
    [1, 0, 0]
    """
    order = np.argsort(samples.targets, kind="stable")
    starts, targets = samples.starts[order], samples.targets[order]
    begins = np.zeros(len(order), np.int64)
    begins[1:] = starts[1:] > targets[:-1]
    sessions = np.empty_like(begins)
    sessions[order] = np.cumsum(begins)
    return sessions


def session_shares(found: Bools, sessions: Int64) -> Float64:
    """Return the share of each session's samples that were found, of sessions that have some.

    >>> session_shares(np.array([True, False, True]), np.array([0, 0, 4])).tolist()
    [0.5, 1.0]
    """
    _, dense = np.unique(sessions, return_inverse=True)
    shares: Float64 = np.bincount(dense, found) / np.bincount(dense)
    return shares
