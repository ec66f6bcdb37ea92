from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ader_stream.errors import ClickError, IgnoredError, SettingsError
from ader_stream.stream.clicks.decoder import NOT_PLAIN, ClickDecoder, ClickFormat
from ader_stream.stream.clicks.language.filters import compile_filter, parse_filter
from ader_stream.stream.schema_registry.client import RegistryAccess
from tests.fakes import FakeRecord
from tests.registry import running_registry
from tests.unit.stream.clicks.test_decoder import VISIT, avro, avro_decoder, visit

EVENT = {
    "event": "view",
    "type": 5,
    "price": "19.9",
    "bot": False,
    "empty": "",
    "none": None,
    "user": {"id": "u", "tags": ["a", "b"]},
    "not": 1,
    "paid": Decimal("1.5"),
    "uuid": UUID(int=7),
}


@pytest.mark.parametrize(
    "text",
    [
        'event == "view"',
        "event == 'view'",
        'event != "buy"',
        'missing != "view"',
        'event in ("open", "view")',
        'event not in ("open", "buy")',
        'missing not in ("open")',
        'type == 5 and type == "5" and type in (4, 5)',
        'price == 19.9 and price > 19 and price <= 2e1 and price == "19.9"',
        "paid > 1 and paid < 2",
        "bot == false",
        "missing == null and none == null",
        "exists(event) and exists(bot)",
        "event and not bot",
        "not exists(missing) and not none and not empty",
        'user.id == "u" and user.tags.0 == "a"',
        '(missing | event) == "view"',
        'event == "buy" or event == "open" or (type > 4 and event == "view")',
        'event == "view" or event == "buy" and missing',
        r"\not == 1",
        '((user.id) + type) == "u:5"',
        '((event == "view"))',
        r'missing == "a" or event == "v\iew"',
        'uuid == "00000000-0000-0000-0000-000000000007"',
    ],
)
def test_a_filter_passes(text: str) -> None:
    assert compile_filter(parse_filter(text))(EVENT)
    assert not compile_filter(parse_filter(f"not ({text})"))(EVENT)


@pytest.mark.parametrize(
    "text",
    [
        'event == "View"',
        'missing == "view"',
        "event > 5",
        "missing < 5",
        "bot",
        "bot == 0",
        "type == true",
        'event in ("open", 5)',
        "user == 5",
        'user.tags == "a"',
    ],
)
def test_a_filter_leaves_out(text: str) -> None:
    assert not compile_filter(parse_filter(text))(EVENT)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("event = 'view'", "at \"= 'view'\": expected a name"),
        ("event == view", r"at 'view': expected a text in quotes"),
        ("event ==", "at its end: expected a text in quotes"),
        ('event "view"', "expected 'and', 'or' or a comparison"),
        ("event in 'a'", r"expected '\('"),
        ("event in ()", "expected a text in quotes"),
        ("event not 'a'", "expected 'in'"),
        ("price > 'a'", "expected a number"),
        ("(in)", r"one that is called in is written \\in"),
        ("and", r"one that is called and is written \\and"),
        ("exists event", r"expected '\('"),
        ("a == 1 and", "at its end: expected a field's name"),
        ("(a == 1", r"at its end: expected '\)'"),
        ("not " * 50 + "a", "at most 20 levels"),
        ("(" * 5_000 + "a", "at most 20 levels"),
        ("__import__('os')", "expected 'and', 'or' or a comparison"),
    ],
)
def test_a_bad_filter_is_named_with_its_place_and_what_was_expected(
    text: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        parse_filter(text)


def outcome(decoder: ClickDecoder, record: FakeRecord) -> str:
    try:
        return decoder.decode(record).key
    except IgnoredError as error:
        return f"ignored: {error.reason}"
    except ClickError as error:
        return error.reason


def click(**fields: Any) -> FakeRecord:
    return FakeRecord(json.dumps({"session": "a", "item": "x", "time": 5} | fields).encode(), b"k")


def test_a_record_that_is_left_out_need_not_be_a_click() -> None:
    decoder = ClickDecoder(ClickFormat(where='event == "view"'))
    assert outcome(decoder, click(event="view")) == "a"
    assert outcome(decoder, FakeRecord(b'{"event": "page"}')) == "ignored: where"
    assert outcome(decoder, FakeRecord(b'{"event": "view"}')) == "missing-field"
    assert outcome(decoder, FakeRecord(b"{")) == "malformed"


def test_a_filter_of_headers_leaves_out_values_of_any_format() -> None:
    decoder = ClickDecoder(ClickFormat(where='%type == "view" and exists($key)'))
    other = FakeRecord(b"\0\1\2", b"k", headers=[("type", b"order")])
    assert outcome(decoder, other) == "ignored: where"
    view = FakeRecord(click().value(), b"k", headers=[("type", b"view")])
    assert outcome(decoder, view) == "a"


@pytest.mark.parametrize("key", ["null", "", None, 0])
def test_placeholders_of_a_session_key_are_ignored(key: object) -> None:
    decoder = ClickDecoder(ClickFormat(ignore_keys=("null", "", "0")))
    assert outcome(decoder, click(session=key, item=None)) == "ignored: key"
    assert outcome(decoder, FakeRecord(b"{}")) == "ignored: key"
    assert outcome(decoder, click(session=[])) == "bad-value"


def test_each_part_of_a_joined_key_may_be_a_placeholder() -> None:
    decoder = ClickDecoder(ClickFormat(session="user + device", ignore_keys=("null",)))
    assert outcome(decoder, click(user="null", device="d")) == "ignored: key"
    assert outcome(decoder, click(user="u", device="d")) == "u:d"


def test_ignored_records_of_a_batch_are_known_by_their_positions() -> None:
    decoder = ClickDecoder(ClickFormat(where="view", ignore_keys=("null",)))
    records = [click(view=1), click(), click(view=1, session="null"), FakeRecord(None)]
    clicks = decoder.decode_plain(records)
    assert clicks.times == [5, NOT_PLAIN, NOT_PLAIN, NOT_PLAIN]
    assert clicks.ignored == {1: "where", 2: "key"}


def test_avro_clicks_of_a_placeholder_are_left_out_of_a_batch(tmp_path: Path) -> None:
    decoder = avro_decoder(tmp_path, VISIT, ignore_keys=("null",), event_id="sku")
    records = [FakeRecord(avro(VISIT, visit(key, 7, 5))) for key in ["a", "null"] * 20]
    clicks = decoder.decode_plain(records)
    assert clicks.times == [5, NOT_PLAIN] * 20
    assert clicks.event_ids == ["7", None] * 20
    assert outcome(decoder, records[1]) == "ignored: key"


def test_a_filter_of_a_field_that_the_avro_schema_has_not_is_a_wrong_setting(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match=r"has no field event\.type"):
        avro_decoder(tmp_path, VISIT, where='user and event.type == "view"')


def test_avro_clicks_are_filtered_by_their_fields(tmp_path: Path) -> None:
    decoder = avro_decoder(tmp_path, VISIT, where="sku > 6")
    records = [FakeRecord(avro(VISIT, visit("a", sku, 5))) for sku in (6, 7) * 10]
    assert decoder.decode_plain(records).times == [NOT_PLAIN, 5] * 10


@pytest.mark.parametrize(
    ("key_format", "key", "session"),
    [
        ("text", b"user", "user"),
        ("json", b'"user"', "user"),
        ("json", b"7", "7"),
        ("int", b"\xff\xff\xff\xfe", "-2"),
        ("long", b"\0\0\0\0\0\0\1\0", "256"),
        ("uuid", bytes(15) + b"\7", "00000000-0000-0000-0000-000000000007"),
        ("binary", b"\xff\0", "ff00"),
        ("int", b"\7", "bad-value"),
        ("uuid", b"\7", "bad-value"),
        ("json", b"{", "bad-value"),
        ("long", None, "bad-value"),
    ],
)
def test_a_record_key_is_read_in_its_format(
    key_format: str, key: bytes | None, session: str
) -> None:
    decoder = ClickDecoder(ClickFormat(session="$key", key_format=key_format))
    assert outcome(decoder, FakeRecord(click().value(), key)) == session


def test_record_keys_of_a_schema_registry_are_read_by_their_schemas() -> None:
    user = {"type": "record", "name": "Key", "fields": [{"name": "user", "type": "string"}]}
    with running_registry() as registry:
        ids = [registry.register("clicks-key", schema) for schema in (user, '"long"')]
        access = RegistryAccess(registry.url)
        format_ = ClickFormat(
            session="$key.user | $key", key_format="avro-registry", registry=access
        )
        decoder = ClickDecoder(format_)
        written = [avro(user, {"user": "u"}), b"\x0e"]
        keys = [
            bytes(1) + id_.to_bytes(4, "big") + key for id_, key in zip(ids, written, strict=True)
        ]
        records = [FakeRecord(click().value(), key) for key in keys]
        decoder.check_readable(records)
        registry.stop()
        cut = FakeRecord(click().value(), keys[0][:-1])
        assert [outcome(decoder, record) for record in (records[0], cut)] == ["u", "malformed"]
        assert decoder.decode(records[1]).key == "7"


def test_keys_of_a_schema_registry_need_one() -> None:
    with pytest.raises(SettingsError, match=r"expected clicks\.registry_url"):
        ClickDecoder(ClickFormat(session="$key.user", key_format="avro-registry"))
