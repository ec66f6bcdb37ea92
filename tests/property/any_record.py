"""Records of any kind for every format, and what must come of each: a click or a dead letter."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro

from ader_stream.errors import ClickError, IgnoredError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.clicks.decoder import (
    RECORD_KEY,
    RECORD_TIME,
    RESERVED_KEY,
    ClickDecoder,
    ClickFormat,
    decode_heartbeat,
    encode_click,
)
from ader_stream.stream.schema_registry.client import RegistryAccess
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.records.partition_state import encode_keys
from ader_stream.stream.sessions.task import dead_letter
from ader_stream.types import DEAD_LETTER_REASONS, Click
from tests.fakes import FakeRecord
from tests.registry import running_registry

ROOM = 4 * 2**20
"""Bytes of a dead letter: enough for all of these."""

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
UUID = {"type": "string", "logicalType": "uuid"}
RICH_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Rich",
    "fields": [
        {"name": "session", "type": ["null", "long", "bytes", "string", "double"]},
        {"name": "item", "type": ["string", "int", UUID]},
        {"name": "time", "type": ["long", MICROS]},
        {"name": "price", "type": {"type": "array", "items": ["bytes", "double", "boolean"]}},
        {"name": "paid", "type": ["null", DECIMAL]},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
    ],
}
"""Every kind of value, where a click is expected and beside it."""

ENDLESS_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Endless",
    "fields": [*RICH_SCHEMA["fields"][:3], {"name": "inner", "type": ["null", "Endless"]}],
}
"""A type that holds itself."""

A_CLICK = Click("session", "item", 1_700_000_000_000, "event", {"price": "1"})
A_RICH_CLICK = {
    "session": "a",
    "item": "x",
    "time": 1_700_000_000_000,
    "price": [b"\x00", 1.5],
    "paid": None,
    "day": None,
    "inner": {"session": 5, "item": 7, "time": 1, "inner": None},
}
OWN = ClickFormat("avro")


def avro(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


NESTED = ClickFormat(session="user.id", item="event.sku", time="at", extra=("a.b",))
ISO = replace(NESTED, time_format="iso8601")
OF_THE_RECORD = ClickFormat(session=RECORD_KEY, time=RECORD_TIME, extra=("price", "session"))
RICH, ENDLESS = avro(RICH_SCHEMA, A_RICH_CLICK), avro(ENDLESS_SCHEMA, A_RICH_CLICK)
SAMPLES: Mapping[str, list[bytes]] = {
    "json": [encode_click(A_CLICK, ClickFormat(event_id="id", extra=("price",)))],
    "json, nested": [encode_click(A_CLICK._replace(extra={"a.b": "[1]"}), NESTED)],
    "json, iso8601": [encode_click(A_CLICK, ISO)],
    "json, s": [encode_click(A_CLICK, ClickFormat(time_format="s"))],
    "json, of the record": [
        encode_click(A_CLICK, ClickFormat(session=RECORD_KEY, time=RECORD_TIME))
    ],
    "avro, our own": [encode_click(A_CLICK, OWN)],
    "avro, rich": [RICH],
    "avro, us": [RICH],
    "avro, endless": [ENDLESS],
    "avro behind an id": [b"\0\0\0\0\7" + RICH],
    "registry": [b"\0\0\0\0\1" + RICH, b"\0\0\0\0\2" + ENDLESS, b"\0\0\0\0\3" + RICH],
}
"""Values of each format; the last of the registry's has an id that is unknown there."""


@contextmanager
def every_decoder(folder: Path) -> Iterator[Mapping[str, ClickDecoder]]:
    """Decoders of every format; the schema registry knows the ids 1 and 2, and no other."""
    files = [folder / "rich.avsc", folder / "endless.avsc"]
    for file, schema in zip(files, (RICH_SCHEMA, ENDLESS_SCHEMA), strict=True):
        file.write_text(json.dumps(schema))
    with running_registry() as registry:
        for schema in (RICH_SCHEMA, ENDLESS_SCHEMA):
            registry.register("clicks-value", schema)
        access = RegistryAccess(registry.url)
        formats = {
            "json": ClickFormat(event_id="id", extra=("price",)),
            "json, nested": NESTED,
            "json, iso8601": ISO,
            "json, s": ClickFormat(time_format="s"),
            "json, of the record": OF_THE_RECORD,
            "avro, our own": ClickFormat("avro", event_id="event_id", extra=("extra",)),
            "avro, rich": ClickFormat("avro", extra=("price", "day"), avro_schema=files[0]),
            "avro, us": ClickFormat("avro", time_format="us", avro_schema=files[0]),
            "avro, endless": ClickFormat("avro", avro_schema=files[1]),
            "avro behind an id": ClickFormat("avro-registry", avro_schema=files[0]),
            "registry": ClickFormat("avro-registry", extra=("price",), registry=access),
        }
        yield {name: ClickDecoder(format_) for name, format_ in formats.items()}


def require_taken_or_refused(decoder: ClickDecoder, record: FakeRecord) -> str:
    """Decode a record as the sessionizer does; return what it is, or why it is none."""
    try:
        if record.value() is None:
            return "tombstone" if decode_heartbeat(record.headers()) is None else "heartbeat"
        if decoder.explodes:
            return _require_elements_taken_or_refused(decoder, record)
        require_writable_click(decoder.decode(record))
    except IgnoredError as error:
        return f"ignored: {error.reason}"
    except ClickError as error:
        require_writable_dead_letter(error, record)
        return error.reason
    return "click"


def _require_elements_taken_or_refused(decoder: ClickDecoder, record: FakeRecord) -> str:
    for position, result in decoder.decode_each(record):
        assert position >= 0
        if isinstance(result, Click):
            require_writable_click(result)
        elif isinstance(result, ClickError):
            require_writable_dead_letter(result, record)
    return "clicks"


def require_writable_click(click: Click) -> None:
    """What the changelog and the sessions topic need of a click."""
    assert click.key.encode()
    assert not click.key.startswith(RESERVED_KEY)
    assert click.item
    assert 0 <= click.time <= 253_402_300_799_999
    session = OpenSession.of(click.key, 0, [click.time], [click.item], {}, {0: click.extra})
    list(encode_keys([(click.key, [session])], {}))
    encode_click(click, OWN)


def require_writable_dead_letter(error: ClickError, record: FakeRecord) -> None:
    assert error.reason in DEAD_LETTER_REASONS
    assert error.reason != "late"
    letter = dead_letter(record, [*(record.headers() or ())], ROOM)
    encode("DeadLetter", letter | {"reason": error.reason, "error": str(error)})
