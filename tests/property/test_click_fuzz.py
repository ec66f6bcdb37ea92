"""Whatever bytes come in: a click that everything behind can write down, or a dead letter."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.clicks import (
    RECORD_KEY,
    RESERVED_KEY,
    WATERMARK_HEADER,
    ClickDecoder,
    ClickFormat,
    decode_heartbeat,
    encode_click,
)
from ader_stream.stream.codec import encode
from ader_stream.stream.open_session import OpenSession
from ader_stream.stream.partition_state import encode_key
from ader_stream.stream.sessionizing import dead_letter
from ader_stream.types import DEAD_LETTER_REASONS, Click
from tests.fakes import FakeRecord

RICH_SCHEMA = {
    "type": "record",
    "name": "Rich",
    "fields": [
        {"name": "session", "type": ["null", "long", "bytes", "string", "double"]},
        {"name": "item", "type": ["string", "int", {"type": "string", "logicalType": "uuid"}]},
        {"name": "time", "type": ["long", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "price", "type": {"type": "array", "items": ["bytes", "double", "boolean"]}},
    ],
}


def rich_schema() -> Path:
    with tempfile.NamedTemporaryFile("w", suffix=".avsc", delete=False) as file:
        json.dump(RICH_SCHEMA, file)
    return Path(file.name)


@pytest.fixture(scope="module")
def decoders() -> dict[str, ClickDecoder]:
    schema = rich_schema()
    formats = {
        "json": ClickFormat(event_id="id", extra=("price",)),
        "json, key of the record": ClickFormat(session=RECORD_KEY, extra=("price", "session")),
        "avro, our own": ClickFormat("avro", event_id="event_id", extra=("extra",)),
        "avro, the user's": ClickFormat("avro", extra=("price",), avro_schema=schema),
        "registry": ClickFormat("avro-registry", extra=("price",), avro_schema=schema),
    }
    decoders = {name: ClickDecoder(format_) for name, format_ in formats.items()}
    schema.unlink()
    return decoders


OWN = ClickFormat("avro")
A_CLICK = Click("session", "item", 1_700_000_000_000, "event", {"price": "1"})

surrogates = st.characters(categories=["Cs"])
strange_text = st.text(surrogates, min_size=1, max_size=2) | st.text(max_size=5)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.integers(0, 10**13)
    | st.floats()
    | strange_text
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strange_text, inner, max_size=3),
    max_leaves=6,
)
field_names = st.sampled_from(["session", "item", "time", "id", "price"])
json_fields = st.dictionaries(field_names | strange_text, json_values, max_size=4)
sound_fields = st.sampled_from([{}, {"session": "a", "item": 7, "time": 5}])
json_clicks = st.builds(
    lambda sound, fields: json.dumps(sound | fields).encode(), sound_fields, json_fields
)
valid = st.sampled_from(
    [
        encode_click(A_CLICK, ClickFormat(event_id="id", extra=("price",))),
        encode_click(A_CLICK, OWN),
        b"\0\0\0\0\7" + encode_click(A_CLICK, OWN),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    value = bytearray(draw(valid))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(value)))
        value[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(value)


record_values = st.none() | st.binary(max_size=60) | mutated() | json_clicks
record_keys = st.none() | st.binary(max_size=6)


def outcome(decoder: ClickDecoder, key: bytes | None, value: bytes | None) -> Click | ClickError:
    try:
        return decoder.decode(FakeRecord(value, key))
    except ClickError as error:
        return error


def require_writable_click(click: Click) -> None:
    """What the changelog and the sessions topic need of a click."""
    assert click.key.encode()
    assert not click.key.startswith(RESERVED_KEY)
    assert click.item
    assert 0 <= click.time <= 253_402_300_799_999
    session = OpenSession(click.key, 0, [click.time], [click.item], {}, {0: click.extra})
    encode_key(click.key, [session], None)
    encode_click(click, OWN)


def require_writable_dead_letter(
    error: ClickError, key: bytes | None, value: bytes | None, headers: Any = None
) -> None:
    assert error.reason in DEAD_LETTER_REASONS
    assert error.reason != "late"
    letter = dead_letter(FakeRecord(value, key), headers or [])
    encode("DeadLetter", letter | {"reason": error.reason, "error": str(error)})


@settings(max_examples=300)
@given(
    name=st.sampled_from(
        ["json", "json, key of the record", "avro, our own", "avro, the user's", "registry"]
    ),
    key=record_keys,
    value=record_values,
)
def test_any_record_is_a_click_or_a_dead_letter(
    decoders: dict[str, ClickDecoder], name: str, key: bytes | None, value: bytes | None
) -> None:
    found = outcome(decoders[name], key, value)
    if isinstance(found, Click):
        require_writable_click(found)
    else:
        require_writable_dead_letter(found, key, value)


@settings(max_examples=300)
@given(value=json_clicks, key=record_keys)
def test_any_json_object_is_a_click_or_a_dead_letter(
    decoders: dict[str, ClickDecoder], value: bytes, key: bytes | None
) -> None:
    for name in ("json", "json, key of the record"):
        found = outcome(decoders[name], key, value)
        if isinstance(found, Click):
            require_writable_click(found)
        else:
            require_writable_dead_letter(found, key, value)


@given(
    headers=st.none()
    | st.lists(
        st.tuples(
            st.just(WATERMARK_HEADER) | st.text(max_size=4),
            st.none() | st.binary(max_size=20) | st.integers().map(lambda n: str(n).encode()),
        ),
        max_size=3,
    )
)
def test_any_headers_are_a_watermark_no_heartbeat_or_a_dead_letter(headers: Any) -> None:
    try:
        watermark = decode_heartbeat(headers)
    except ClickError as error:
        require_writable_dead_letter(error, None, None, headers)
    else:
        assert watermark is None or 0 <= watermark <= 253_402_300_799_999
