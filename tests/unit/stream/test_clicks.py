from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from ader_stream.errors import ClickError, SettingsError
from ader_stream.stream.clicks import (
    RECORD_KEY,
    WATERMARK_HEADER,
    ClickDecoder,
    ClickFormat,
    decode_heartbeat,
    encode_click,
)
from ader_stream.types import Click

JSON = ClickDecoder(ClickFormat())


def decode(fields: dict[str, Any], decoder: ClickDecoder = JSON) -> Click:
    return decoder.decode(None, json.dumps(fields).encode())


def reason_of(decoder: ClickDecoder, value: bytes | None, key: bytes | None = None) -> str:
    with pytest.raises(ClickError) as refusal:
        decoder.decode(key, value)
    return refusal.value.reason


def avro(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


def avro_decoder(folder: Path, schema: dict[str, Any], encoding: str = "avro") -> ClickDecoder:
    file = folder / "clicks.avsc"
    file.write_text(json.dumps(schema))
    return ClickDecoder(ClickFormat(encoding, "user", "sku", "at", avro_schema=file))


def record_of(user: object, sku: object, at: object) -> dict[str, Any]:
    fields = {"user": user, "sku": sku, "at": at}
    return {
        "type": "record",
        "name": "Visit",
        "fields": [{"name": name, "type": type_} for name, type_ in fields.items()],
    }


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
    assert decoder.decode("ü".encode(), b'{"item": "x", "time": 1}').key == "ü"


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
        JSON.decode(None, b'{"\\ud800": 1, "' + b"x" * 10_000 + b'": 2}')
    assert len(str(refusal.value).encode()) < 500


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session", ""),
        ("session", None),
        ("session", 1.5),
        ("session", True),
        ("session", "__partition__"),
        ("session", "\ud800"),
        ("item", ""),
        ("item", ["x"]),
        ("item", "\udfff"),
        ("time", "5"),
        ("time", 5.0),
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


def test_an_extra_field_that_utf8_cannot_hold_passes_through_escaped() -> None:
    decoder = ClickDecoder(ClickFormat(extra=("note",)))
    value = b'{"session": "a", "item": "x", "time": 1, "note": "\\ud800"}'
    assert decoder.decode(None, value).extra == {"note": '"\\ud800"'}


# --- Avro


def test_avro_is_read_by_the_schema_of_its_writer(tmp_path: Path) -> None:
    value = avro(VISIT, {"user": "u", "sku": 5, "at": 1000})
    assert avro_decoder(tmp_path, VISIT).decode(None, value) == Click("u", "5", 1000)


def test_avro_times_and_uuids_are_read_by_their_logical_type(tmp_path: Path) -> None:
    for unit, raw in (("millis", 1_234), ("micros", 1_234_567)):
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
        assert avro_decoder(tmp_path, schema).decode(None, value) == Click(user, "s", 1_234)


def test_without_a_schema_avro_clicks_are_our_own(tmp_path: Path) -> None:
    click = Click("a", "x", 5, "id", {"price": "1"})
    format_ = ClickFormat("avro", event_id="event_id")
    assert ClickDecoder(format_).decode(None, encode_click(click, format_)) == Click(
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
    assert decoder.decode(None, b"\0\0\0\0\7" + value) == Click("u", "5", 1000)
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
