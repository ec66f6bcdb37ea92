r"""Thresholds from what was usual so far.

The values of a signal on earlier blocks say how much it moves where nothing is wrong. They are
compared on a logarithmic scale (shares: on the logit's), because the same cause multiplies a small
value and a large one alike. With n values y on that scale, a new one is usual if it is within

    median(y) ± t(α, d₀ + n − 1) · s · √(1 + 1/n),   s² = (d₀ s₀² + (n − 1) Q²) / (d₀ + n − 1)

- Q is the scale estimator Qₙ (Rousseeuw and Croux 1993, "Alternatives to the median absolute
  deviation"). Half of the values may be wrong, so one bad block does not widen the thresholds.
- s₀ and d₀ state, before anything is known, that a signal changes by half of its value from block
  to block, with the weight of `PRIOR_DEGREES` observations. With few blocks they keep three values
  that are alike by chance from making a threshold that everything exceeds; later the data decide
  (moderated t: Smyth 2004, "Linear models and empirical Bayes methods").
- t is Student's, in the approximation of Wallace (1959).

What the number of clicks alone does to the new value is added: z(α) times its standard deviation.
Where that is more than all that is usual, there are too few clicks: *insufficient data*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import NamedTuple

import numpy as np

from ader_stream.drift.signals import UNBOUNDED, Range, Side

LEAST_VALUES = 3
"""Values of earlier blocks, below which there is no threshold."""

WATCH = 0.01
"""Probability that a usual value is outside the range of *watch*, on one side."""

ACT = 0.0005
"""The same for *act*: a dozen signals of weekly blocks exceed it once in three years."""

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
    """Usual values; `noise` is what the number of clicks alone adds to the range of *act*."""

    watch: Range
    act: Range
    noise: float
    is_noise_larger: bool


def thresholds(name: str, side: Side, earlier: Sequence[Usual], noise: float) -> Thresholds | None:
    """Return the usual values of a signal; None if there are too few earlier ones.

    Parameters
    ----------
    name
        Of the signal: decides the scale.
    side
        On which side a value is unusual.
    earlier
        Values on earlier blocks, in any order.
    noise
        Sampling noise of the value that is compared.
    """
    if len(earlier) < LEAST_VALUES:
        return None
    scale = _LOG if name in UNBOUNDED else _LOGIT
    values = [scale.forward(usual.value, usual.noise) for usual in earlier]
    middle, spread = median(values), _spread(values)
    ranges = []
    for alpha in (WATCH, ACT):
        reach = spread * student(alpha, PRIOR_DEGREES + len(values) - 1)
        low, high = scale.back(middle - reach), scale.back(middle + reach)
        ranges.append((low, high, _z(alpha) * noise))
    watch, act = (_range(side, low - more, high + more) for low, high, more in ranges)
    low, high, more = ranges[-1]
    return Thresholds(watch, act, more, more > max(high - low, 0.0))


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


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation of a new value around the median of these."""
    degrees = len(values) - 1
    known = PRIOR_DEGREES * PRIOR_SPREAD**2 + degrees * qn_scale(values) ** 2
    return math.sqrt(known / (PRIOR_DEGREES + degrees) * (1 + 1 / len(values)))


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
