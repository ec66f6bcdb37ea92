from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ader_stream.datasets.spread import spread, widest_distance
from ader_stream.errors import SettingsError

KEYS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60)
START = st.integers(-(10**13), 10**13)


@given(KEYS, START, st.integers(1, 10**9), st.integers(1, 10**7))
def test_clicks_keep_order_lie_in_the_block_and_stay_below_the_gap(
    keys: list[str], start: int, length: int, gap: int
) -> None:
    assume(length >= len(keys) and gap > widest_distance(keys))
    times = spread(keys, start, length, gap)
    latest: dict[str, int] = {}
    assert times[0] == start
    assert times[-1] < start + length
    assert all(earlier < later for earlier, later in pairwise(times))
    for key, time in zip(keys, times, strict=True):
        assert time - latest.get(key, time) < gap
        latest[key] = time


@given(KEYS, START, st.integers(1, 10**9), st.integers(1, 10**7))
def test_a_longer_step_would_not_fit(keys: list[str], start: int, length: int, gap: int) -> None:
    assume(length >= len(keys) and gap > widest_distance(keys))
    longer = spread(keys, start, length, gap).step + 1
    assert longer * len(keys) > length or longer * widest_distance(keys) >= gap


@given(KEYS, START)
def test_the_smallest_gap_and_length_are_named_and_work(keys: list[str], start: int) -> None:
    gap, length = widest_distance(keys) + 1, len(keys)
    assume(gap > 1)
    assert len(spread(keys, start, length, gap)) == len(keys)
    with pytest.raises(SettingsError, match=f"at least {gap}ms"):
        spread(keys, start, length, gap - 1)
    with pytest.raises(SettingsError, match=f"at least {length}ms"):
        spread(keys, start, length - 1, gap)


@given(KEYS)
def test_widest_distance_is_that_of_the_pairs(keys: list[str]) -> None:
    neighbours = [
        later - earlier
        for earlier, key in enumerate(keys)
        for later in [next((i for i in range(earlier + 1, len(keys)) if keys[i] == key), earlier)]
    ]
    assert widest_distance(keys) == max(neighbours)
