"""Many values read side by side say what fastavro says of each of them, or nothing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.avro.record_columns import columns_reader
from ader_stream.stream.clicks.decoder import NOT_PLAIN, ClickDecoder, ClickFormat
from ader_stream.stream.clicks.formats.values import avro_reader
from tests.fakes import FakeRecord

NAMES = ("who", "what", "at")
PATHS = [(name,) for name in NAMES]

strings = st.text(max_size=3) | st.text("abc", min_size=60, max_size=140)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**42) | st.integers(-70, 70)
scalars: Mapping[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": longs,
    "float": st.just(0.5),
    "double": st.floats(allow_nan=False),
    "string": strings,
    "bytes": st.binary(max_size=3),
}
wanted_types = st.sampled_from(
    ["string", "long", "int", ["null", "string"], ["long", "null"], {"type": "string", "x": 1}]
)
other_types = (
    st.sampled_from([*scalars])
    | st.lists(st.sampled_from([*scalars]), unique=True, min_size=1, max_size=3)
    | st.sampled_from(
        [
            {"type": "array", "items": "long"},
            {"type": "map", "values": "string"},
            {"type": "fixed", "name": "F", "size": 3},
            {"type": "record", "name": "R", "fields": [{"name": "in", "type": "string"}]},
        ]
    )
)


def values_of(type_: Any) -> st.SearchStrategy[Any]:
    if isinstance(type_, list):
        return st.one_of([values_of(branch) for branch in type_])
    if isinstance(type_, str):
        return scalars[type_]
    if type_["type"] == "array":
        return st.just([]) | st.lists(longs, max_size=2)
    if type_["type"] == "map":
        return st.just({}) | st.dictionaries(strings, strings, max_size=2)
    if type_["type"] == "record":
        return st.fixed_dictionaries({"in": strings})
    return st.binary(min_size=3, max_size=3) if type_["type"] == "fixed" else scalars["string"]


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Three fields that are wanted, and others anywhere among them."""
    types = [(name, draw(wanted_types)) for name in NAMES]
    for number, type_ in enumerate(draw(st.lists(other_types, max_size=3))):
        is_named = isinstance(type_, dict) and "name" in type_
        own = type_ | {"name": f"T{number}"} if is_named else type_
        types.insert(draw(st.integers(0, len(types))), (f"x{number}", own))
    return {
        "type": "record",
        "name": "Visit",
        "fields": [{"name": name, "type": type_} for name, type_ in types],
    }


def written(schema: Any, value: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


@st.composite
def batches(draw: st.DrawFn) -> tuple[Any, list[bytes]]:
    """Values of a schema, some of them damaged."""
    schema = draw(schemas())
    fields = {field["name"]: values_of(field["type"]) for field in schema["fields"]}
    values = []
    for sound in draw(st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=6)):
        value = bytearray(written(schema, sound))
        for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
            place = draw(st.integers(0, len(value)))
            value[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
        values.append(bytes(value))
    return schema, values


@settings(max_examples=400)
@given(batches())
def test_what_is_read_side_by_side_is_what_fastavro_reads(batch: tuple[Any, list[bytes]]) -> None:
    schema, values = batch
    read, read_one = columns_reader(schema, PATHS), avro_reader(schema)
    assert read is not None
    columns = read(values)
    for position, value in enumerate(values):
        if position not in columns.left_out:
            fields = read_one(value)
            assert [column[position] for column in columns.fields] == [fields[n] for n in NAMES]


@given(schemas(), st.data())
def test_a_flat_value_is_never_left_out(schema: Any, data: st.DataObject) -> None:
    """Flat: nothing is null that is wanted, and no list holds anything."""
    fields = {field["name"]: flat_values_of(field) for field in schema["fields"]}
    values = data.draw(st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=4))
    read = columns_reader(schema, PATHS)
    assert read is not None
    assert read([written(schema, value) for value in values]).left_out == []


def flat_values_of(field: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    type_ = field["type"]
    if field["name"] in NAMES:
        text = isinstance(type_, dict) or "string" in type_
        return strings if text else st.integers(-(2**31), 2**31 - 1)
    if isinstance(type_, dict) and type_["type"] in ("array", "map"):
        return st.just([] if type_["type"] == "array" else {})
    return values_of(type_).filter(lambda value: not isinstance(value, int) or abs(value) < 2**60)


@pytest.mark.parametrize(
    "type_",
    [
        {"type": "string", "logicalType": "uuid"},
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "enum", "name": "E", "symbols": ["a"]},
        "double",
        ["null", "string", "long"],
    ],
)
def test_a_type_that_makes_other_values_is_not_read_side_by_side(type_: Any) -> None:
    fields = [{"name": "who", "type": type_}, {"name": "what", "type": "string"}]
    assert columns_reader({"type": "record", "name": "V", "fields": fields}, [("who",)]) is None


def test_a_field_that_is_not_there_is_not_read_side_by_side() -> None:
    fields = [{"name": "what", "type": "string"}]
    assert columns_reader({"type": "record", "name": "V", "fields": fields}, [("who",)]) is None


click_values = st.binary(max_size=12) | st.builds(
    lambda key, item, time, event_id: written(
        CLICK, {"session": key, "item": item, "time": time, "event_id": event_id, "extra": {}}
    ),
    st.text(max_size=3) | st.sampled_from(["", "__partition__", "__partition__/x"]),
    st.text(max_size=3),
    st.integers(-5, 5) | st.integers(253_402_300_799_998, 253_402_300_800_001),
    st.none() | st.text(max_size=2),
)
CLICK = {
    "type": "record",
    "name": "C",
    "fields": [
        {"name": "session", "type": "string"},
        {"name": "item", "type": "string"},
        {"name": "time", "type": "long"},
        {"name": "event_id", "type": ["null", "string"]},
        {"name": "extra", "type": {"type": "map", "values": "string"}},
    ],
}


@given(
    st.lists(click_values, min_size=16, max_size=20),
    st.sampled_from(["avro", "avro-registry"]),
    st.sampled_from(["", "event_id"]),
)
def test_many_clicks_are_decoded_as_each_of_them(
    values: list[bytes], encoding: str, event_id: str
) -> None:
    head = b"\0\0\0\0\1" if encoding == "avro-registry" else b""
    records = [FakeRecord(head + value, b"k") for value in values]
    decoder = ClickDecoder(ClickFormat(encoding, event_id=event_id))
    keys, items, times, event_ids, ignored = decoder.decode_plain(records)
    assert not any(ignored)
    event_ids = event_ids or [None] * len(records)
    assert [
        id_ for id_, time in zip(event_ids, times, strict=True) if time == NOT_PLAIN and id_
    ] == []
    columns = zip(keys, items, times, event_ids, strict=True)
    for record, (key, item, time, id_) in zip(records, columns, strict=True):
        try:
            click = decoder.decode(record)
        except ClickError:
            assert time == NOT_PLAIN
        else:
            assert time == NOT_PLAIN or (key, item, time, id_) == click[:4]
