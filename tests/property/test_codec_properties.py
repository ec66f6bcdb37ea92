from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ader_stream.errors import DecodeError
from ader_stream.runtime.resources import resource
from ader_stream.stream.avro.codec import decode, decode_as, encode, load_schema
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat, encode_click
from ader_stream.stream.scores.score_log import Score, ScoreKey, decode_score, encode_score
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import BlockCounts, BlockEnd
from ader_stream.stream.sessions.records.session_records import decode_sessions, encode_outputs
from ader_stream.types import Click, Counts, Session
from tests.fakes import FakeRecord

TYPES = sorted(file.stem for file in resource("schemas").glob("*.avsc"))

first_draw_may_be_slow = settings(suppress_health_check=[HealthCheck.too_slow])
"""On a fresh clone the first text that is drawn builds hypothesis's table of Unicode."""

texts = st.text(max_size=8)
longs = st.integers(-(2**63), 2**63 - 1)
times = st.integers(0, 253_402_300_799_999)
whole = st.integers(0, 2**40)

PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": longs,
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=8),
    "string": texts,
}


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Any value of an Avro schema."""
    if isinstance(schema, list):
        return st.one_of(*map(values, schema))
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    if schema["type"] == "record":
        fields = {field["name"]: values(field["type"]) for field in schema["fields"]}
        return st.fixed_dictionaries(fields)
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), max_size=3)
    return st.dictionaries(texts, values(schema["values"]), max_size=2)


@first_draw_may_be_slow
@given(type_name=st.sampled_from(TYPES), data=st.data())
def test_every_value_of_every_type_comes_back(type_name: str, data: st.DataObject) -> None:
    value = data.draw(values(load_schema(type_name)))
    assert decode(*encode(type_name, value)) == (type_name, value)


@first_draw_may_be_slow
@given(type_name=st.sampled_from(TYPES), data=st.data(), noise=st.binary(min_size=1, max_size=8))
def test_damaged_bytes_are_a_value_or_refused_and_nothing_else(
    type_name: str, data: st.DataObject, noise: bytes
) -> None:
    encoded, _ = encode(type_name, data.draw(values(load_schema(type_name))))
    start = data.draw(st.integers(0, len(encoded)))
    damaged = encoded[:start] + noise + encoded[start + len(noise) :]
    try:
        value = decode_as(type_name, damaged)
    except DecodeError as error:
        assert type_name in str(error)
    else:
        assert set(value) == {field["name"] for field in load_schema(type_name)["fields"]}


@st.composite
def open_sessions(draw: st.DrawFn) -> OpenSession:
    moments = sorted(draw(st.lists(times, min_size=1, max_size=4)))
    positions = st.sets(st.sampled_from(range(len(moments))))
    fields = st.dictionaries(texts, texts, min_size=1, max_size=2)
    return OpenSession.of(
        draw(texts),
        draw(st.integers(-2, 2)),
        moments,
        [draw(texts) for _ in moments],
        {position: draw(times) for position in draw(positions)},
        {position: draw(fields) for position in draw(positions)},
    )


sessions = open_sessions()
block_ends = st.builds(BlockEnd, longs, st.builds(BlockCounts, whole, whole, whole))


@given(partition=st.integers(0, 2**31 - 1), outputs=st.lists(sessions | block_ends, max_size=8))
def test_what_a_window_puts_out_comes_back_in_its_order(
    partition: int, outputs: list[OpenSession | BlockEnd]
) -> None:
    back: list[tuple[int, Session] | BlockEnd] = []
    for data, headers in encode_outputs(partition, outputs):
        name, value = decode(data, headers)
        assert value["partition"] == partition
        if name == "SessionBatch":
            back += [(value["block"], session) for session in decode_sessions(value)]
        else:
            counts = BlockCounts(value["clicks"], value["sessions"], value["late"])
            back.append(BlockEnd(value["block"], counts))
    assert back == [
        output if isinstance(output, BlockEnd) else (output.block, as_session(output))
        for output in outputs
    ]


def as_session(opened: OpenSession) -> Session:
    items, moments = tuple(opened.items), tuple(opened.times)
    return Session(opened.key, items, moments, opened.carried, opened.extra)


@given(
    key=st.builds(ScoreKey, longs, st.none() | longs, st.integers(0, 2**31 - 1)),
    score=st.builds(Score, longs, st.builds(Counts, longs, longs, longs, longs, longs, longs)),
)
def test_a_score_comes_back(key: ScoreKey, score: Score) -> None:
    _, value, headers = encode_score(key, score)
    assert decode_score(decode(value, headers)[1]) == (key, score)


names = st.text(min_size=1, max_size=8)


@given(
    key=names,
    item=st.text(min_size=1),
    time=times,
    event_id=st.none() | names,
    price=st.integers() | st.text() | st.lists(st.booleans(), max_size=2),
)
def test_a_json_click_comes_back(
    key: str, item: str, time: int, event_id: str | None, price: object
) -> None:
    format_ = ClickFormat("json", "user", "sku", "at", "id", ("price",))
    extra = {"price": json.dumps(price, ensure_ascii=False, separators=(",", ":"))}
    click = Click(key, item, time, event_id, extra)
    assert ClickDecoder(format_).decode(FakeRecord(encode_click(click, format_))) == click


@given(key=names, item=st.text(min_size=1), time=times, event_id=st.none() | names)
def test_an_avro_click_comes_back(key: str, item: str, time: int, event_id: str | None) -> None:
    format_ = ClickFormat("avro", event_id="event_id")
    click = Click(key, item, time, event_id)
    assert ClickDecoder(format_).decode(FakeRecord(encode_click(click, format_))) == click
