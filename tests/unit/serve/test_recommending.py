from __future__ import annotations

import pytest

from ader_stream.serve.loaded_versions import Version
from ader_stream.serve.recommending import recommend, score_targets
from ader_stream.types import RECIPROCAL_UNIT, Counts, Target


def items_of(version: Version, prefix: tuple[str, ...], k: int = 30) -> list[str]:
    [found] = recommend(version, [prefix], k)
    return [item for item, _ in found.items]


def test_the_best_items_come_first_with_their_scores(version: Version) -> None:
    [found] = recommend(version, [("item-1", "item-2")], 10)
    scores = [score for _, score in found.items]
    assert (len(set(found.items)), scores) == (10, sorted(scores, reverse=True))
    assert (found.version, found.fallback) == (3, False)


def test_fewer_items_are_the_beginning_of_more(version: Version) -> None:
    assert items_of(version, ("item-1",), 5) == items_of(version, ("item-1",))[:5]


def test_there_are_no_more_recommendations_than_items(version: Version) -> None:
    assert sorted(items_of(version, ("item-1",), 1_000)) == sorted(version.vocabulary.items)


def test_unknown_items_are_dropped_from_a_session(version: Version) -> None:
    assert items_of(version, ("new", "item-1", "newer")) == items_of(version, ("item-1",))


def test_the_order_of_clicks_matters_and_those_too_far_back_do_not(version: Version) -> None:
    last_five = tuple(f"item-{number}" for number in range(5))
    assert items_of(version, ("item-9", *last_five)) == items_of(version, last_five)
    assert items_of(version, last_five[::-1]) != items_of(version, last_five)


@pytest.mark.parametrize("session", [(), ("new",), ("new", "newer")])
def test_a_session_of_unknown_items_gets_the_most_frequent_ones(
    version: Version, session: tuple[str, ...]
) -> None:
    [found] = recommend(version, [session], 2)
    assert (found.fallback, found.items) == (True, (("item-4", 0.0), ("item-2", 0.0)))


def test_each_session_gets_its_own_whatever_stands_beside_it(version: Version) -> None:
    sessions = [("item-1",), ("new",), ("item-2", "item-3"), (), ("item-4",) * 9]
    together = recommend(version, sessions, 5)
    alone = [recommend(version, [session], 5)[0] for session in sessions]
    assert [f.fallback for f in together] == [False, True, False, True, False]
    assert [[item for item, _ in f.items] for f in together] == [
        [item for item, _ in f.items] for f in alone
    ]


def test_no_session_no_recommendation(version: Version) -> None:
    assert recommend(version, [], 5) == []


def test_scores_are_the_places_that_recommending_gives(version: Version) -> None:
    prefixes = [("item-1",), ("item-2", "new", "item-3"), ("item-5",) * 8]
    expected = Counts()
    for prefix in prefixes:
        for rank, item in enumerate(items_of(version, prefix)):
            unit = RECIPROCAL_UNIT // (rank + 1)
            hits10, hits20 = int(rank < 10), int(rank < 20)
            expected += Counts(1, hits10, hits20, unit * hits10, unit * hits20)
            assert score_targets(version, [Target(prefix, item)]).hits20 == hits20
    targets = [Target(prefix, item) for prefix in prefixes for item in version.vocabulary.items]
    assert score_targets(version, targets) == expected


def test_an_unknown_item_is_no_target_and_is_counted(version: Version) -> None:
    targets = [Target(("item-1",), "new"), Target((), "newer")]
    assert score_targets(version, targets) == Counts(unknown=2)


def test_a_click_with_no_known_click_before_it_is_no_target(version: Version) -> None:
    targets = [Target((), "item-1"), Target(("new",), "item-1")]
    assert score_targets(version, targets) == Counts()


def test_no_click_counts_nothing(version: Version) -> None:
    assert score_targets(version, []) == Counts()


def test_every_reciprocal_rank_is_a_whole_number_of_units() -> None:
    assert all(RECIPROCAL_UNIT % (rank + 1) == 0 for rank in range(20))
