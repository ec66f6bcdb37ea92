"""Make the dead letter of a refused record: with all of it, or with as much as fits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from ader_stream.errors import ClickError
from ader_stream.stream.avro.codec import Headers
from ader_stream.stream.clicks.elements import MOST_ELEMENTS
from ader_stream.stream.kafka.records import Record, headers_of

DeadLetter = dict[str, Any]
"""The Avro value of a dead letter."""

ERROR_CHARACTERS = 1_000
"""Most characters of the error: a parser may cite any part of a record."""

VALUE_BYTES = 64 * 1024
"""First bytes of the value in a truncated letter: enough to recognise it."""

KEY_BYTES = 1_024
"""First bytes of the key in a truncated letter."""

HEADER_BYTES = 1_024
"""First bytes of a header's value, and characters of its name, in a truncated letter."""

HEADERS_BYTES = 16 * 1024
"""Most bytes of all headers in a truncated letter."""

FIELD_BYTES = 16
"""Most bytes of the lengths and markers of a header."""

OTHER_BYTES = 1_024 + 4 * ERROR_CHARACTERS
"""Most bytes of a letter without key, value and headers."""

SESSIONS_BYTES = 8 * 1024
"""Most bytes of the session keys in a letter."""

ELEMENT_BYTES = 2
"""Bytes of an element's position: they are below 8192."""

SMALLEST_LETTER = (
    VALUE_BYTES
    + 2 * KEY_BYTES
    + 2 * HEADERS_BYTES
    + SESSIONS_BYTES
    + ELEMENT_BYTES * MOST_ELEMENTS
    + OTHER_BYTES
)
"""Most bytes of a truncated letter, including its record's key."""


def dead_letter(
    record: Record,
    headers: Headers | None,
    room: int,
    elements: Sequence[int] = (),
    sessions: Iterable[str] = (),
) -> DeadLetter:
    """Return a DeadLetter's value without the reason (see `with_reason`).

    Parameters
    ----------
    headers
        The original's, if they were read already: see `headers_of`.
    room
        Most bytes of the letter together with its record's key, which is the original's.
    elements
        Positions of the refused clicks in a record that holds many; empty for the whole record.
    sessions
        Session keys of the refused clicks, as far as they are known.
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
        "elements": [*elements],
        "sessions": _first_names(sessions),
    }
    return letter if _size(letter) <= room else _truncated(letter)


def session_name(key: str) -> str:
    """Return a session key as a letter has it: without what is after its first bytes.

    >>> len(session_name("é" * KEY_BYTES).encode()) <= KEY_BYTES
    True
    """
    return key.encode()[:KEY_BYTES].decode(errors="ignore")


def with_reason(letter: DeadLetter, error: ClickError) -> DeadLetter:
    """Return a letter with the reason for which it was written."""
    return letter | {"reason": error.reason, "error": shortened(str(error))}


def shortened(text: str) -> str:
    """Return a text, or the start of a text that is too long.

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
    """Return the first headers with the first bytes of each, as far as they fit."""
    first, room = [], HEADERS_BYTES
    for header in headers:
        value = header["value"] and header["value"][:HEADER_BYTES]
        beginning = {"name": header["name"][:HEADER_BYTES], "value": value}
        room -= _header_size(beginning) + FIELD_BYTES
        if room < 0:
            break
        first.append(beginning)
    return first


def _first_names(sessions: Iterable[str]) -> list[str]:
    """Return different session keys, as many as fit."""
    names, room = [], SESSIONS_BYTES
    for name in dict.fromkeys(map(session_name, sessions)):
        room -= len(name.encode()) + FIELD_BYTES
        if room < 0:
            break
        names.append(name)
    return names


def _header_size(header: dict[str, Any]) -> int:
    return len(header["name"].encode()) + len(header["value"] or b"")


def _size(letter: DeadLetter) -> int:
    """Return the most bytes of a letter, including its record's key."""
    headers = sum(_header_size(header) + FIELD_BYTES for header in letter["headers"])
    elements = ELEMENT_BYTES * len(letter["elements"])
    beside = SESSIONS_BYTES + elements + headers + OTHER_BYTES
    return 2 * len(letter["key"] or b"") + len(letter["value"] or b"") + beside
