"""Bounds hold the truth as often as they say, from few samples as from many."""

from __future__ import annotations

import numpy as np
import pytest

from ader_stream.ader.data.dataset import split_sessions
from ader_stream.versions.gate.bounds import (
    CONFIDENCE,
    Share,
    difference_bounds,
    fewest_trials,
    rate_bounds,
    sessions_of,
)

DRAWS = 4_000


@pytest.mark.parametrize("trials", [10, 60, 500])
@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.3, 0.05), (0.02, 0.2), (0.4, 0.5)])
def test_a_difference_lies_within_its_bounds_as_often_as_they_say(
    trials: int, rates: tuple[float, float]
) -> None:
    gained, lost = rates
    rng = np.random.default_rng(trials)
    counts = rng.multinomial(trials, [gained, lost, 1 - gained - lost], size=DRAWS)
    bounds = [
        difference_bounds(100 * up / trials, 100 * down / trials, trials) for up, down, _ in counts
    ]
    truth = 100 * (gained - lost)
    assert np.mean([each.low <= truth for each in bounds]) > CONFIDENCE - 0.03
    assert np.mean([each.high >= truth for each in bounds]) > CONFIDENCE - 0.03


@pytest.mark.parametrize("points", [1.0, 5.0, 50.0])
def test_the_fewest_trials_are_just_enough_where_nothing_is_lost(points: float) -> None:
    fewest = fewest_trials(points)
    assert difference_bounds(0.0, 0.0, int(fewest)).low >= -points
    assert difference_bounds(0.0, 0.0, max(1, int(fewest) - 1)).low < -points


def test_no_trials_prove_that_nothing_at_all_is_lost() -> None:
    assert fewest_trials(0.0) == float("inf")
    assert fewest_trials(100.0) == 0


@pytest.mark.parametrize("rate", [0.0, 3.0, 50.0, 100.0])
def test_bounds_close_in_on_the_rate(rate: float) -> None:
    wide, narrow = rate_bounds(rate, 10), rate_bounds(rate, 10_000)
    assert 0 <= wide.low <= narrow.low <= rate <= narrow.high <= wide.high <= 100


def test_samples_of_a_session_are_recognised_by_the_clicks_that_they_share() -> None:
    lengths = [2, 30, 3, 2, 9]
    samples = split_sessions([list(range(1, length + 1)) for length in lengths], maxlen=4)
    truth = np.repeat(np.arange(5), np.array(lengths) - 1)
    order = np.random.default_rng(0).permutation(len(samples))
    assert sessions_of(samples).tolist() == truth.tolist()
    assert sessions_of(samples.take(order)).tolist() == truth[order].tolist()


def test_of_no_trials_there_is_no_share() -> None:
    assert Share.of(np.zeros(0)) is None


def test_what_is_not_independent_counts_as_fewer_trials() -> None:
    """Ten exemplars of one item say no more of the others than one does."""
    shares = np.repeat([1.0, 0.0], [10, 290])
    alone, together = Share.of(shares), Share.of(shares, most=30)
    assert alone and together
    assert (together.trials, together.percent) == (30, alone.percent)
    assert together.low < alone.low
