"""Clicks in: from the user's records, in the user's format, to `Click`."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro

from ader_stream.errors import ClickError, DecodeError, SettingsError
from ader_stream.stream.codec import encode, load_schema
from ader_stream.types import Click

WATERMARK_HEADER = "ader-watermark"
RECORD_KEY = "$key"

RESERVED_KEY = "__partition__"
"""The changelog's key of a partition's own state: no session may have it."""

_MAX_TIME = 253_402_300_799_999  # the last ms of the year 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # Avro's timestamp-millis and -micros become datetimes
_ONE_MS = timedelta(milliseconds=1)
_REGISTRY_HEADER = 5  # bytes: a zero, then the schema's id as four bytes, big endian


@dataclass(frozen=True)
class ClickFormat:
    """How the user's click records are read.

    Parameters
    ----------
    encoding
        ``json``, ``avro`` or ``avro-registry`` (with the schema registry's five-byte header).
    session, item, time, event_id, extra
        Names of the fields; `session` may be ``$key`` for the record's key.
    avro_schema
        File of the writer's schema; our own Click without it.
    registry_url
        Schema registry that knows the writer's schema by its id.
    """

    encoding: str = "json"
    session: str = "session"
    item: str = "item"
    time: str = "time"
    event_id: str = ""
    extra: tuple[str, ...] = ()
    avro_schema: Path | None = None
    registry_url: str = ""


class ClickDecoder:
    """Turns click records into clicks.

    >>> decoder = ClickDecoder(ClickFormat())
    >>> decoder.decode(b"7", b'{"session": "a", "item": 12, "time": 1000}').item
    '12'
    """

    def __init__(self, format: ClickFormat) -> None:  # noqa: A002 - the field's own word
        self._format = format
        self._read = _value_reader(format)

    def decode(self, key: bytes | None, value: bytes | None) -> Click:
        """Return the click in a record.

        Raises
        ------
        ClickError
            With the reason for the dead letter.
        """
        names = self._format
        fields = self._read(value or b"")
        session = key if names.session == RECORD_KEY else _field(fields, names.session)
        return Click(
            key=_session_key(names.session, session),
            item=_text(names.item, _field(fields, names.item)),
            time=_time(names.time, _field(fields, names.time)),
            event_id=_event_id(fields, names.event_id) if names.event_id else None,
            extra=_extra(fields, names.extra) if names.extra else {},
        )


def decode_heartbeat(headers: list[tuple[str, bytes]] | None) -> int | None:
    """Return the watermark (ms) that a record with a null value carries, or None.

    Raises
    ------
    ClickError
        If the header is no decimal number, or no time that a click could have.
    """
    for name, value in headers or ():
        if name == WATERMARK_HEADER:
            return _watermark(value)
    return None


def encode_click(click: Click, format: ClickFormat) -> bytes:  # noqa: A002
    """Return a click's value as ader-stream writes clicks itself: JSON, or our own Avro."""
    if format.encoding != "json":
        value = {"session": click.key, "item": click.item, "time": click.time}
        optional = {"event_id": click.event_id, "extra": dict(click.extra)}
        return encode("Click", value | optional)[0]
    fields = {name: json.loads(text) for name, text in click.extra.items()}
    fields |= {format.item: click.item, format.time: click.time}
    if format.session != RECORD_KEY:
        fields[format.session] = click.key
    if format.event_id and click.event_id is not None:
        fields[format.event_id] = click.event_id
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _value_reader(format: ClickFormat) -> Callable[[bytes], Mapping[str, Any]]:  # noqa: A002
    if format.encoding == "json":
        return _read_json
    if format.encoding == "avro-registry" and format.registry_url:
        return functools.partial(_read_by_id, _registry_lookup(format.registry_url))
    schema = _writer_schema(format.avro_schema)
    if format.encoding == "avro-registry":
        return functools.partial(_read_by_id, lambda _: schema)
    return functools.partial(_read_avro, schema)


def _read_json(value: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ClickError("malformed", f"no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ClickError("malformed", f"JSON {type(fields).__name__}: expected an object")
    return fields


def _read_avro(schema: Any, value: bytes) -> Mapping[str, Any]:
    buffer = io.BytesIO(value)
    try:
        fields = fastavro.schemaless_reader(buffer, schema, None)
    except Exception as error:
        raise ClickError("malformed", f"not the Avro schema's: {error!r}") from None
    if buffer.tell() != len(value) or not isinstance(fields, dict):
        raise ClickError("malformed", f"{len(value)} bytes are not one Avro record of the schema")
    return fields


def _read_by_id(schema_of: Callable[[int], Any], value: bytes) -> Mapping[str, Any]:
    if len(value) < _REGISTRY_HEADER or value[0] != 0:
        raise ClickError(
            "malformed", f"starts with {value[:5]!r}: expected a zero byte and a schema id"
        )
    schema = schema_of(int.from_bytes(value[1:_REGISTRY_HEADER], "big"))
    return _read_avro(schema, value[_REGISTRY_HEADER:])


def _writer_schema(path: Path | None) -> Any:
    if path is None:
        return fastavro.parse_schema(load_schema("Click"))
    try:
        return fastavro.parse_schema(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, fastavro.schema.SchemaParseException) as error:
        raise SettingsError(f"clicks.avro_schema = {path}: {error}; name an .avsc file") from None


def _registry_lookup(url: str) -> Callable[[int], Any]:
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            "clicks.registry_url needs the schema registry's client: "
            "pip install 'ader-stream[registry]'"
        ) from None
    client = SchemaRegistryClient({"url": url})
    not_found = 40403

    @functools.cache
    def schema_of(schema_id: int) -> Any:
        try:
            return fastavro.parse_schema(json.loads(client.get_schema(schema_id).schema_str or ""))
        except (ValueError, fastavro.schema.SchemaParseException) as error:
            raise ClickError(
                "unknown-schema", f"schema id {schema_id} at {url} is no Avro schema: {error}"
            ) from None
        except SchemaRegistryError as error:
            if error.error_code == not_found:
                raise ClickError(
                    "unknown-schema", f"schema id {schema_id} is not registered at {url}"
                ) from None
            raise DecodeError(f"schema registry {url}: {error}") from None

    return schema_of


def _field(fields: Mapping[str, Any], name: str) -> Any:
    try:
        return fields[name]
    except KeyError:
        found = ", ".join(f"{field!r:.50}" for field in sorted(map(str, fields))[:10])
        raise ClickError("missing-field", f"no field {name!r}; found: {found or 'none'}") from None


def _session_key(name: str, value: object) -> str:
    key = _text(name, value)
    if key == RESERVED_KEY:
        raise ClickError("bad-value", f"{name} = {key!r}: reserved for the sessionizer's changelog")
    return key


def _text(name: str, value: object) -> str:
    if type(value) is str and value and (value.isascii() or _is_unicode(value)):
        return value
    if type(value) is int:
        return str(value)
    if type(value) is UUID:
        return str(value)
    if type(value) is bytes and value:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    raise ClickError("bad-value", f"{name} = {value!r:.100}: expected a text or a whole number")


def _is_unicode(value: str) -> bool:
    """JSON can hold half a surrogate pair, which no text in UTF-8 can."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time(name: str, value: object) -> int:
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        value = (aware - _EPOCH) // _ONE_MS
    if type(value) is int and 0 <= value <= _MAX_TIME:
        return value
    raise ClickError("bad-value", f"{name} = {value!r:.100}: expected ms since 1970 as an integer")


def _watermark(value: bytes | None) -> int:
    if value and value.isdigit() and len(value) < 16:  # bytes: ASCII digits alone
        return _time(WATERMARK_HEADER, int(value))
    raise ClickError(
        "bad-value", f"header {WATERMARK_HEADER} = {value!r:.100}: expected ms since 1970, decimal"
    )


def _event_id(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else _text(name, value)


def _extra(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {name: _json_text(name, fields[name]) for name in names if name in fields}


def _json_text(name: str, value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text if _is_unicode(text) else json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise ClickError("bad-value", f"{name}: cannot be passed on as JSON: {error}") from None
