from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from ader_stream.errors import ClickError, SettingsError
from ader_stream.stream.clicks.decoder import (
    RECORD_KEY,
    RECORD_TIME,
    WATERMARK_HEADER,
    ClickDecoder,
    ClickFormat,
    decode_heartbeat,
    encode_click,
)
from ader_stream.types import Click
from tests.fakes import FakeRecord

JSON = ClickDecoder(ClickFormat())


def decode(fields: dict[str, Any], decoder: ClickDecoder = JSON) -> Click:
    return decoder.decode(FakeRecord(json.dumps(fields).encode()))


def reason_of(decoder: ClickDecoder, value: bytes | None, key: bytes | None = None) -> str:
    with pytest.raises(ClickError) as refusal:
        decoder.decode(FakeRecord(value, key))
    return refusal.value.reason


def avro(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


def avro_decoder(
    folder: Path, schema: dict[str, Any], encoding: str = "avro", **names: Any
) -> ClickDecoder:
    file = folder / "clicks.avsc"
    file.write_text(json.dumps(schema))
    fields = {"session": "user", "item": "sku", "time": "at"} | names
    return ClickDecoder(ClickFormat(encoding, avro_schema=file, **fields))


def record_of(user: object, sku: object, at: object) -> dict[str, Any]:
    fields = {"user": user, "sku": sku, "at": at}
    return {
        "type": "record",
        "name": "Visit",
        "fields": [{"name": name, "type": type_} for name, type_ in fields.items()],
    }


def visit(user: object, sku: object, at: object) -> dict[str, Any]:
    return {"user": user, "sku": sku, "at": at}


VISIT = record_of("string", "long", "long")


# --- JSON


def test_a_click_is_read_by_field_names() -> None:
    named = ClickDecoder(ClickFormat("json", "user", "sku", "at", "id", ("price", "tags")))
    fields = {"user": "u", "sku": "s", "at": 5, "id": 7, "price": 1.5, "tags": ["ü"], "other": 1}
    click = decode(fields, named)
    assert click == Click("u", "s", 5, "7", {"price": "1.5", "tags": '["ü"]'})


def test_whole_numbers_are_kept_as_their_decimal_text() -> None:
    click = decode({"session": 12, "item": -3, "time": 0})
    assert (click.key, click.item) == ("12", "-3")


def test_the_key_may_be_the_records_own() -> None:
    decoder = ClickDecoder(ClickFormat(session=RECORD_KEY))
    assert decoder.decode(FakeRecord(b'{"item": "x", "time": 1}', "ü".encode())).key == "ü"


def test_fields_that_are_not_there_are_no_event_id_and_no_extra() -> None:
    decoder = ClickDecoder(ClickFormat(event_id="id", extra=("price",)))
    click = decode({"session": "a", "item": "x", "time": 1, "id": None}, decoder)
    assert (click.event_id, click.extra) == (None, {})


@pytest.mark.parametrize("value", [b"", None, b"{", b"[1]", b"12", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_malformed(value: bytes | None) -> None:
    assert reason_of(JSON, value) == "malformed"


def test_a_missing_field_is_named_beside_those_that_are_there() -> None:
    with pytest.raises(ClickError, match=r"no field 'item'; found: 'session', 'tiem'") as refusal:
        decode({"session": "a", "tiem": 1})
    assert refusal.value.reason == "missing-field"


def test_the_text_of_a_refusal_can_be_written_whatever_the_fields_are_called() -> None:
    with pytest.raises(ClickError) as refusal:
        JSON.decode(FakeRecord(b'{"\\ud800": 1, "' + b"x" * 10_000 + b'": 2}'))
    assert len(str(refusal.value).encode()) < 500


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session", ""),
        ("session", None),
        ("session", 1.5),
        ("session", True),
        ("session", "__partition__"),
        ("item", ""),
        ("item", ["x"]),
        ("time", "five"),
        ("time", "-5"),
        ("time", float("inf")),
        ("time", True),
        ("time", -1),
        ("time", 253_402_300_800_000),
        ("time", None),
    ],
)
def test_a_value_that_no_click_can_have_is_bad(field: str, value: object) -> None:
    with pytest.raises(ClickError, match=field) as refusal:
        decode({"session": "a", "item": "x", "time": 1} | {field: value})
    assert refusal.value.reason == "bad-value"


def test_a_record_key_that_is_no_text_is_bad() -> None:
    decoder = ClickDecoder(ClickFormat(session=RECORD_KEY))
    value = b'{"item": "x", "time": 1}'
    assert reason_of(decoder, value, key=b"\xff") == "bad-value"
    assert reason_of(decoder, value, key=None) == "bad-value"


def test_half_a_surrogate_pair_is_no_text_wherever_it_stands() -> None:
    value = b'{"session": "a", "item": "x", "time": 1, "note": "\\ud800"}'
    assert reason_of(JSON, value) == "malformed"


def test_a_number_that_is_none_does_no_harm_where_nobody_asks_for_it() -> None:
    value = b'{"session": "a", "item": "x", "time": 1, "price": NaN}'
    assert JSON.decode(FakeRecord(value)) == Click("a", "x", 1)
    priced = ClickDecoder(ClickFormat(extra=("price",)))
    assert priced.decode(FakeRecord(value)).extra == {"price": "null"}


def test_numbers_of_any_size_keep_every_digit() -> None:
    number = 10**40 + 7
    click = decode({"session": number, "item": number, "time": 1})
    assert (click.key, click.item) == (str(number), str(number))


def test_an_extra_field_that_is_null_passes_through_as_null() -> None:
    decoder = ClickDecoder(ClickFormat(extra=("price", "tags")))
    click = decode({"session": "a", "item": "x", "time": 1, "price": None}, decoder)
    assert click.extra == {"price": "null"}


# --- nested names


NESTED = ClickFormat("json", "event.user.id", "event.sku", "at", "meta.id", ("event.price",))


def test_a_field_inside_another_is_named_with_dots() -> None:
    fields = {
        "event": {"user": {"id": 7}, "sku": "s", "price": 1.5},
        "at": 5,
        "meta": {"id": "x"},
    }
    click = decode(fields, ClickDecoder(NESTED))
    assert click == Click("7", "s", 5, "x", {"event.price": "1.5"})


def test_a_dot_that_belongs_to_a_name_is_escaped() -> None:
    decoder = ClickDecoder(ClickFormat(session=r"user\.id"))
    assert decode({"user.id": "u", "item": "x", "time": 1}, decoder).key == "u"


@pytest.mark.parametrize(
    ("user", "found"),
    [({"name": 1}, "'name'"), ("u", "str in place"), (None, "NoneType in"), ([1], "list in")],
)
def test_a_field_missing_inside_another_is_named_beside_what_is_there(
    user: object, found: str
) -> None:
    fields = {"event": {"user": user, "sku": "s"}, "at": 5}
    with pytest.raises(ClickError, match=rf"no field 'event\.user\.id'; found: {found}") as refusal:
        decode(fields, ClickDecoder(NESTED))
    assert refusal.value.reason == "missing-field"


def test_what_is_missing_inside_another_is_no_event_id_and_no_extra() -> None:
    fields = {"event": {"user": {"id": 7}, "sku": "s"}, "at": 5, "meta": "none"}
    click = decode(fields, ClickDecoder(NESTED))
    assert (click.event_id, click.extra) == (None, {})


# --- event time


@pytest.mark.parametrize(
    ("time_format", "written", "ms"),
    [
        ("ms", 1_700_000_000_123, 1_700_000_000_123),
        ("s", 1_700_000_000, 1_700_000_000_000),
        ("s", 1_700_000_000.123, 1_700_000_000_123),
        ("us", 1_700_000_000_123_999, 1_700_000_000_123),
        ("iso8601", "2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("iso8601", "2023-11-14T23:13:20.123+01:00", 1_700_000_000_123),
        ("iso8601", "2023-11-14T22:13:20.123999", 1_700_000_000_123),
        ("iso8601", "1970-01-02", 86_400_000),
        ("iso8601", "9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_an_event_time_is_read_as_its_format_says(
    time_format: str, written: object, ms: int
) -> None:
    decoder = ClickDecoder(ClickFormat(time_format=time_format))
    assert decode({"session": "a", "item": "x", "time": written}, decoder).time == ms


@pytest.mark.parametrize(
    ("time_format", "written"),
    [
        ("s", "5 s"),
        ("s", -0.001),
        ("s", 253_402_300_800),
        ("s", 1e300),
        ("s", True),
        ("us", "1_000"),
        ("us", -1),
        ("us", 253_402_300_800_000_000),
        ("iso8601", 1_700_000_000_000),
        ("iso8601", "1700000000000"),
        ("iso8601", "yesterday"),
        ("iso8601", "1969-12-31T23:59:59.999Z"),
        ("iso8601", "0001-01-01T00:00:00+23:59"),
        ("iso8601", ""),
    ],
)
def test_an_event_time_of_another_format_is_bad(time_format: str, written: object) -> None:
    decoder = ClickDecoder(ClickFormat(time_format=time_format))
    with pytest.raises(ClickError, match=r"time = .*: expected .*1970 to 9999") as refusal:
        decode({"session": "a", "item": "x", "time": written}, decoder)
    assert refusal.value.reason == "bad-value"


def test_the_event_time_may_be_the_records_own_timestamp() -> None:
    decoder = ClickDecoder(ClickFormat(time=RECORD_TIME, time_format="iso8601"))
    value = b'{"session": "a", "item": "x"}'
    assert decoder.decode(FakeRecord(value, timestamp=5)).time == 5
    with pytest.raises(ClickError, match=r"\$timestamp = -1"):
        decoder.decode(FakeRecord(value, timestamp=-1))


# --- Avro


def test_avro_is_read_by_the_schema_of_its_writer(tmp_path: Path) -> None:
    value = avro(VISIT, {"user": "u", "sku": 5, "at": 1000})
    assert avro_decoder(tmp_path, VISIT).decode(FakeRecord(value)) == Click("u", "5", 1000)


def test_avro_times_and_uuids_are_read_by_their_logical_type(tmp_path: Path) -> None:
    for unit, raw in (("millis", 1_234), ("micros", 1_234_567), ("nanos", 1_234_567_890)):
        schema = record_of(
            {"type": "string", "logicalType": "uuid"},
            "string",
            {"type": "long", "logicalType": f"timestamp-{unit}"},
        )
        written = schema | {
            "fields": VISIT["fields"][:1] + record_of(0, "string", "long")["fields"][1:]
        }
        user = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        value = avro(written, {"user": user, "sku": "s", "at": raw})
        assert avro_decoder(tmp_path, schema).decode(FakeRecord(value)) == Click(user, "s", 1_234)


def test_an_avro_uuid_may_be_16_bytes(tmp_path: Path) -> None:
    raw, user = bytes(range(240, 256)), "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff"
    fixed = {"type": "fixed", "name": "Id", "size": 16}
    value = avro(record_of(fixed, "string", "long"), visit(raw, "s", 5))
    decoder = avro_decoder(tmp_path, record_of(fixed | {"logicalType": "uuid"}, "string", "long"))
    assert decoder.decode(FakeRecord(value)) == Click(user, "s", 5)


def test_a_logical_type_that_is_none_is_its_underlying_type(tmp_path: Path) -> None:
    price = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 10}
    schema = record_of(price, "string", "long")
    value = avro(record_of("bytes", "string", "long"), visit(b"5", "s", 5))
    assert avro_decoder(tmp_path, schema).decode(FakeRecord(value)).key == "5"


def test_more_items_than_there_are_bytes_make_a_dead_letter(tmp_path: Path) -> None:
    schema = record_of("string", "string", "long")
    schema["fields"].append({"name": "x", "type": {"type": "array", "items": "null"}})
    decoder = avro_decoder(tmp_path, schema)
    few = avro(schema, visit("u", "s", 5) | {"x": [None] * 5})
    assert decoder.decode(FakeRecord(few)).key == "u"
    endless = few[:-2] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\0"
    with pytest.raises(ClickError, match="more items than bytes"):
        decoder.decode(FakeRecord(endless))


@pytest.mark.parametrize("time_format", ["ms", "s", "us", "iso8601"])
def test_an_avro_timestamp_is_understood_whatever_format_is_set(
    tmp_path: Path, time_format: str
) -> None:
    for unit, raw in (("millis", 1_234), ("micros", 1_234_567), ("nanos", 1_234_567_890)):
        schema = record_of(
            "string", "string", ["null", {"type": "long", "logicalType": f"timestamp-{unit}"}]
        )
        value = avro(record_of("string", "string", ["null", "long"]), visit("u", "s", raw))
        decoder = avro_decoder(tmp_path, schema, time_format=time_format)
        assert decoder.decode(FakeRecord(value)).time == 1_234


def test_only_the_fields_that_are_asked_for_keep_their_logical_types(tmp_path: Path) -> None:
    day = {"type": "int", "logicalType": "date"}
    schema = record_of("string", "string", "long")
    schema["fields"] += [{"name": name, "type": day} for name in ("born", "seen")]
    raw = json.loads(json.dumps(schema).replace(json.dumps(day), '"int"'))
    value = avro(raw, visit("u", "s", 1) | {"born": 1, "seen": 2**31 - 1})  # no date is so late
    decoder = avro_decoder(tmp_path, schema, extra=("born",))
    assert decoder.decode(FakeRecord(value)).extra == {"born": '"1970-01-02"'}


def test_a_timestamp_that_is_used_by_its_types_name_is_read_as_one(tmp_path: Path) -> None:
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    moment = {"type": "record", "name": "Moment", "fields": [{"name": "at", "type": micros}]}
    schema = record_of("string", "string", moment)
    schema["fields"].append({"name": "seen", "type": "Moment"})
    raw = json.loads(json.dumps(schema).replace(json.dumps(micros), '"long"'))
    value = avro(raw, visit("u", "s", {"at": 7_000_000}) | {"seen": {"at": 5_000_000}})
    decoder = avro_decoder(tmp_path, schema, time="seen.at")
    assert decoder.decode(FakeRecord(value)).time == 5_000


@pytest.mark.parametrize("name", ["colour", "at.ms"])
def test_a_field_that_the_schema_has_not_is_a_wrong_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"has no field {name}"):
        avro_decoder(tmp_path, VISIT, time=name)


def decoder_of_what_holds_itself(tmp_path: Path) -> tuple[ClickDecoder, bytes]:
    """A decoder of clicks with such a type, and one of them."""
    node = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "next", "type": ["null", "Node"]}],
    }
    schema = record_of("string", "string", "long")
    schema["fields"].append({"name": "trail", "type": node})
    value = visit("u", "s", 5) | {"trail": {"next": {"next": None}}}
    return avro_decoder(tmp_path, schema), avro(schema, value)


def test_a_value_that_holds_itself_without_end_does_not_end_the_process(tmp_path: Path) -> None:
    decoder, value = decoder_of_what_holds_itself(tmp_path)
    assert decoder.decode(FakeRecord(value)) == Click("u", "s", 5)
    endless = value[:-2] + b"\2" * 100_000 + b"\0"
    assert reason_of(decoder, endless) == "malformed"


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (b"\xff" * 9 + b"\x01", "bad-value"),
        (b"\xff" * 10 + b"\x01", "malformed"),
        (b"\xff" * 20_000 + b"\x01", "malformed"),
    ],
)
def test_a_number_without_end_beside_a_type_that_holds_itself_is_malformed(
    time: bytes, reason: str, tmp_path: Path
) -> None:
    """Python cannot even write a number of 14,000 bits into the letter."""
    decoder, value = decoder_of_what_holds_itself(tmp_path)
    assert reason_of(decoder, value.replace(b"\n", time)) == reason


def test_avro_fields_inside_others_are_named_with_dots(tmp_path: Path) -> None:
    user = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "long"}]}
    schema = record_of(["null", user], {"type": "map", "values": "string"}, "long")
    value = avro(schema, visit({"id": 7}, {"code": "s"}, 5))
    decoder = avro_decoder(tmp_path, schema, session="user.id", item="sku.code")
    assert decoder.decode(FakeRecord(value)) == Click("7", "s", 5)
    nobody = avro(schema, visit(None, {"code": "s"}, 5))
    assert reason_of(decoder, nobody) == "missing-field"


def test_without_a_schema_avro_clicks_are_our_own(tmp_path: Path) -> None:
    click = Click("a", "x", 5, "id", {"price": "1"})
    format_ = ClickFormat("avro", event_id="event_id")
    assert ClickDecoder(format_).decode(FakeRecord(encode_click(click, format_))) == Click(
        "a", "x", 5, "id"
    )


@pytest.mark.parametrize("damage", ["cut", "longer", "other"])
def test_bytes_that_are_not_one_record_of_the_schema_are_malformed(
    tmp_path: Path, damage: str
) -> None:
    value = avro(VISIT, {"user": "u", "sku": 5, "at": 1000})
    damaged = {"cut": value[:-1], "longer": value + b"\0", "other": b"\xff" * 20}[damage]
    assert reason_of(avro_decoder(tmp_path, VISIT), damaged) == "malformed"


def test_a_schema_registrys_header_is_stepped_over(tmp_path: Path) -> None:
    decoder = avro_decoder(tmp_path, VISIT, "avro-registry")
    value = avro(VISIT, {"user": "u", "sku": 5, "at": 1000})
    assert decoder.decode(FakeRecord(b"\0\0\0\0\7" + value)) == Click("u", "5", 1000)
    assert reason_of(decoder, b"\1\0\0\0\7" + value) == "malformed"
    assert reason_of(decoder, b"\0\0\0\7") == "malformed"


@pytest.mark.parametrize("text", [None, "{", '{"type": "no such type"}'])
def test_a_schema_file_that_is_none_is_a_wrong_setting(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "clicks.avsc"
    if text:
        file.write_text(text)
    with pytest.raises(SettingsError, match=r"clicks\.avro_schema = .*clicks\.avsc"):
        ClickDecoder(ClickFormat("avro", avro_schema=file))


# --- heartbeats


def heartbeat(value: bytes | None) -> list[tuple[str, bytes | None]]:
    return [("other", b"x"), (WATERMARK_HEADER, value)]


def test_a_heartbeat_is_the_watermark_in_its_header() -> None:
    assert decode_heartbeat(heartbeat(b"1700000000000")) == 1_700_000_000_000


@pytest.mark.parametrize("headers", [None, [], [("other", b"5")]])
def test_a_record_without_the_header_is_no_heartbeat(headers: list[Any] | None) -> None:
    assert decode_heartbeat(headers) is None


@pytest.mark.parametrize(
    "value", [None, b"", b"x", b"-1", b"1_0", b" 1", "٣".encode(), b"1.0", b"9" * 15, b"9" * 5000]
)
def test_a_heartbeat_that_is_no_time_is_bad(value: bytes | None) -> None:
    with pytest.raises(ClickError, match=WATERMARK_HEADER) as refusal:
        decode_heartbeat(heartbeat(value))
    assert refusal.value.reason == "bad-value"


# --- writing


def test_json_clicks_are_written_under_the_same_names() -> None:
    format_ = ClickFormat("json", "user", "sku", "at", "id", ("price",))
    click = Click("ü", "x", 5, "7", {"price": "[1, 2]"})
    assert json.loads(encode_click(click, format_)) == {
        "user": "ü",
        "sku": "x",
        "at": 5,
        "id": "7",
        "price": [1, 2],
    }


def test_the_key_is_left_out_of_the_value_where_it_is_the_records_own() -> None:
    written = encode_click(Click("a", "x", 5), ClickFormat(session=RECORD_KEY))
    assert json.loads(written) == {"item": "x", "time": 5}


@pytest.mark.parametrize("time_format", ["ms", "s", "us", "iso8601"])
def test_json_clicks_are_written_nested_and_in_their_time_format(time_format: str) -> None:
    format_ = ClickFormat("json", "user.id", r"sku\.id", "at.sent", time_format=time_format)
    click = Click("u", "x", 1_700_000_000_123)
    value = encode_click(click, format_)
    assert ClickDecoder(format_).decode(FakeRecord(value)) == click
    assert json.loads(value)["user"] == {"id": "u"}


def test_the_time_is_left_out_of_the_value_where_it_is_the_records_own() -> None:
    written = encode_click(Click("a", "x", 5), ClickFormat(time=RECORD_TIME))
    assert json.loads(written) == {"item": "x", "session": "a"}
