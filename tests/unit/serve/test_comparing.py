from __future__ import annotations

import numpy as np

from ader_stream.paired import NO_PAIRED_CLICKS, Sums, group_of
from ader_stream.serve.comparing import compare
from ader_stream.serve.loaded_versions import Version
from ader_stream.serve.recommending import Ranked, rank_clicks, score_targets
from ader_stream.types import RECIPROCAL_UNIT as UNIT
from ader_stream.types import Target

KEYS = ("a", "b", "a", "c")
TARGETS = [Target(("item-1",), f"item-{number}", key) for number, key in enumerate(KEYS)]


def ranked(ranks: dict[int, int]) -> Ranked:
    """Ranks by the click's place."""
    return Ranked([*ranks], np.array([*ranks.values()], dtype=np.int64), 0)


def test_differences_are_those_of_each_visitors_group() -> None:
    found = compare(ranked({0: 0, 1: 19, 2: 20}), ranked({0: 1, 1: 500, 2: 0}), TARGETS)
    assert found.stable == Sums(3, 2, UNIT + UNIT // 20)
    expected = {"a": Sums(2, 1, UNIT // 2), "b": Sums(1, -1, -UNIT // 20)}
    for key, sums in expected.items():
        assert found.differences[group_of(key)] == sums
    assert sum(sums.clicks for sums in found.differences) == 3


def test_what_only_one_version_scores_is_a_miss_of_the_other() -> None:
    found = compare(ranked({0: 3}), ranked({3: 0}), TARGETS)
    assert found.stable == Sums(2, 1, UNIT // 4)
    assert found.differences[group_of("a")] == Sums(1, -1, -UNIT // 4)
    assert found.differences[group_of("c")] == Sums(1, 1, UNIT)


def test_what_neither_scores_counts_nothing() -> None:
    assert compare(ranked({}), ranked({}), TARGETS) == NO_PAIRED_CLICKS
    assert compare(ranked({}), ranked({}), []) == NO_PAIRED_CLICKS


def test_a_version_is_no_better_than_itself(version: Version) -> None:
    own = rank_clicks(version, TARGETS)
    found = compare(own, own, TARGETS)
    assert {(sums.hits20, sums.reciprocal20) for sums in found.differences} == {(0, 0)}
    assert found.clicks == len(own.places) > 0


def test_the_stable_versions_sums_are_those_of_its_scores(version: Version) -> None:
    targets = [*TARGETS, Target(("item-2",), "new", "d"), Target((), "item-3", "e")]
    scores = score_targets(version, targets)
    found = compare(rank_clicks(version, targets), ranked({}), targets)
    assert found.stable == Sums(scores.targets, scores.hits20, scores.reciprocal20)
