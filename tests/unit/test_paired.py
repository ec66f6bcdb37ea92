from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ader_stream.paired import (
    GROUPS,
    NO_PAIRED_CLICKS,
    NOTHING,
    Difference,
    PairedCounts,
    Sums,
    difference,
    group_of,
)
from ader_stream.types import RECIPROCAL_UNIT

LOOKS = 40
DISCORDANT = 0.06
"""Share of the clicks that only one of the two versions ranks among the first 20."""


class Shop:
    """Visitors each of whom one version suits better: their clicks are alike.

    Parameters
    ----------
    effect
        The true difference of the two recalls.
    """

    def __init__(self, seed: int, effect: float) -> None:
        self._random = random.Random(seed)
        self._leaning = 0.5 + effect / (2 * DISCORDANT)
        self.groups = [(0, 0)] * GROUPS

    def visit(self, visitors: int) -> None:
        for _ in range(visitors):
            group = self._random.randrange(GROUPS)
            sign = 1 if self._random.random() < self._leaning else -1
            count = 1 + int(self._random.expovariate(1 / 3))
            found = [sign * (self._random.random() < DISCORDANT) for _ in range(count)]
            before = self.groups[group]
            self.groups[group] = (before[0] + count, before[1] + sum(found))


def looks(seed: int, effect: float) -> list[Difference]:
    """What forty looks, one after 50 visitors each, show."""
    shop, found = Shop(seed, effect), []
    for _ in range(LOOKS):
        shop.visit(50)
        found.append(difference(shop.groups))
    return found


@pytest.mark.parametrize("effect", [0.0, 0.02])
def test_an_interval_that_is_looked_at_forty_times_seldom_misses(effect: float) -> None:
    missed = sum(
        any(not found.lower <= effect <= found.upper for found in looks(seed, effect))
        for seed in range(60)
    )
    assert missed <= 60 * 0.05


def test_an_interval_for_one_look_would_miss_often() -> None:
    """What the looks are for: 1.96 standard errors are not enough for forty of them."""
    missed = sum(
        any(abs(found.estimate) > 1.96 * standard_error(found) for found in looks(seed, 0.0)[5:])
        for seed in range(60)
    )
    assert missed > 60 * 0.15


def standard_error(found: Difference) -> float:
    """Return a standard error, at most: an interval reaches 3.28 of them to each side, or more."""
    return (found.upper - found.lower) / 2 / 3.28


def test_a_true_difference_is_found() -> None:
    found = [looks(seed, 0.03)[-1] for seed in range(20)]
    assert all(one.lower > 0 for one in found)
    assert all(one.upper - one.lower < 0.04 for one in found)


def test_clicks_that_are_alike_count_less() -> None:
    """The same clicks by ten times as many visitors are more certain."""
    alike = [(100, 10 if group % 2 else -8) for group in range(GROUPS)]
    apart = [(100, 2 if group % 2 else 0) for group in range(GROUPS)]
    wide, narrow = difference(alike), difference(apart)
    assert wide.estimate == narrow.estimate
    assert wide.upper - wide.lower > 5 * (narrow.upper - narrow.lower)


def test_one_visitor_with_most_of_the_clicks_decides_nothing() -> None:
    groups = [(10, 0)] * (GROUPS - 1)
    assert difference([(100_000, 50_000), *groups]).lower < 0


def test_one_visitor_says_nothing() -> None:
    assert difference([(100_000, 90_000), *[(0, 0)] * (GROUPS - 1)]) == Difference(0.9)


@pytest.mark.parametrize("clicks", [0, 1, GROUPS - 1])
def test_a_few_clicks_say_nothing(clicks: int) -> None:
    groups = [(1, 1)] * clicks + [(0, 0)] * (GROUPS - clicks)
    found = difference(groups)
    assert (found.lower, found.upper) == (-1, 1)


def test_more_visitors_are_more_certain() -> None:
    shop, widths = Shop(3, 0.0), []
    for visitors in (100, 400, 1_600, 6_400):
        shop.visit(visitors)
        found = difference(shop.groups)
        widths.append(found.upper - found.lower)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 5


# --- what is decided


def counts(recall: float, mrr: float, clicks: int = 100) -> PairedCounts:
    """Differences that lie within a fifth of these in every group."""
    differences = tuple(
        Sums(
            clicks,
            round(recall * clicks * (1.2 if group % 2 else 0.8)),
            round(mrr * clicks * (1.2 if group % 2 else 0.8) * RECIPROCAL_UNIT),
        )
        for group in range(GROUPS)
    )
    return PairedCounts(Sums(clicks * GROUPS, clicks * GROUPS // 2, 0), differences)


def test_what_is_certainly_better_is_better_and_nothing_else() -> None:
    better, worse, mixed = counts(0.1, 0.05), counts(-0.1, -0.05), counts(0.1, -0.05)
    assert [c.is_better(1_000) for c in (better, worse, mixed, NO_PAIRED_CLICKS)] == [
        True,
        False,
        False,
        False,
    ]
    assert [c.is_worse(1_000) for c in (better, worse, mixed, NO_PAIRED_CLICKS)] == [
        False,
        True,
        True,
        False,
    ]


def test_too_few_clicks_decide_nothing_however_clear_they_are() -> None:
    assert counts(0.1, 0.05).is_better(6_400)
    assert not counts(0.1, 0.05).is_better(6_401)
    assert counts(-0.1, -0.05).is_worse(6_400)
    assert not counts(-0.1, -0.05).is_worse(6_401)


def test_a_margin_is_what_may_be_lost() -> None:
    lost = counts(-0.1, -0.01)
    assert lost.is_worse(1, margin=0.05)
    assert not lost.is_worse(1, margin=0.11)


def test_it_is_said_in_percentage_points() -> None:
    assert str(replace(NO_PAIRED_CLICKS, stable=NOTHING._replace(clicks=1_234))) == (
        "Recall@20 +0.00 [-100.00, +100.00], MRR@20 +0.00 [-100.00, +100.00] percentage points "
        "over 1,234 clicks"
    )


def test_keys_are_spread_over_all_groups_evenly() -> None:
    groups = [group_of(f"visit-{number}") for number in range(64_000)]
    sizes = [groups.count(group) for group in range(GROUPS)]
    assert min(sizes) > 850
    assert max(sizes) < 1_150
    assert 0 <= group_of("\ud800") < GROUPS
