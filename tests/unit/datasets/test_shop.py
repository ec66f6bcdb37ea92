from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from ader_stream.datasets import ShopSize, SimulatedShop
from ader_stream.errors import SettingsError
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, Click

RULE = BlockRule(origin=4 * DAY_MS, length=7 * DAY_MS)
GAP = 30 * MINUTE_MS
SMALL = ShopSize(blocks=6, sessions=400, items=300)


@pytest.fixture(scope="module")
def blocks() -> list[list[Click]]:
    return [list(clicks) for _, clicks in SimulatedShop(RULE, GAP, SMALL).blocks()]


def visits(clicks: list[Click]) -> dict[str, list[Click]]:
    of_key: dict[str, list[Click]] = {}
    for click in clicks:
        of_key.setdefault(click.key, []).append(click)
    return of_key


def items(clicks: list[Click]) -> set[str]:
    return {click.item for click in clicks}


def test_has_the_size_that_was_asked_for(blocks: list[list[Click]]) -> None:
    assert [len(visits(clicks)) for clicks in blocks] == [SMALL.sessions] * SMALL.blocks
    assert len(set().union(*map(items, blocks))) <= SMALL.items


def test_clicks_are_in_time_order_and_inside_their_block(blocks: list[list[Click]]) -> None:
    for number, clicks in enumerate(blocks):
        assert clicks == sorted(clicks, key=lambda click: click.time)
        assert {RULE.block_of(click.time) for click in clicks} == {number}


@pytest.mark.parametrize(("gap", "length"), [(2, 31), (GAP, 31), (2, DAY_MS), (1_000, 60_000)])
def test_a_visit_lies_in_its_block_below_the_gap_however_short_they_are(
    gap: int, length: int
) -> None:
    rule = BlockRule(origin=7, length=length)
    for number, clicks in SimulatedShop(rule, gap, SMALL).blocks():
        for visit in visits(list(clicks)).values():
            assert {rule.block_of(click.time) for click in visit} == {number}
            assert all(later.time - earlier.time < gap for earlier, later in pairwise(visit))


def test_visits_are_interleaved(blocks: list[list[Click]]) -> None:
    clicks = SimulatedShop(BlockRule(0, DAY_MS), GAP, ShopSize(blocks=1)).blocks()
    keys = [click.key for click in next(clicks).clicks]
    returns = sum(1 for a, b, c in zip(keys, keys[1:], keys[2:], strict=False) if a == c != b)
    assert returns > 0


def test_the_same_seed_gives_the_same_clicks_and_another_one_others() -> None:
    first, again, other = (
        next(SimulatedShop(RULE, GAP, SMALL, seed).blocks()).clicks for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_items_appear_fade_and_return(blocks: list[list[Click]]) -> None:
    present = [items(clicks) for clicks in blocks]
    assert present[1] - present[0]
    assert present[0] - present[1]
    assert (present[0] & present[3]) - present[1] - present[2]


def test_the_item_before_tells_more_than_popularity(blocks: list[list[Click]]) -> None:
    """Learn from block 3 what follows what, and guess block 4: ten guesses of 300 items."""
    popular, following = Counter[str](), dict[str, Counter[str]]()
    for before, after in transitions(blocks[3]):
        popular[after] += 1
        following.setdefault(before, Counter())[after] += 1
    best = {item for item, _ in popular.most_common(10)}
    pairs = transitions(blocks[4])
    by_popularity = sum(after in best for _, after in pairs)
    by_item = sum(
        after in dict(following.get(before, Counter()).most_common(10)) for before, after in pairs
    )
    assert by_item > 2 * by_popularity


def transitions(clicks: list[Click]) -> list[tuple[str, str]]:
    return [
        (earlier.item, later.item)
        for visit in visits(clicks).values()
        for earlier, later in pairwise(visit)
    ]


def test_says_that_it_is_simulated() -> None:
    shop = SimulatedShop(RULE, GAP)
    assert shop.simulated
    assert "simulated" in shop.name.lower()


@pytest.mark.parametrize(("gap", "length"), [(1, DAY_MS), (GAP, 30)])
def test_a_gap_or_block_too_short_for_a_visit_is_refused(gap: int, length: int) -> None:
    with pytest.raises(SettingsError, match="needs a gap of at least 2ms"):
        SimulatedShop(BlockRule(0, length), gap)


@pytest.mark.parametrize("size", [{"blocks": 0}, {"sessions": 0}, {"items": 59}])
def test_a_shop_too_small_is_refused(size: dict[str, int]) -> None:
    [(name, value)] = size.items()
    with pytest.raises(SettingsError, match=f"{name} = {value}; use"):
        ShopSize(**size)
