"""Lists that are made without a model know nothing of the session that they are tried on."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.ader.data.dataset import Samples, split_sessions
from ader_stream.versions.gate.baselines import CONFIRMED, count_baselines

Sessions = list[list[int]]


def nothing() -> None:
    pass


def first(counts: Counter[int], length: int, least: int) -> list[int]:
    """The most frequent of those that are there, the lower index first."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [item for item, count in ranked[:length] if count >= least]


def by_hand(sessions: Sessions, length: int) -> tuple[list[bool], list[bool]]:
    """Count all the other sessions again for each target."""
    popular, neighbours = [], []
    for number, session in enumerate(sessions):
        others = [each for at, each in enumerate(sessions) if at != number and len(each) > 1]
        clicks = Counter(item for each in others for item in each)
        clicks.update(dict.fromkeys(session, 0))
        for last, target in pairwise(session):
            following = Counter(b for each in others for a, b in pairwise(each) if a == last)
            popular.append(target in first(clicks, length, 0))
            neighbours.append(target in first(following, length, CONFIRMED))
    return popular, neighbours


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=6), max_size=12), st.integers(1, 4)
)
def test_lists_are_counted_without_the_session_that_they_are_tried_on(
    sessions: Sessions, length: int
) -> None:
    found = count_baselines(split_sessions(sessions, maxlen=9), length, nothing)
    assert (found.popular.tolist(), found.neighbours.tolist()) == by_hand(sessions, length)


def test_the_order_of_samples_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    samples = split_sessions([rng.integers(1, 30, 5).tolist() for _ in range(60)], maxlen=9)
    order = rng.permutation(len(samples))
    straight, mixed = (count_baselines(each, 5, nothing) for each in (samples, samples.take(order)))
    assert mixed.popular.tolist() == straight.popular[order].tolist()
    assert mixed.neighbours.tolist() == straight.neighbours[order].tolist()


def test_of_no_samples_nothing_is_listed() -> None:
    none = Samples(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert len(count_baselines(none, 20, nothing).popular) == 0


def test_the_callback_is_called_for_every_session() -> None:
    calls: list[int] = []
    count_baselines(split_sessions([[1, 2]] * 7, maxlen=9), 20, lambda: calls.append(1))
    assert len(calls) == 7


@pytest.mark.parametrize("clicks", [3, 300])
def test_one_bot_makes_nothing_popular_to_itself(clicks: int) -> None:
    bot = [7, 8] * clicks
    found = count_baselines(split_sessions([bot, [1, 2], [1, 2]], maxlen=20), 2, nothing)
    assert not found.popular[: 2 * clicks - 1].any()
    assert not found.neighbours[: 2 * clicks - 1].any()
