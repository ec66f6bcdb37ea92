r"""Thresholds from what was usual so far.

The values of a signal on earlier blocks say how much it moves where nothing is wrong. They are
compared on a logarithmic scale (shares: on the logit's), because the same cause multiplies a small
value and a large one alike. With n values y on that scale, a new one is usual if it is within

    c ± t(α, d₀ + n − 1) · s · √(1 + 1/n),   s² = (d₀ s₀² + (n − 1) Q²) / (d₀ + n − 1)

- c and Q are the median of y and its scale Qₙ (Rousseeuw and Croux 1993, "Alternatives to the
  median absolute deviation"), or, where the differences from block to block have a smaller one,
  the median of the last three values and the scale of the differences: the signal has a trend
  then. Half of the values may be wrong, so one bad block does not widen the thresholds.
- s₀ and d₀ state, before anything is known, that a signal changes by half of its value from block
  to block, with the weight of `PRIOR_DEGREES` observations. With few blocks they keep three values
  that are alike by chance from making a threshold that everything exceeds; later the data decide
  (moderated t: Smyth 2004, "Linear models and empirical Bayes methods").
- t is Student's, in the approximation of Wallace (1959).

Chance moves the value of a small block more than those of the blocks before. What it adds, z(α)
times the additional standard deviation, widens the range, and a value that chance alone makes of 0
is always usual. Where chance adds more than the range itself, there are too few clicks to call a
value fine: *insufficient data*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, median
from typing import NamedTuple

import numpy as np

from ader_stream.drift.signals import UNBOUNDED, Range, Side

LEAST_VALUES = 3
"""Values of earlier blocks, below which there is no threshold."""

WATCH = 0.01
"""Probability that a usual value is outside the range of *watch*, on one side."""

ACT = 0.001
"""The same for *act*."""

PRIOR_SPREAD = math.log(1.5)
PRIOR_DEGREES = 4

_QN = (math.nan, math.nan, 0.399, 0.994, 0.512, 0.844, 0.611, 0.857, 0.669, 0.872)
"""Correction of Qₙ for n values (Croux and Rousseeuw 1992, "Time-efficient algorithms for two
highly robust estimators of scale")."""


class Usual(NamedTuple):
    """Value, and the sampling noise of it, of a signal on an earlier block."""

    value: float
    noise: float


class Thresholds(NamedTuple):
    """Usual values, and how far chance widens the range of *act*, because there are few clicks."""

    watch: Range
    act: Range
    chance: float
    is_chance_larger: bool


def thresholds(
    name: str, side: Side, earlier: Sequence[Usual], noise_at: Callable[[float], float]
) -> Thresholds | None:
    """Return the usual values of a signal; None if there are too few earlier ones.

    Parameters
    ----------
    name
        Of the signal: decides the scale.
    side
        On which side a value is unusual.
    earlier
        Values on earlier blocks, oldest first.
    noise_at
        Usual value → sampling noise, if it were the value, of what is compared.
    """
    if len(earlier) < LEAST_VALUES:
        return None
    scale = _LOG if name in UNBOUNDED else _LOGIT
    level = _level([scale.forward(usual.value, usual.noise) for usual in earlier])
    before = median(usual.noise for usual in earlier)
    noise = noise_at(max(0.0, scale.back(level.middle) - before))
    more = math.sqrt(max(0.0, noise**2 - before**2))
    ranges = []
    for alpha in (WATCH, ACT):
        reach = level.spread * student(alpha, PRIOR_DEGREES + len(earlier) - 1)
        # Values are compared with the noise added: it is taken off again.
        low, high = (scale.back(level.middle + r) - before for r in (-reach, reach))
        ranges.append((low, max(high, _z(alpha) * noise), _z(alpha) * more))
    watch, act = (_range(side, low - wider, high + wider) for low, high, wider in ranges)
    low, high, wider = ranges[-1]
    return Thresholds(watch, act, wider, wider > high - low)


def student(alpha: float, degrees: int) -> float:
    """Return the value that Student's t exceeds with probability alpha (Wallace 1959, eq. 6.1).

    >>> round(student(0.025, 10), 2)
    2.23
    """
    z = _z(alpha) * (8 * degrees + 3) / (8 * degrees + 1)
    return math.sqrt(degrees * math.expm1(z * z / degrees))


def qn_scale(values: Sequence[float]) -> float:
    """Return Rousseeuw and Croux's Qₙ, a standard deviation that outliers do not change.

    >>> round(qn_scale([1.0, 2.0, 3.0, 4.0, 1_000.0]), 2)
    1.88
    """
    n = len(values)
    one, other = np.triu_indices(n, 1)
    array = np.asarray(values)
    half = n // 2 + 1
    distance = np.sort(np.abs(array[one] - array[other]))[half * (half - 1) // 2 - 1]
    return float(2.2219 * _correction(n) * distance)


def _correction(n: int) -> float:
    if n < len(_QN):
        return _QN[n]
    return n / (n + 1.4) if n % 2 else n / (n + 3.8)


class _Level(NamedTuple):
    """Where the next value is expected, and its standard deviation."""

    middle: float
    spread: float


def _level(values: Sequence[float]) -> _Level:
    """Expect the next value around the median, or, where the values have a trend, the last ones."""
    steps = np.diff(values).tolist()
    around, between = qn_scale(values), qn_scale(steps)
    # Two differences are too few to see a trend in.
    has_trend = len(steps) > LEAST_VALUES and between < around
    middle = median(values[-3:] if has_trend else values)
    return _Level(middle, _moderated(min(around, between) if has_trend else around, len(values)))


def _moderated(spread: float, n: int) -> float:
    known = PRIOR_DEGREES * PRIOR_SPREAD**2 + (n - 1) * spread**2
    return math.sqrt(known / (PRIOR_DEGREES + n - 1) * (1 + 1 / n))


def _range(side: Side, low: float, high: float) -> Range:
    return Range(None if side == "high" else low, None if side == "low" else high)


def _z(alpha: float) -> float:
    return -NormalDist().inv_cdf(alpha)


class _Log:
    """The logarithm; the noise keeps 0 from being minus infinity."""

    def forward(self, value: float, noise: float) -> float:
        return math.log(max(value + noise, 1e-9))

    def back(self, value: float) -> float:
        return math.exp(value)


class _Logit:
    """ln(p / (1 − p))."""

    def forward(self, value: float, noise: float) -> float:
        return math.log(max(value + noise, 1e-9) / max(1 - value + noise, 1e-9))

    def back(self, value: float) -> float:
        return 1 / (1 + math.exp(-value))


_LOG, _LOGIT = _Log(), _Logit()
