"""What is kept of a record that is refused: all of it, or as much as a letter has room for."""

from __future__ import annotations

import hashlib
from typing import Any

from ader_stream.errors import ClickError
from ader_stream.stream.avro.codec import Headers
from ader_stream.stream.kafka.records import Record, headers_of

DeadLetter = dict[str, Any]
"""The Avro value of a dead letter."""

ERROR_CHARACTERS = 1_000
"""Of what was found and expected: a parser may cite as much of a record as it likes."""

VALUE_BYTES = 64 * 1024
"""First bytes that a truncated letter keeps of its value: enough to see what it is."""

KEY_BYTES = 1_024
"""First bytes that it keeps of its key."""

HEADER_BYTES = 1_024
"""First bytes that it keeps of a header's value, and characters of its name."""

HEADERS_BYTES = 16 * 1024
"""What all headers that it keeps may have together."""

FIELD_BYTES = 16
"""Lengths and markers of a header, at most."""

OTHER_BYTES = 1_024 + 4 * ERROR_CHARACTERS
"""Everything in a letter but key, value and headers, at most."""

SMALLEST_LETTER = VALUE_BYTES + 2 * KEY_BYTES + 2 * HEADERS_BYTES + OTHER_BYTES
"""A letter that was truncated has no more than this, its record's key included."""


def dead_letter(record: Record, headers: Headers | None, room: int) -> DeadLetter:
    """Return a DeadLetter's value; the reason is still to come (`with_reason`).

    Parameters
    ----------
    headers
        The original's where they were asked for already: see `headers_of`.
    room
        Bytes that the letter may have, together with its record's key, which is the original's.
    """
    headers = headers_of(record) if headers is None else headers
    letter: DeadLetter = {
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
        "timestamp": record.timestamp()[1],
        "key": record.key(),
        "value": record.value(),
        "headers": [{"name": name, "value": value} for name, value in headers],
        "reason": "",
        "error": "",
        "truncated": None,
    }
    return letter if _size(letter) <= room else _truncated(letter)


def with_reason(letter: DeadLetter, error: ClickError) -> DeadLetter:
    """Return a letter that says why it was written."""
    return letter | {"reason": error.reason, "error": shortened(str(error))}


def shortened(text: str) -> str:
    """Return the beginning of a text that is too long to be written whole.

    >>> shortened("no JSON"), len(shortened("x" * 10_000)) <= ERROR_CHARACTERS
    ('no JSON', True)
    """
    if len(text) <= ERROR_CHARACTERS:
        return text
    end = f" … ({len(text)} characters)"
    return text[: ERROR_CHARACTERS - len(end)] + end


def _truncated(letter: DeadLetter) -> DeadLetter:
    key, value = letter["key"] or b"", letter["value"] or b""
    truncated = {
        "key_bytes": len(key),
        "value_bytes": len(value),
        "value_sha256": hashlib.sha256(value).hexdigest(),
        "headers": len(letter["headers"]),
        "headers_bytes": sum(map(_header_size, letter["headers"])),
    }
    return letter | {
        "key": letter["key"] and key[:KEY_BYTES],
        "value": letter["value"] and value[:VALUE_BYTES],
        "headers": _first_headers(letter["headers"]),
        "truncated": truncated,
    }


def _first_headers(headers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first headers, and of those the first bytes, as far as there is room for them."""
    first, room = [], HEADERS_BYTES
    for header in headers:
        value = header["value"] and header["value"][:HEADER_BYTES]
        beginning = {"name": header["name"][:HEADER_BYTES], "value": value}
        room -= _header_size(beginning) + FIELD_BYTES
        if room < 0:
            break
        first.append(beginning)
    return first


def _header_size(header: dict[str, Any]) -> int:
    return len(header["name"].encode()) + len(header["value"] or b"")


def _size(letter: DeadLetter) -> int:
    """Return how many bytes a letter has at most, its record's key included."""
    headers = sum(_header_size(header) + FIELD_BYTES for header in letter["headers"])
    return 2 * len(letter["key"] or b"") + len(letter["value"] or b"") + headers + OTHER_BYTES
