"""The Avro bytes of many sessions' clicks at once: what schemas say of ``times`` to ``extra``.

A general writer asks the schema at each value. Here all times are made bytes side by side with
numpy, and the texts of a session are joined before they are encoded. The bytes are those that
fastavro would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from ader_stream.stream.sessions.open_session import OpenSession

SHORT = [chr(2 * length) for length in range(64)]
"""What stands before a text of so many ASCII characters: its length, zigzag, in one byte."""

TIME_BYTES = 6
FIRST_TIME, LAST_TIME = 2**34, 2**41 - 1
"""Times (ms) that Avro writes in six bytes, from July 1970 to 2039."""


def long_bytes(number: int) -> bytes:
    r"""Avro's int or long.

    >>> long_bytes(0), long_bytes(-1), long_bytes(64)
    (b'\x00', b'\x01', b'\x80\x01')
    """
    left = number << 1 if number >= 0 else ~(number << 1)
    found = bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    found.append(left)
    return bytes(found)


COUNTS = [long_bytes(count) for count in range(1_001)]


def text_bytes(text: str) -> bytes:
    """Avro's string."""
    data = text.encode()
    return _count(len(data)) + data


def clicks_bytes(sessions: Sequence[OpenSession]) -> Iterator[bytes]:
    """Yield times, items, carried and extra of each session."""
    times = _times_bytes(sessions)
    for session in sessions:
        items = session.items
        count = _count(len(items))
        try:
            texts = "".join([SHORT[len(item)] + item for item in items]).encode("ascii")
        except (IndexError, UnicodeEncodeError):
            texts = b"".join(map(text_bytes, items))
        if session.carried or session.extra:
            rest = _carried_bytes(session.carried) + _extra_bytes(session.extra)
        else:
            rest = b"\0\0"
        yield b"%b%b\0%b%b\0%b" % (count, next(times), count, texts, rest)


def array_bytes(items: Sequence[bytes]) -> bytes:
    """Avro's array of items."""
    return _count(len(items)) + b"".join(items) + b"\0" if items else b"\0"


def _times_bytes(sessions: Sequence[OpenSession]) -> Iterator[bytes]:
    """Yield the times of each session, without their count."""
    every = np.fromiter(chain.from_iterable([s.times for s in sessions]), np.int64)
    if len(every) and not (every.min() >= FIRST_TIME and every.max() <= LAST_TIME):
        for session in sessions:
            yield b"".join(map(long_bytes, session.times))
        return
    bits = np.arange(0, 7 * TIME_BYTES, 7)
    septets = ((every << 1)[:, None] >> bits & 127).astype(np.uint8)
    septets[:, :-1] |= 128
    data, begin = septets.tobytes(), 0
    for session in sessions:
        end = begin + TIME_BYTES * len(session.times)
        yield data[begin:end]
        begin = end


def _count(count: int) -> bytes:
    return COUNTS[count] if count < len(COUNTS) else long_bytes(count)


def _carried_bytes(carried: Mapping[int, int]) -> bytes:
    return array_bytes([long_bytes(at) + long_bytes(time) for at, time in carried.items()])


def _extra_bytes(extra: Mapping[int, Mapping[str, str]]) -> bytes:
    return array_bytes([long_bytes(at) + _map_bytes(fields) for at, fields in extra.items()])


def _map_bytes(fields: Mapping[str, str]) -> bytes:
    texts: Iterable[bytes] = map(text_bytes, chain.from_iterable(fields.items()))
    return _count(len(fields)) + b"".join(texts) + b"\0" if fields else b"\0"
