"""Thresholds: how often usual values exceed them, and what a bad block does to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ader_stream.drift.signals import Side
from ader_stream.drift.thresholds import ACT, WATCH, Usual, student, thresholds

NAME = "popularity_psi"


def constant(noise: float) -> Callable[[float], float]:
    return lambda _: noise


def usual(values: object, noise: float = 0.0) -> list[Usual]:
    return [Usual(float(value), noise) for value in np.asarray(values)]


def highest(values: object, side: Side = "high", noise: float = 0.0) -> float:
    found = thresholds(NAME, side, usual(values), constant(noise))
    assert found is not None
    assert found.act.high is not None
    return found.act.high


@pytest.mark.parametrize(("degrees", "exact"), [(4, 7.173), (6, 5.208), (10, 4.144), (20, 3.552)])
def test_student_is_that_of_the_tables(degrees: int, exact: float) -> None:
    assert student(0.001, degrees) == pytest.approx(exact, rel=0.035)


@pytest.mark.parametrize("blocks", [3, 5, 8, 16])
@pytest.mark.parametrize("spread", [0.1, 0.4])
def test_usual_values_rarely_exceed_the_thresholds(blocks: int, spread: float) -> None:
    rng = np.random.default_rng(3)
    watch, act, runs = 0, 0, 2_000
    for values in rng.lognormal(-3, spread, (runs, blocks + 1)):
        found = thresholds(NAME, "high", usual(values[:-1]), constant(0.0))
        assert found is not None
        watch += values[-1] not in found.watch
        act += values[-1] not in found.act
    # Where the prior is about right, the rates are near the stated ones; else far below.
    assert watch <= 3 * WATCH * runs
    assert act <= 5 * ACT * runs


def test_one_bad_block_leaves_the_thresholds_where_they_were() -> None:
    good = np.random.default_rng(5).lognormal(-3, 0.2, 10)
    bad = np.concatenate([good[:5], [10.0], good[5:]])
    assert highest(bad) < 1.5 * highest(good)


def test_a_lasting_change_becomes_usual() -> None:
    rng = np.random.default_rng(5)
    before, after = rng.lognormal(-3, 0.2, 6), rng.lognormal(-1, 0.2, 6)
    assert after[0] > highest(before)
    assert after[-1] < highest(np.concatenate([before, after[:-1]]))


def test_thresholds_follow_a_trend() -> None:
    falling = 0.2 * 0.7 ** np.arange(12)
    assert highest(falling) < falling[4]


def test_a_smaller_block_gets_wider_thresholds() -> None:
    values = np.full(8, 0.05)
    assert highest(values, noise=0.02) > highest(values) + 0.02


def test_what_chance_makes_of_nothing_is_usual() -> None:
    found = thresholds(NAME, "high", usual(np.zeros(8), noise=0.01), constant(0.01))
    assert found is not None
    assert 0.025 in found.act


def test_too_few_blocks_give_no_thresholds() -> None:
    assert thresholds(NAME, "high", usual([0.1, 0.1]), constant(0.0)) is None


def test_sides_bound_what_is_unusual() -> None:
    values = usual(np.full(8, 0.3))
    high, low, both = (
        thresholds("repeat_clicks", s, values, constant(0.0)) for s in ("high", "low", "both")
    )
    assert high is not None
    assert low is not None
    assert both is not None
    assert (0.001 in high.act, 0.999 in high.act) == (True, False)
    assert (0.001 in low.act, 0.999 in low.act) == (False, True)
    assert (0.001 in both.act, 0.3 in both.act, 0.999 in both.act) == (False, True, False)
