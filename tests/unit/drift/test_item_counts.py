"""Clicks by item beyond the number of items that are counted exactly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ader_stream.drift.distances import jensen_shannon
from ader_stream.drift.item_counts import ItemCounts

LIMIT = 1_000


@pytest.fixture(scope="module")
def clicks() -> list[str]:
    """200,000 clicks on about 20,000 items, a few of them popular."""
    ranks = np.random.default_rng(1).zipf(1.2, 400_000)
    return [f"item-{rank}" for rank in ranks[ranks < 30_000][:200_000]]


@pytest.fixture(scope="module")
def sketched(clicks: list[str]) -> ItemCounts:
    counts = ItemCounts(LIMIT)
    for start in range(0, len(clicks), 1_000):
        counts.update(clicks[start : start + 1_000])
    return counts


def test_no_more_items_are_in_memory_than_asked(sketched: ItemCounts) -> None:
    assert not sketched.is_exact
    assert LIMIT / 4 < len(sketched.sample) <= LIMIT


def test_clicks_are_exact_and_distinct_items_estimated(
    clicks: list[str], sketched: ItemCounts
) -> None:
    assert sketched.clicks == len(clicks)
    assert sketched.distinct == pytest.approx(len(set(clicks)), rel=0.15)


def test_frequent_items_are_counted_within_the_error_of_the_sketch(
    clicks: list[str], sketched: ItemCounts
) -> None:
    weights = sketched.weights()
    for item, count in Counter(clicks).most_common(50):
        assert weights[item] == pytest.approx(count, abs=len(clicks) * 3.5 / 2**15)


def test_share_of_clicks_on_rare_items_is_estimated(
    clicks: list[str], sketched: ItemCounts
) -> None:
    def is_rare(item: str) -> bool:
        return int(item.removeprefix("item-")) > 100

    exact = sum(map(is_rare, clicks)) / len(clicks)
    assert sketched.share(is_rare) == pytest.approx(exact, rel=0.1)


def test_merged_sketches_count_as_one(clicks: list[str], sketched: ItemCounts) -> None:
    halves = ItemCounts(LIMIT), ItemCounts(LIMIT)
    for half, counts in enumerate(halves):
        counts.update(clicks[half::2])
    halves[0].merge(halves[1])
    assert halves[0].sample == sketched.sample
    one, other = halves[0].weights(), sketched.weights()
    items = sorted(one.keys() | other.keys())
    columns = [np.array([w.get(item, 0.0) for item in items]) for w in (one, other)]
    assert jensen_shannon(*columns) < 0.01
