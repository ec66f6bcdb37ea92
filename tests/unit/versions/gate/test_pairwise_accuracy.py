"""Whoever knows nothing tells half of the pairs apart, however popular or busy anybody is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples, split_sessions
from ader_stream.versions.gate.bounds import Share
from ader_stream.versions.gate.pairwise_accuracy import (
    PairwiseAccuracy,
    TargetPairs,
    count_co_clicks,
    draw_pairs,
    pairwise_accuracy,
)

Sessions = list[list[int]]


def nothing() -> None:
    pass


def at_random(seed: int, sessions: int, items: int, skew: float) -> Sessions:
    """Visits that go anywhere, to popular items more often."""
    rng = np.random.default_rng(seed)
    appeal = np.arange(1, items + 1) ** -skew
    lengths = np.minimum(rng.geometric(0.25, sessions) + 1, 30)
    drawn: Sessions = [
        rng.choice(np.arange(1, items + 1), size=length, p=appeal / appeal.sum()).tolist()
        for length in lengths
    ]
    return drawn


def along_a_ring(seed: int, sessions: int, items: int) -> Sessions:
    starts = np.random.default_rng(seed).integers(items, size=sessions)
    return [[1 + (start + step) % items for step in range(4)] for start in starts.tolist()]


def by_co_clicks(sessions: Sessions) -> Share | None:
    samples = split_sessions(sessions, maxlen=20)
    pairs = draw_pairs(samples)
    return pairwise_accuracy(count_co_clicks(samples, pairs, nothing), pairs.sessions)


def by_popularity(sessions: Sessions) -> Share | None:
    samples = split_sessions(sessions, maxlen=20)
    pairs, clicks = draw_pairs(samples), np.bincount(samples.items)
    return pairwise_accuracy(
        np.stack([clicks[samples.labels], clicks[pairs.others]]), pairs.sessions
    )


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=6), max_size=12))
def test_either_item_of_a_pair_is_new_to_either_session(sessions: Sessions) -> None:
    samples = split_sessions(sessions, maxlen=9)
    pairs = draw_pairs(samples)
    for row in np.flatnonzero(pairs.others != samples.labels).tolist():
        own, target = sessions[pairs.sessions[row]], int(samples.labels[row])
        stranger, other = sessions[pairs.strangers[row]], int(pairs.others[row])
        read = samples.items[samples.starts[row] : samples.targets[row]].tolist()
        assert pairs.strangers[row] != pairs.sessions[row]
        assert target in own
        assert other in stranger[1:]
        assert not {target, other} & set(read)
        assert target != stranger[0]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=6), max_size=12))
def test_co_clicks_are_counted_without_the_two_sessions_of_a_pair(sessions: Sessions) -> None:
    samples = split_sessions(sessions, maxlen=9)
    pairs = draw_pairs(samples)
    found = count_co_clicks(samples, pairs, nothing)
    for row in range(len(samples)):
        last = int(samples.items[samples.targets[row] - 1])
        theirs = {int(pairs.sessions[row]), int(pairs.strangers[row])}
        others = [set(each) for place, each in enumerate(sessions) if place not in theirs]
        both = [int(samples.labels[row]), int(pairs.others[row])]
        assert found[:, row].tolist() == [sum({last, x} <= each for each in others) for x in both]


@pytest.mark.parametrize(
    ("sessions", "items", "skew"), [(60, 60, 0.0), (100, 60, 1.0), (300, 200, 0.8), (300, 60, 1.0)]
)
def test_of_visits_at_random_nobody_can_tell(sessions: int, items: int, skew: float) -> None:
    logs = [at_random(seed, sessions, items, skew) for seed in range(8)]
    for reported in (by_co_clicks, by_popularity):
        shares = [share for log in logs if (share := reported(log))]
        assert np.mean([share.percent for share in shares]) == pytest.approx(50, abs=5)
        assert sum(share.low > 50 for share in shares) <= 1


def test_what_is_popular_tells_nothing_of_visits_that_follow_something_either() -> None:
    share = by_popularity(along_a_ring(0, 400, 60))
    assert share
    assert share.percent == pytest.approx(50, abs=8)


@pytest.mark.parametrize("sessions", [30, 300])
def test_co_clicks_tell_of_visits_that_follow_something(sessions: int) -> None:
    share = by_co_clicks(along_a_ring(0, sessions, 40))
    assert share
    assert share.low > 75


def test_one_bot_is_one_session_among_the_others() -> None:
    """It makes more clicks than all visitors, and half of the pairs are its own."""
    bot = [1 + step % 50 for step in range(2_000)]
    share = by_co_clicks([*at_random(0, 300, 200, 0.8), bot])
    assert share
    assert share.trials > 100
    assert share.low < 50


def test_without_another_session_or_a_new_item_there_is_no_pair() -> None:
    for sessions in ([], [[1, 2, 3]], [[1, 1], [2, 2], [3, 3, 3]]):
        assert by_co_clicks(sessions) is None


def test_pairs_are_the_same_in_whatever_order_they_are_looked_at_again() -> None:
    samples = split_sessions(along_a_ring(0, 50, 40), maxlen=9)
    one, two = draw_pairs(samples), draw_pairs(samples)
    assert one.others.tolist() == two.others.tolist()


def test_a_parent_is_asked_of_no_item_that_it_does_not_know() -> None:
    samples = split_sessions([[1, 2], [1, 9], [2, 3]], maxlen=9)
    pairs = TargetPairs(np.array([9, 2, 2], np.int32), np.arange(3), np.array([1, 0, 0]))
    assert pairs.among(samples, n_items=3).tolist() == [2, 2, 2]
    assert pairs.among(samples, n_items=9).tolist() == [9, 2, 2]


def share(percent: float, trials: int) -> Share | None:
    yes = round(trials * percent / 100)
    return Share.of(np.repeat([1.0, 0.0], [yes, trials - yes]), confidence=0.99)


@pytest.mark.parametrize(
    ("found", "has_learnt", "can_be_learnt"),
    [
        (PairwiseAccuracy(), False, False),
        (PairwiseAccuracy(share(99, 100), None, None), True, False),
        (PairwiseAccuracy(share(99, 100), None, None, held_out=True), True, True),
        (PairwiseAccuracy(share(99, 100), None, share(50, 500)), True, False),
        (PairwiseAccuracy(share(99, 100), share(50, 500), share(90, 50)), True, True),
        (PairwiseAccuracy(share(99, 100), share(70, 100), None), True, True),
        (PairwiseAccuracy(share(52, 500), None, share(99, 50)), False, True),
        (PairwiseAccuracy(share(80, 5), None, share(80, 5)), False, False),
    ],
)
def test_who_has_seen_a_pair_does_not_show_that_it_can_be_learned(
    found: PairwiseAccuracy, has_learnt: bool, can_be_learnt: bool
) -> None:
    assert (found.has_learnt, found.can_be_learnt) == (has_learnt, can_be_learnt)


def test_ties_say_nothing() -> None:
    scores: Int64 = np.array([[1, 1, 3], [1, 0, 4]])
    found = pairwise_accuracy(scores, np.array([0, 1, 2]))
    assert found
    assert (found.percent, found.trials) == (50.0, 2)
    assert pairwise_accuracy(scores[:, :1], np.array([0])) is None


def test_samples_may_come_in_any_order() -> None:
    samples = split_sessions(along_a_ring(0, 60, 40), maxlen=9)
    mixed: Samples = samples.take(np.random.default_rng(0).permutation(len(samples)))
    pairs = draw_pairs(mixed)
    found = pairwise_accuracy(count_co_clicks(mixed, pairs, nothing), pairs.sessions)
    assert found
    assert found.low > 75
