"""Distances between two samples, corrected for what chance alone makes of them.

Counts of the same distribution differ by chance, so every plug-in distance is above 0 on average;
the fewer the clicks, the more. With K bins, n and m independent observations:

- PSI / (1/n + 1/m) has about a chi-squared distribution with K − 1 degrees of freedom (Yurdakul and
  Naranjo 2020, "Statistical properties of the population stability index", Journal of Risk Model
  Validation 14(4), theorem 1);
- the Jensen-Shannon divergence is, for small differences, PSI / 8 nats (Lin 1991, "Divergence
  measures based on the Shannon entropy"; Grosse et al. 2002, "Analysis of symbolic sequences using
  the Jensen-Shannon divergence", for its chi-squared limit).

So the mean by chance is (K − 1) · (1/n + 1/m), its standard deviation √(2(K − 1)) · (1/n + 1/m),
for PSI; 1 / (8 ln 2) of that for the divergence in bits. Both hold where a bin has about 5
observations or more.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[Any]
"""Observations by bin, whole numbers or estimates."""

JS_OF_PSI = 1 / (8 * math.log(2))
"""Jensen-Shannon divergence in bits for a PSI of 1, as both go to 0."""

ENOUGH = 5
"""Observations of a bin for which the chi-squared approximation holds (Cochran 1954)."""


class Distance(NamedTuple):
    """A distance, and what chance alone makes of it.

    Parameters
    ----------
    plug_in
        Distance of the observed shares.
    chance
        Its mean if both samples are of the same distribution.
    noise
        Its standard deviation then.
    """

    plug_in: float
    chance: float
    noise: float

    @property
    def corrected(self) -> float:
        """Return the distance without the part of chance; at least 0."""
        return max(0.0, self.plug_in - self.chance)


def psi(one: Counts, other: Counts) -> float:
    """Return the population stability index Σ (p − q) ln(p / q) of two counts (K,).

    Half an observation is added to each bin (Jeffreys' prior), so that an empty one is no infinite
    distance.

    >>> psi(np.array([10, 20]), np.array([10, 20]))
    0.0
    """
    p, q = _shares(one + 0.5), _shares(other + 0.5)
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon(one: Counts, other: Counts) -> float:
    """Return the Jensen-Shannon divergence of two counts (K,), in bits: 0 … 1; 0 if one is empty.

    >>> jensen_shannon(np.array([1, 0]), np.array([0, 1]))
    1.0
    """
    if not one.sum() or not other.sum():
        return 0.0
    p, q = _shares(one), _shares(other)
    middle = (p + q) / 2
    return max(0.0, _bits(middle) - (_bits(p) + _bits(q)) / 2)


def entropy(counts: Counts) -> float:
    """Return the entropy of counts (K,) by that of K equal ones: 0 … 1; 0 if K < 2.

    >>> entropy(np.array([3, 3, 3, 3]))
    1.0
    """
    if len(counts) < 2 or not counts.sum():
        return 0.0
    return _bits(_shares(counts)) / math.log2(len(counts))


def coverage(found: int, known: int) -> float:
    """Return the share of the known items that was found; 0 if none is known."""
    return found / known if known else 0.0


def psi_distance(one: Counts, other: Counts, n: float, m: float) -> Distance:
    """Return the PSI of two counts (K,) that are worth n and m independent observations."""
    return _distance(psi(one, other), one + other, n, m, 1.0)


def js_distance(one: Counts, other: Counts, n: float, m: float) -> Distance:
    """Return the Jensen-Shannon divergence of two counts (K,), worth n and m observations."""
    return _distance(jensen_shannon(one, other), one + other, n, m, JS_OF_PSI)


def _distance(plug_in: float, both: Counts, n: float, m: float, unit: float) -> Distance:
    degrees = max(0, int(np.count_nonzero(both)) - 1)
    per_degree = unit * (1 / max(n, 1) + 1 / max(m, 1))
    return Distance(plug_in, degrees * per_degree, math.sqrt(2 * degrees) * per_degree)


def _shares(counts: Counts) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def _bits(shares: npt.NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-np.sum(present * np.log2(present)))
