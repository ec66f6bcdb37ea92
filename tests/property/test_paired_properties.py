"""Sums of two versions on the same clicks: however clicks are cut up, they are the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.paired import NO_PAIRED_CLICKS, PairedCounts
from ader_stream.serve.comparing import compare
from ader_stream.serve.recommending import Ranked
from ader_stream.types import Target

Click = tuple[str, int | None, int | None]
"""Session key, and its rank by each version; None: not scored."""

ranks = st.none() | st.integers(0, 50)
clicks = st.lists(st.tuples(st.sampled_from("abcdefgh"), ranks, ranks), max_size=40)


def ranked(found: Sequence[int | None]) -> Ranked:
    places = [place for place, rank in enumerate(found) if rank is not None]
    return Ranked(places, np.array([r for r in found if r is not None], dtype=np.int64), 0)


def compared(part: Sequence[Click]) -> PairedCounts:
    targets = [Target((), "item", key) for key, _, _ in part]
    return compare(ranked([r for _, r, _ in part]), ranked([r for _, _, r in part]), targets)


@given(clicks=clicks, ends=st.lists(st.integers(0, 40)))
def test_sums_of_parts_are_the_sum_of_all(clicks: list[Click], ends: list[int]) -> None:
    bounds = [0, *sorted(ends), len(clicks)]
    parts = [clicks[start:end] for start, end in pairwise(bounds)]
    merged = sum(map(compared, parts), NO_PAIRED_CLICKS)
    assert merged == compared(clicks)
    assert str(merged) == str(compared(clicks))


@given(clicks=clicks, partitions=st.integers(1, 4))
def test_partitions_add_up_in_any_order(clicks: list[Click], partitions: int) -> None:
    parts = [[c for c in clicks if ord(c[0]) % partitions == p] for p in range(partitions)]
    assert sum(map(compared, reversed(parts)), NO_PAIRED_CLICKS) == compared(clicks)


@given(clicks=clicks)
def test_the_other_way_round_is_the_opposite(clicks: list[Click]) -> None:
    one = compared(clicks)
    other = compared([(key, theirs, ours) for key, ours, theirs in clicks])
    assert one.recall20.estimate == -other.recall20.estimate
    assert one.mrr20.estimate == -other.mrr20.estimate
    assert one.clicks == other.clicks


@given(clicks=clicks)
def test_an_interval_holds_its_estimate_and_lies_within_what_there_is(clicks: list[Click]) -> None:
    for found in (compared(clicks).recall20, compared(clicks).mrr20):
        assert -1 <= found.lower <= found.estimate <= found.upper <= 1
