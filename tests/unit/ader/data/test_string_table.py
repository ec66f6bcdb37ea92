from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.ader.data import string_table as module
from ader_stream.ader.data.string_table import StringTable

words = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), unique=True)


@given(words, words)
def test_texts_find_what_a_dict_finds(known: list[str], others: list[str]) -> None:
    texts, rows = StringTable.of(known), {text: row for row, text in enumerate(known)}
    assert list(texts) == known
    assert [texts[row] for row in range(len(texts))] == known
    assert [texts.row(text) for text in known + others] == [rows.get(t) for t in known + others]


@given(words, st.data())
def test_texts_that_were_appended_are_found_behind_the_others(
    known: list[str], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(known)))
    texts = StringTable.of(known[:cut]).extended(StringTable.of(known[cut:]))
    assert list(texts) == known
    assert [texts.row(text) for text in known] == list(range(len(known)))


def test_texts_whose_slots_are_given_out_in_turns_are_all_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 7)
    known = [str(number) for number in range(1_000)]
    texts = StringTable.of(known)
    assert [texts.row(text) for text in known] == list(range(1_000))


def test_a_text_that_stands_there_often_is_refused_at_once() -> None:
    """Each of them would look for a free slot behind all the others."""
    with pytest.raises(ValueError, match="199999 of 200000 strings are duplicates"):
        StringTable.of(["hat"] * 200_000)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        StringTable(np.array([0xC3, 0x28], np.uint8), np.array([0, 2]))


def test_a_text_of_six_digits_takes_less_than_thirty_bytes() -> None:
    texts = StringTable.of(map(str, range(100_000, 150_000)))
    assert texts.utf8.nbytes + texts.offsets.nbytes + texts._slots.nbytes < 30 * 50_000
