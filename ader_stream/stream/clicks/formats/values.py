"""Decode the bytes of a click record to its fields: JSON, and Avro with a known writer's schema."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID

import fastavro
import msgspec

from ader_stream.errors import ClickError, SettingsError
from ader_stream.stream.avro.codec import load_schema
from ader_stream.stream.avro.decoding import value_decoder
from ader_stream.stream.avro.record_columns import Columns, columns_reader
from ader_stream.stream.clicks.formats.avro_schema import has_field
from ader_stream.stream.clicks.formats.json_values import decode_json
from ader_stream.stream.clicks.language.paths import Field, RecordPart, is_simple
from ader_stream.stream.schema_registry.whole_schema import whole_schema

ReadValue = Callable[[bytes | None], dict[Any, Any]]
"""Bytes of a value → its fields, as a new dictionary."""
ReadKey = Callable[[Any], Any]
ReadMany = Callable[[Sequence[bytes]], Columns | None]

LARGEST_ID = 2**31 - 1
"""Registries number schemas with a signed integer of four bytes."""

HEADER_BYTES = 5
"""A zero, then the schema's id as four bytes, big endian."""

_decode_json = msgspec.json.Decoder().decode


def read_json(value: bytes | None) -> dict[Any, Any]:
    """Return the fields of a JSON object."""
    try:
        fields = _decode_json(value or b"")
    except (ValueError, RecursionError):
        fields = _almost_json(value or b"")
    if type(fields) is not dict:
        raise ClickError("malformed", f"JSON {type(fields).__name__}: expected an object")
    return fields


def read_json_list(value: bytes | None) -> dict[Any, Any]:
    """Return the fields of a JSON object, or a JSON list as the part `RecordPart.RECORD`."""
    try:
        found = decode_json(value or b"")
    except ValueError as error:
        raise ClickError("malformed", f"no JSON: {error}") from None
    if type(found) is list:
        return {RecordPart.RECORD: found}
    if type(found) is not dict:
        raise ClickError("malformed", f"JSON {type(found).__name__}: expected an object or a list")
    return found


def avro_reader(schema: Any) -> ReadValue:
    """Return a reader of the one record in a value, written with a schema."""
    buffer_of, read = io.BytesIO, value_decoder(schema)

    def read_avro(value: bytes | None) -> dict[Any, Any]:
        buffer = buffer_of(value or b"")
        try:
            fields = read(buffer)
        except Exception as error:
            raise ClickError("malformed", f"does not match the Avro schema: {error!r}") from None
        if buffer.read(1) or type(fields) is not dict:
            length = len(value or b"")
            raise ClickError("malformed", f"{length} bytes are not one Avro record of the schema")
        return fields

    return read_avro


def avro_key_reader(schema: Any) -> ReadKey:
    """Return a reader of record keys that were written with a schema, of a record or not."""
    read = value_decoder(schema)

    def read_avro(key: bytes | None) -> Any:
        buffer = io.BytesIO(key or b"")
        try:
            value = read(buffer)
        except Exception as error:
            raise ClickError("malformed", f"key: not of the Avro schema: {error!r}") from None
        if buffer.read(1):
            raise ClickError("malformed", f"key: {len(key or b'')} bytes are not one Avro value")
        return value

    return read_avro


def registered_key_reader(reader_of: Callable[[int], ReadKey]) -> ReadKey:
    """Return a reader of record keys that start with the id of their schema."""

    def read(key: bytes | None) -> Any:
        return None if key is None else reader_of(schema_id_of(key))(key[HEADER_BYTES:])

    return read


def key_reader(key_format: str) -> ReadKey:
    r"""Return a reader of record keys of a format, one of `KEY_FORMATS`.

    >>> key_reader("int")(b"\0\0\0\7")
    7
    """
    convert = KEY_FORMATS[key_format]

    def read(key: bytes | None) -> Any:
        try:
            return None if key is None else convert(key)
        except ValueError:
            raise ClickError(
                "bad-value", f"$key = {key!r:.100}: expected clicks.key_format = {key_format}"
            ) from None

    return convert if key_format == "text" else read


def _whole_number(size: int) -> Callable[[bytes], int]:
    """Return a reader of a number with a sign, big endian, as Kafka's serializers write it."""

    def read(key: bytes) -> int:
        if len(key) != size:
            raise ValueError
        return int.from_bytes(key, "big", signed=True)

    return read


KEY_FORMATS: Mapping[str, ReadKey] = {
    "text": lambda key: key,
    "json": decode_json,
    "int": _whole_number(4),
    "long": _whole_number(8),
    "uuid": lambda key: UUID(bytes=key),
    "binary": bytes.hex,
}
"""Format of record keys → its conversion; bytes are decoded where a text is needed."""


class ValueReaders(NamedTuple):
    """Reader of one value, and reader of three fields of many values; None if there is none."""

    one: ReadValue
    many: ReadMany | None = None


def avro_readers(schema: Any, plain: Sequence[Field]) -> ValueReaders:
    """Return readers of values that were written with a schema.

    The reader of many values returns the fields `plain`; there is none if one of them is not a
    name in the value.
    """
    many = None
    if all(map(is_simple, plain)):
        many = columns_reader(schema, cast("Sequence[tuple[str, ...]]", plain))
    return ValueReaders(avro_reader(schema), many)


def by_schema_id(readers_of: Callable[[int], ValueReaders]) -> ValueReaders:
    """Return readers of values that start with the id of their schema."""

    def read(value: bytes | None) -> dict[Any, Any]:
        return readers_of(schema_id_of(value or b"")).one((value or b"")[HEADER_BYTES:])

    def read_many(values: Sequence[bytes]) -> Columns | None:
        if len({value[:HEADER_BYTES] for value in values}) > 1:
            return None
        try:
            many = readers_of(schema_id_of(values[0])).many
        except ClickError:
            return None
        return many and many([value[HEADER_BYTES:] for value in values])

    return ValueReaders(read, read_many)


def schema_id_of(value: bytes) -> int:
    """Return the id of a value's schema, with which the value starts."""
    if len(value) < HEADER_BYTES or value[0] != 0:
        raise ClickError(
            "malformed",
            f"starts with {value[:HEADER_BYTES]!r}: expected a zero byte and a schema id",
        )
    schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
    if schema_id > LARGEST_ID:
        raise ClickError(
            "unknown-schema",
            f"schema id {schema_id}: expected at most {LARGEST_ID}, as any registry",
        )
    return schema_id


def schema_from_file(path: Path | None, fields: Mapping[str, Field]) -> Any:
    """Read the writer's schema of Avro clicks; our own Click without a file.

    Raises
    ------
    SettingsError
        If there is no schema in the file, or not every one of `fields`, by name, in the schema.
    """
    where = f"clicks.avro_schema = {path}" if path else "Click.avsc"
    try:
        schema = json.loads(path.read_text(encoding="utf-8")) if path else load_schema("Click")
        schema = whole_schema([schema])
    except (OSError, ValueError, fastavro.schema.SchemaParseException) as error:
        raise SettingsError(f"{where}: {error}; name an .avsc file") from None
    for name, field in fields.items():
        if not has_field(schema, field):
            raise SettingsError(f"{where} has no field {name}; check the names in clicks.*_field")
    return schema


def _almost_json(value: bytes) -> Any:
    try:
        return decode_json(value)
    except ValueError as error:
        raise ClickError("malformed", f"no JSON: {error}") from None
