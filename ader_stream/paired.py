"""Paired comparison of a canary and the stable version: both rank the same clicks.

The measure is the difference between a click's two scores. Clicks of one visitor are correlated, so
the number of clicks overstates how certain a mean difference is. Clicks are therefore summed in
`GROUPS` groups by the hash of their session key: all clicks of a visitor are in one group, groups
are independent, and their spread is the variance (the method of random groups: Wolter,
"Introduction to Variance Estimation", chapter 2). No state of open sessions is kept, and sums of
several partitions and blocks add up exactly.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ader_stream.types import RECIPROCAL_UNIT

GROUPS = 64
"""Groups of session keys: enough for a variance within a fifth of the true one, and a record of a
few hundred bytes."""

ALPHA = 0.05
"""Probability that one of the two intervals ever misses the true difference."""

TUNED_FOR = 10_000
"""Clicks at which the intervals are narrowest, relative to those of a test that looks once."""


class Pair(NamedTuple):
    """Numbers of the two compared versions."""

    stable: int
    canary: int


class Sums(NamedTuple):
    """Clicks, their hits at 20, and their reciprocal ranks in units of `RECIPROCAL_UNIT`."""

    clicks: int = 0
    hits20: int = 0
    reciprocal20: int = 0

    def plus(self, other: Sums) -> Sums:
        """Return the sum of two sums."""
        return Sums(
            self.clicks + other.clicks,
            self.hits20 + other.hits20,
            self.reciprocal20 + other.reciprocal20,
        )


NOTHING = Sums()


class Difference(NamedTuple):
    """Mean of the canary minus that of the stable version (−1 … 1), and its bounds.

    The interval stays valid however often it is looked at: the two intervals of a `PairedCounts`
    hold together, at all looks, with probability 1 − `ALPHA`.
    """

    estimate: float = 0.0
    lower: float = -1.0
    upper: float = 1.0


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """Exact sums over clicks that two versions scored.

    Parameters
    ----------
    stable
        Counts of the stable version.
    differences
        Canary minus stable version, by group of session keys (`GROUPS`,).
    """

    stable: Sums = NOTHING
    differences: tuple[Sums, ...] = (NOTHING,) * GROUPS

    def __add__(self, other: PairedCounts) -> PairedCounts:
        groups = zip(self.differences, other.differences, strict=True)
        return PairedCounts(
            self.stable.plus(other.stable), tuple(one.plus(two) for one, two in groups)
        )

    @property
    def clicks(self) -> int:
        """Return the number of compared clicks."""
        return self.stable.clicks

    @property
    def recall20(self) -> Difference:
        """Return the difference in Recall@20."""
        return difference([(group.clicks, group.hits20) for group in self.differences])

    @property
    def mrr20(self) -> Difference:
        """Return the difference in MRR@20."""
        return difference(
            [(group.clicks, group.reciprocal20 / RECIPROCAL_UNIT) for group in self.differences]
        )

    @property
    def stable_recall20(self) -> float:
        """Return the Recall@20 of the stable version on these clicks."""
        return self.stable.hits20 / max(1, self.clicks)

    @property
    def stable_mrr20(self) -> float:
        """Return the MRR@20 of the stable version on these clicks."""
        return self.stable.reciprocal20 / RECIPROCAL_UNIT / max(1, self.clicks)

    def is_better(self, min_clicks: int) -> bool:
        """Return whether Recall@20 is certainly higher, and MRR@20 not certainly lower."""
        is_certain = self.clicks >= min_clicks and self.recall20.lower > 0
        return is_certain and self.mrr20.upper >= 0

    def is_worse(self, min_clicks: int, margin: float = 0.0) -> bool:
        """Return whether Recall@20 or MRR@20 is certainly lower, by more than a margin (0 … 1)."""
        return self.clicks >= min_clicks and min(self.recall20.upper, self.mrr20.upper) < -margin

    def __str__(self) -> str:
        shown = f"Recall@20 {_percent(self.recall20)}, MRR@20 {_percent(self.mrr20)}"
        return f"{shown} percentage points over {self.clicks:,} clicks"


NO_PAIRED_CLICKS = PairedCounts()


class FallbackRule(NamedTuple):
    """When a canary ends automatically.

    Parameters
    ----------
    margin
        It is certainly worse by more than this (0 … 1).
    min_clicks
        Clicks that must be compared first.
    """

    margin: float
    min_clicks: int


def group_of(key: str) -> int:
    """Return the group of a session key; it is the same on every worker and partition."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()[-1] % GROUPS


def difference(groups: Sequence[tuple[int, float]]) -> Difference:
    """Estimate a mean difference and an interval that is valid at every look.

    The variance v of the mean is the delete-a-group jackknife's, which a single large group makes
    larger, not smaller. With N clicks and t = N·ρ², the interval is

        mean ± √( v · 2(t + 1)/t · ln( √(t + 1) / α ) )

    the asymptotic confidence sequence of Waudby-Smith et al. (2024), "Time-uniform central limit
    theory and asymptotic confidence sequences", equation (7); α is half of `ALPHA`, because there
    are two metrics.

    Parameters
    ----------
    groups
        Clicks, and the sum of their differences.

    >>> difference([(10, 1)] * GROUPS).estimate
    0.1
    >>> difference([(10_000, 500)])  # one visitor gives no variance
    Difference(estimate=0.05, lower=-1.0, upper=1.0)
    """
    clicks, total = sum(count for count, _ in groups), sum(sum_ for _, sum_ in groups)
    used = [group for group in groups if group[0]]
    if clicks < GROUPS or len(used) < 2:
        return Difference(total / max(1, clicks))
    half = _widening(clicks) * math.sqrt(_variance(used, clicks, total))
    estimate = total / clicks
    return Difference(estimate, max(-1.0, estimate - half), min(1.0, estimate + half))


def _variance(groups: Iterable[tuple[int, float]], clicks: int, total: float) -> float:
    """Return the variance of the mean, estimated by leaving out each group in turn."""
    squares = [((total - sum_) / (clicks - count) - total / clicks) ** 2 for count, sum_ in groups]
    return (len(squares) - 1) / len(squares) * sum(squares)


def _widening(clicks: int) -> float:
    """Return half an interval's width in standard errors."""
    alpha = ALPHA / 2
    surprise = -2 * math.log(alpha)
    time = clicks * (surprise + math.log(surprise + 1)) / TUNED_FOR
    return math.sqrt(2 * (time + 1) / time * math.log(math.sqrt(time + 1) / alpha))


def _percent(difference_: Difference) -> str:
    estimate, lower, upper = (f"{100 * value:+.2f}" for value in difference_)
    return f"{estimate} [{lower}, {upper}]"
