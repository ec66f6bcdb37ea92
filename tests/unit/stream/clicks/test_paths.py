from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ader_stream.errors import ClickError, SettingsError
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.clicks.language.paths import (
    MOST_NESTED,
    FirstOf,
    ItemWith,
    Joined,
    RecordPart,
    parse_field,
)
from tests.fakes import FakeRecord
from tests.unit.stream.clicks.test_decoder import avro, avro_decoder, record_of, visit

HEADERS, KEY = RecordPart.HEADERS, RecordPart.KEY


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("session", ("session",)),
        ("@timestamp", ("@timestamp",)),
        ("user-id", ("user-id",)),
        ("$session_id", ("$session_id",)),
        (r"Session\ ID", ("Session ID",)),
        (r"a\.b.c", ("a.b", "c")),
        (r"a\\b", ("a\\b",)),
        ("items.0.sku", ("items", "0", "sku")),
        ("items[-1].sku", ("items", "-1", "sku")),
        ("ps[key=sid].value", ("ps", ItemWith("key", "sid"), "value")),
        ('ps[ a\\.b = "x ]" ]', ("ps", ItemWith("a.b", "x ]"))),
        ("%ce_time", (HEADERS, "ce_time")),
        (r"%a\.b.c", (HEADERS, "a.b", "c")),
        (r"\%ce_time", ("%ce_time",)),
        ("$key", (KEY,)),
        ("$key.payload.user", (KEY, "payload", "user")),
        (r"\$key", ("$key",)),
        ("$timestamp", (RecordPart.TIMESTAMP,)),
        ("sku|id", FirstOf((("sku",), ("id",)))),
        ("user + device", Joined((("user",), ("device",)))),
        ("a + b | c", FirstOf((Joined((("a",), ("b",))), ("c",)))),
        ("(a | b) + c", Joined((FirstOf((("a",), ("b",))), ("c",)))),
    ],
)
def test_a_path_is_parsed(written: str, parsed: object) -> None:
    assert parse_field(written) == parsed


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "at its end: expected a field's name"),
        ("a..b", r"at '\.\.b': expected a name"),
        ("a.", r"at '\.': expected a name"),
        ("user id", "at 'id': expected .*a blank within a name is written"),
        ("a |", "at its end: expected a field's name"),
        ("| a", r"at '\| a': expected a field's name"),
        ("(a | b", r"at its end: expected '\)'"),
        ("a[b", r"at '\[b': expected a name"),
        ("%", "expected a header's name after %"),
        ("$header.x", "expected %NAME for a header"),
        ("$timestamp.x", "expected \\$timestamp alone"),
        ('"a"', "expected a field's name"),
        ("(" * (MOST_NESTED + 1) + "a", "at most 20 levels"),
    ],
)
def test_a_bad_path_is_named_with_its_place_and_what_was_expected(
    written: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        parse_field(written)


def item_of(path: str, value: object, **record: Any) -> str:
    decoder = ClickDecoder(ClickFormat(session="$key", item=path, time="$timestamp"))
    return decoder.decode(
        FakeRecord(json.dumps(value).encode(), **{"key": b"k", "timestamp": 5} | record)
    ).item


GA4 = {"event_params": [{"key": "page", "value": {"s": "/"}}, {"key": "id", "value": {"i": 7}}]}


@pytest.mark.parametrize(
    ("path", "value", "item"),
    [
        ("items.0.sku", {"items": [{"sku": "a"}, {"sku": "b"}]}, "a"),
        ("items.-1.sku", {"items": [{"sku": "a"}, {"sku": "b"}]}, "b"),
        ("items.0.sku", {"items": {"0": {"sku": "a"}}}, "a"),
        ("event_params[key=id].value.i", GA4, "7"),
        ("lines[number=2].sku", {"lines": [None, {"number": 2, "sku": "x"}]}, "x"),
        ("properties.sku", {"properties": '{"sku": "a"}'}, "a"),
        ("a.b.0", {"a": json.dumps({"b": json.dumps([5])})}, "5"),
        ("sku | id", {"sku": None, "id": 5}, "5"),
        ("sku | id", {"sku": "", "id": 5}, "5"),
        ("sku | id", {"id": 5}, "5"),
        ("sku | id", {"sku": "a", "id": 5}, "a"),
        ("brand + sku", {"brand": "b:c", "sku": 5}, "b\\:c:5"),
        ("(a | b) + sku", {"b": "x", "sku": 5.0}, "x:5"),
    ],
)
def test_a_value_is_found_wherever_it_is(path: str, value: object, item: str) -> None:
    assert item_of(path, value) == item


def test_parts_of_the_record_are_fields_too() -> None:
    headers = [("sku", b"first"), ("sku", b"last"), ("trace", b"\xff"), ("context", b'{"sku": 7}')]
    assert item_of("%sku", {}, headers=headers) == "last"
    assert item_of("%context.sku", {}, headers=headers) == "7"
    assert item_of("$key.payload.sku", {}, key=b'{"payload": {"sku": "s"}}') == "s"
    assert item_of("sku | $key", {"sku": None}, key=b"k") == "k"
    assert item_of(r"\$key", {"$key": "of the value"}) == "of the value"


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("items.1.sku", {"items": [{"sku": "a"}]}, "list in place of an object"),
        ("items.sku", {"items": [{"sku": "a"}]}, "list in place of an object"),
        ("params[key=x].v", {"params": [{"key": "y"}]}, "list in place of an object"),
        ("properties.sku", {"properties": "sku"}, "str in place of an object"),
        ("properties.sku", {"properties": '{"id": 1}'}, "'id'"),
        ("sku | id", {"sku": None, "other": 1}, "'other', 'sku'"),
        ("brand + sku", {"brand": "b"}, "'brand'"),
        ("%sku", {}, "none"),
        ("$key.sku", {}, "bytes in place of an object"),
    ],
)
def test_a_value_that_is_not_there_is_named_beside_what_is(
    path: str, value: object, found: str
) -> None:
    with pytest.raises(ClickError, match=f"no field .*; found: {found}$") as refusal:
        item_of(path, value)
    assert refusal.value.reason == "missing-field"


def test_an_avro_value_is_found_by_the_same_paths(tmp_path: Path) -> None:
    line = {"type": "record", "name": "Line", "fields": [{"name": "id", "type": "long"}]}
    schema = record_of("string", {"type": "array", "items": line}, "long")
    value = avro(schema, visit('{"id": "u"}', [{"id": 7}, {"id": 8}], 5))
    decoder = avro_decoder(tmp_path, schema, session="user.id", item="none | sku.-1.id")
    click = decoder.decode(FakeRecord(value))
    assert (click.key, click.item) == ("u", "8")


@pytest.mark.parametrize("item", ["sku.id", "none | other", "sku + none"])
def test_a_path_that_the_avro_schema_cannot_have_is_a_wrong_setting(
    tmp_path: Path, item: str
) -> None:
    with pytest.raises(SettingsError, match="has no field"):
        avro_decoder(tmp_path, record_of("string", "long", "long"), item=item)
