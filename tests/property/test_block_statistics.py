"""Statistics of blocks: sums, whatever the order of sessions and of merging."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.drift.block_statistics import BlockStatistics, merged
from ader_stream.types import Session

FEW = 4
"""Items that are counted exactly: fewer than the sessions here hold."""


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    items = draw(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=8))
    pauses = draw(st.lists(st.integers(0, 10**13), min_size=len(items), max_size=len(items)))
    times = [sum(pauses[: place + 1]) for place in range(len(pauses))]
    return Session(draw(st.text(max_size=3)), tuple(items), tuple(times))


many = st.lists(sessions(), max_size=8)
limits = st.sampled_from([FEW, 100])


def counted(found: Sequence[Session], max_items: int = 100) -> BlockStatistics:
    statistics = BlockStatistics(max_items)
    statistics.add_sessions(found)
    return statistics


def facts(statistics: BlockStatistics) -> tuple[object, ...]:
    """Everything but the sketch of frequent items, which depends on the order."""
    items = statistics.items
    return (
        *(statistics.sessions, statistics.clicks, statistics.targets, statistics.repeat_clicks),
        *(statistics.first_time, statistics.last_time, items.level, dict(items.sample)),
        *(statistics.lengths.tolist(), statistics.intervals.tolist()),
        statistics.key_clicks.tolist(),
    )


@settings(max_examples=40)
@given(one=many, two=many, three=many, limit=limits)
def test_merging_is_associative_and_equals_counting_together(
    one: list[Session], two: list[Session], three: list[Session], limit: int
) -> None:
    a, b, c = (counted(part, limit) for part in (one, two, three))
    left = merged([merged([a, b], limit), c], limit)
    right = merged([a, merged([b, c], limit)], limit)
    assert facts(left) == facts(right) == facts(counted([*one, *two, *three], limit))


@settings(max_examples=40)
@given(found=many, limit=limits, data=st.data())
def test_order_of_sessions_changes_nothing(
    found: list[Session], limit: int, data: st.DataObject
) -> None:
    other = data.draw(st.permutations(found))
    assert facts(counted(found, limit)) == facts(counted(other, limit))


@settings(max_examples=40)
@given(found=many)
def test_one_session_after_another_is_all_at_once(found: list[Session]) -> None:
    one_by_one = BlockStatistics(100)
    for session in found:
        one_by_one.add(session.items, session.times, session.key)
    assert facts(one_by_one) == facts(counted(found))


@settings(max_examples=40)
@given(found=many, limit=limits)
def test_bytes_keep_every_count(found: list[Session], limit: int) -> None:
    statistics = counted(found, limit)
    read = BlockStatistics.from_bytes(statistics.to_bytes())
    assert facts(read) == facts(statistics)
    assert read.items.weights() == statistics.items.weights()


@settings(max_examples=40)
@given(found=many, data=st.data())
def test_same_counts_give_the_same_bytes(found: list[Session], data: st.DataObject) -> None:
    other = data.draw(st.permutations(found))
    assert counted(found).to_bytes() == counted(other).to_bytes()


@settings(max_examples=40)
@given(found=many, limit=limits)
def test_weights_of_items_add_up_to_the_clicks(found: list[Session], limit: int) -> None:
    statistics = counted(found, limit)
    total = sum(statistics.items.weights().values())
    assert abs(total - statistics.clicks) < 1e-6 * max(1, statistics.clicks)
