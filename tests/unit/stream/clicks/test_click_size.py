"""Clicks that are too large: what is kept of them counts, not their records."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.clicks.decoder import (
    NOT_PLAIN,
    RECORD_KEY,
    ClickDecoder,
    ClickFormat,
    click_bytes,
    encode_click,
)
from ader_stream.types import Click
from tests.fakes import FakeRecord

LIMIT = 256


def decoder(**fields: object) -> ClickDecoder:
    return ClickDecoder(ClickFormat(max_bytes=LIMIT, **fields))  # type: ignore[arg-type]


def json_click(**fields: object) -> FakeRecord:
    return FakeRecord(json.dumps({"session": "a", "item": "x", "time": 1} | fields).encode(), b"k")


def test_a_large_record_of_a_small_click_is_taken() -> None:
    record = json_click(html="x" * 2_000_000)
    assert decoder().decode(record) == Click("a", "x", 1)
    assert decoder().decode_plain([record]).times == [1]


@pytest.mark.parametrize(
    "large",
    [{"session": "s" * LIMIT}, {"item": "é" * 128}, {"id": "i" * LIMIT}, {"url": "u" * LIMIT}],
)
def test_a_large_click_is_refused_with_its_size_and_the_way_out(large: dict[str, str]) -> None:
    with pytest.raises(
        ClickError, match=rf"bytes of key, .* at most {LIMIT}; .*clicks\.max_bytes"
    ) as refused:
        decoder(event_id="id", extra=("url",)).decode(json_click(**large))
    assert refused.value.reason == "too-large"


def test_the_records_own_key_counts_where_it_is_the_session() -> None:
    record = FakeRecord(b'{"item": "x", "time": 1}', b"k" * LIMIT)
    with pytest.raises(ClickError, match="257 bytes"):
        decoder(session=RECORD_KEY).decode(record)


def test_a_click_that_has_exactly_so_many_bytes_is_taken() -> None:
    click = Click("a", "é" * 127 + "x", 1)
    assert click_bytes(click) == LIMIT
    assert decoder().decode(json_click(item=click.item)) == click


sizes = st.integers(0, 40) | st.integers(LIMIT - 70, LIMIT + 10)


@given(st.lists(st.tuples(sizes, sizes, st.sampled_from("xé")), min_size=16, max_size=20))
def test_many_avro_clicks_at_once_are_refused_as_one_by_one(
    clicks: list[tuple[int, int, str]],
) -> None:
    both = decoder(encoding="avro", event_id="event_id")
    records = [
        FakeRecord(encode_click(Click("k" * key, letter * item, 5, "i"), ClickFormat("avro")))
        for key, item, letter in clicks
    ]
    for record, time in zip(records, both.decode_plain(records).times, strict=True):
        try:
            both.decode(record)
        except ClickError:
            assert time == NOT_PLAIN
