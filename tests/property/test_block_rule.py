"""Blocks under a rule that changes: numbers go up, and every time lies in one block."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ader_stream.types import BlockRule

lengths = st.integers(1, 50)
origins = st.integers(-100, 100)


@st.composite
def changing_rules(draw: st.DrawFn) -> BlockRule:
    """A rule with up to four changes, each at the end of a block that may have been open then."""
    rule = BlockRule(draw(origins), draw(lengths))
    block = draw(st.integers(-5, 5))
    for step in draw(st.lists(st.integers(0, 5), max_size=4)):
        block += step
        rule = rule.changed(block + 1, draw(origins), draw(lengths))
    return rule


@given(rule=changing_rules(), block=st.integers(-20, 60))
def test_blocks_lie_end_to_end(rule: BlockRule, block: int) -> None:
    start, end = rule.start(block), rule.start(block + 1)
    assert start < end
    assert (rule.block_of(start - 1), rule.block_of(start)) == (block - 1, block)
    assert rule.block_of(end - 1) == block
    assert rule.length_of(block) == end - start


@given(
    rule=changing_rules(), block=st.integers(-20, 60), origin=origins, length=lengths, ahead=lengths
)
def test_a_change_leaves_what_lies_before_it_alone_and_follows_the_new_grid_from_there(
    rule: BlockRule, block: int, origin: int, length: int, ahead: int
) -> None:
    changed = rule.changed(block, origin, length)
    start = rule.start(block)
    assert changed.start(block) == start
    assert changed.block_of(start - 1) == rule.block_of(start - 1)
    assert (changed.start(block + ahead) - origin) % length == 0
    assert changed.start(block + 1) - start <= length
    assert changed.start(block + ahead + 1) - changed.start(block + ahead) == length
    assert changed.grid == BlockRule(origin, length)


@given(rule=changing_rules(), block=st.integers(-20, 60), origin=origins, length=lengths)
def test_a_change_that_was_to_come_later_comes_to_nothing(
    rule: BlockRule, block: int, origin: int, length: int
) -> None:
    later = rule.changed(block + 3, 0, 1)
    assert later.changed(block, origin, length) == rule.changed(block, origin, length)
