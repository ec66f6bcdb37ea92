from __future__ import annotations

import pytest

from ader_stream.ader.data.vocabulary import Vocabulary


def test_items_stand_in_order_of_first_appearance() -> None:
    assert list(Vocabulary().extended([("c", "a"), ("a", "b")]).items) == ["c", "a", "b"]


def test_growing_moves_no_item() -> None:
    old = Vocabulary.of(("c", "a"))
    new = old.extended([("b", "a", "d")])
    assert list(new.items) == ["c", "a", "b", "d"]
    assert [new.index(item) for item in old.items] == [1, 2]


def test_block_without_new_items_leaves_the_vocabulary_as_it_is() -> None:
    vocabulary = Vocabulary.of(("c", "a"))
    assert list(vocabulary.extended([("a",), ("c", "a")]).items) == ["c", "a"]


def test_item_joins_from_min_item_count_on() -> None:
    vocabulary = Vocabulary().extended([("a", "b"), ("b",)], min_item_count=2)
    assert list(vocabulary.items) == ["b"]


def test_index_zero_is_left_to_padding() -> None:
    vocabulary = Vocabulary.of(("a", "b"))
    assert [vocabulary.index("a"), vocabulary.index("b"), vocabulary.index("x")] == [1, 2, None]


def test_encode_drops_unknown_items() -> None:
    assert Vocabulary.of(("a", "b")).encode(["b", "x", "a", "b"]) == [2, 1, 2]


def test_item_undoes_index() -> None:
    assert Vocabulary.of(("a", "b")).item(2) == "b"


@pytest.mark.parametrize("index", [0, 3, -1])
def test_item_refuses_an_index_outside(index: int) -> None:
    with pytest.raises(IndexError, match="1 … 2"):
        Vocabulary.of(("a", "b")).item(index)
