"""Decode single Avro values by a foreign schema, in bounded memory and stack."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import fastavro
from fastavro import _read_py
from fastavro.io.binary_decoder import BinaryDecoder
from fastavro.read import LOGICAL_READERS

from ader_stream.stream.avro.bounds import is_recursive, repeats_nothing, require_few_values

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MOST_EMPTY_ITEMS = 10_000
"""Most items of a value's arrays in addition to those that have at least a byte each."""

VARINT_BYTES = 10
"""Most bytes of a number of 64 bits."""


def _nanos_to_datetime(data: int, *_: object) -> datetime:
    return _EPOCH + timedelta(microseconds=data // 1_000)


LOGICAL_READERS["long-timestamp-nanos"] = _nanos_to_datetime
LOGICAL_READERS["long-local-timestamp-nanos"] = _nanos_to_datetime
LOGICAL_READERS["fixed-uuid"] = lambda data, *_: UUID(bytes=data)  # Avro has these since 1.12

DecodeValue = Callable[[io.BytesIO], Any]


def value_decoder(schema: Any) -> DecodeValue:
    """Return a decoder of one value that was written with a schema.

    Raises
    ------
    ValueError
        If the smallest value of the schema is too large.
    """
    require_few_values(schema)
    is_endless = is_recursive(schema) or repeats_nothing(schema)
    return _bounded(schema) if is_endless else _flat(schema)


def _flat(schema: Any) -> DecodeValue:
    parsed, read = fastavro.parse_schema(schema), fastavro.schemaless_reader
    return lambda buffer: read(buffer, parsed, None)


def _bounded(schema: Any) -> DecodeValue:
    """Return a decoder of a type of which few bytes may announce an endless value.

    fastavro's C decoder follows a type that holds itself until the stack overflows and the process
    crashes: a click of 40 kB is enough. The one in Python stops at its recursion limit. Ten bytes
    are enough to announce more items of zero bytes than memory can hold.
    """
    named: dict[str, dict[str, Any]] = {"writer": {}, "reader": {}}
    parsed = fastavro.parse_schema(schema, named["writer"])
    read: Callable[..., Any] = _read_py.read_data
    decoder_of: Callable[[io.BytesIO], BinaryDecoder] = _BoundedDecoder
    return lambda buffer: read(decoder_of(buffer), parsed, named, None, {})


class _BoundedDecoder(BinaryDecoder):
    """Decode whole numbers of 64 bits, and at most `MOST_EMPTY_ITEMS` more items than bytes.

    fastavro's own has no bound for either.
    """

    def __init__(self, fo: io.BytesIO) -> None:
        super().__init__(fo)  # type: ignore[no-untyped-call]
        self._items_left = len(fo.getbuffer()) + MOST_EMPTY_ITEMS

    def _iter_array_or_map(self) -> Iterator[None]:
        for _ in super()._iter_array_or_map():  # type: ignore[no-untyped-call]
            self._items_left -= 1
            if self._items_left < 0:
                raise ValueError("more items than bytes")
            yield

    iter_array = iter_map = _iter_array_or_map

    def read_long(self) -> int:
        number = 0
        for position in range(VARINT_BYTES):
            byte: bytes = self.fo.read(1)
            if not byte:
                raise EOFError
            number |= (byte[0] & 127) << 7 * position
            if byte[0] < 128:
                return (number >> 1) ^ -(number & 1)
        raise ValueError(f"a whole number of more than {VARINT_BYTES} bytes")
