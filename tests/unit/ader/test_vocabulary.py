from __future__ import annotations

import pytest

from ader_stream.ader.vocabulary import Vocabulary


def test_items_stand_in_order_of_first_appearance() -> None:
    assert Vocabulary().extended([("c", "a"), ("a", "b")]).items == ("c", "a", "b")


def test_growing_moves_no_item() -> None:
    old = Vocabulary(("c", "a"))
    new = old.extended([("b", "a", "d")])
    assert new.items == ("c", "a", "b", "d")
    assert [new.index(item) for item in old.items] == [1, 2]


def test_block_without_new_items_leaves_the_vocabulary_equal() -> None:
    vocabulary = Vocabulary(("c", "a"))
    assert vocabulary.extended([("a",), ("c", "a")]) == vocabulary


def test_item_joins_from_min_item_count_on() -> None:
    assert Vocabulary().extended([("a", "b"), ("b",)], min_item_count=2).items == ("b",)


def test_index_zero_is_left_to_padding() -> None:
    vocabulary = Vocabulary(("a", "b"))
    assert [vocabulary.index("a"), vocabulary.index("b"), vocabulary.index("x")] == [1, 2, None]


def test_encode_drops_unknown_items() -> None:
    assert Vocabulary(("a", "b")).encode(["b", "x", "a", "b"]) == [2, 1, 2]


def test_item_undoes_index() -> None:
    assert Vocabulary(("a", "b")).item(2) == "b"


@pytest.mark.parametrize("index", [0, 3, -1])
def test_item_refuses_an_index_outside(index: int) -> None:
    with pytest.raises(IndexError, match="1 … 2"):
        Vocabulary(("a", "b")).item(index)
