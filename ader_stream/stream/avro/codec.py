"""Encode our own records: plain Avro values, with type and writer's schema in the headers.

``ader-type`` is the record's name and the file's (``SessionBatch`` → ``SessionBatch.avsc``);
``ader-schema`` is the CRC-64-AVRO fingerprint of the writer's schema in parsing canonical form.
Records of an older schema (``schemas/older/TYPE.N.avsc``) are read as today's type: fields that are
missing in it have their defaults.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from ader_stream.errors import DecodeError, NewerSchemaError
from ader_stream.runtime.resources import resource

TYPE_HEADER = "ader-type"
SCHEMA_HEADER = "ader-schema"
FORMAT_HEADER = "ader-format"
"""Of a record for others that is not plain Avro: its format."""

CHUNK_TYPE = b"chunk"

Headers = list[tuple[str, bytes]]


def encode(type_name: str, value: Mapping[str, Any]) -> tuple[bytes, Headers]:
    """Return the Avro bytes of a record and its headers.

    >>> data, headers = encode("Watermark", {"stream_time": 5})
    >>> decode(data, headers)
    ('Watermark', {'stream_time': 5})
    """
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema(type_name), value)
    return buffer.getvalue(), headers_for(type_name)


def headers_for(type_name: str) -> Headers:
    """Return the headers of a record of one of our own types, as it is written today."""
    return list(_headers(type_name))


def type_of(headers: Sequence[tuple[str, bytes]] | None) -> str:
    """Return the type in a record's headers; empty if there is none."""
    return (dict(headers or ()).get(TYPE_HEADER) or b"").decode(errors="replace")


def decode(
    data: bytes | None, headers: Sequence[tuple[str, bytes]] | None
) -> tuple[str, dict[str, Any]]:
    """Return type and value of a record.

    Raises
    ------
    DecodeError
        If a header is missing, or the bytes do not match the schema.
    NewerSchemaError
        If the schema is unknown here.
    """
    named = dict(headers or ())
    type_name = type_of(headers)
    try:
        writers = _writers(type_name)
    except OSError:
        raise DecodeError(
            f"header {TYPE_HEADER} = {type_name!r}: expected the name of a file in schemas/"
        ) from None
    writer = writers.get(named.get(SCHEMA_HEADER) or b"")
    if writer is None:
        raise NewerSchemaError(
            f"{type_name} was written with schema {named.get(SCHEMA_HEADER)!r}, "
            f"which is unknown here; update this process"
        )
    return type_name, _read(writer, data or b"", type_name)


def decode_as(type_name: str, data: bytes) -> dict[str, Any]:
    """Return the value of a record whose type is known."""
    return _read(schema(type_name), data, type_name)


def decode_stored(type_name: str, data: bytes) -> dict[str, Any]:
    """Return the value of a record that is stored in another one, without headers.

    Today's schema is tried first, then the older ones: bytes of one of them are too few or too many
    for the others.

    Raises
    ------
    DecodeError
        If the bytes match none of them.
    """
    for writer in _writers(type_name).values():
        with suppress(DecodeError):
            return _read(writer, data, type_name)
    raise DecodeError(f"{len(data)} bytes match none of the schemas of {type_name}")


@functools.cache
def schema(type_name: str) -> Any:
    """Return the parsed schema of one of our types; FileNotFoundError if there is none."""
    return fastavro.parse_schema(load_schema(type_name))


def load_schema(type_name: str) -> dict[str, Any]:
    """Return a schema as it is in its file."""
    if not type_name.isalpha():  # the name is from a record's header: it must not be a path
        raise FileNotFoundError(type_name)
    text = resource("schemas", f"{type_name}.avsc").read_text(encoding="utf-8")
    return dict(json.loads(text))


def fingerprint_of(type_name: str) -> bytes:
    """Return the fingerprint of the schema with which one of our types is written today."""
    return dict(_headers(type_name))[SCHEMA_HEADER]


@functools.cache
def _headers(type_name: str) -> tuple[tuple[str, bytes], ...]:
    return (
        (TYPE_HEADER, type_name.encode()),
        (SCHEMA_HEADER, _fingerprint(load_schema(type_name))),
    )


@functools.cache
def _writers(type_name: str) -> dict[bytes, Any]:
    """Return fingerprint → schema: today's, and every older one."""
    found = {_fingerprint(load_schema(type_name)): schema(type_name)}
    for file in resource("schemas", "older").glob(f"{type_name}.*.avsc"):
        older = json.loads(file.read_text(encoding="utf-8"))
        found[_fingerprint(older)] = fastavro.parse_schema(older)
    return found


def _fingerprint(writer: Any) -> bytes:
    return fingerprint(to_parsing_canonical_form(writer), "CRC-64-AVRO").encode()


def _read(writer: Any, data: bytes, type_name: str) -> dict[str, Any]:
    today = schema(type_name)
    buffer = io.BytesIO(data)
    try:
        value = fastavro.schemaless_reader(buffer, writer, None if writer is today else today)
    except (EOFError, ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise DecodeError(f"{len(data)} bytes are not a {type_name}: {error!r}") from None
    if buffer.tell() != len(data):
        raise DecodeError(f"{type_name}: {len(data) - buffer.tell()} bytes too many")
    return cast("dict[str, Any]", value)
