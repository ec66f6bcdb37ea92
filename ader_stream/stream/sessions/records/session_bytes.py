"""The Avro bytes of many sessions' clicks at once: what schemas say of ``times`` to ``extra``.

A general writer asks the schema at each value. Here all times are made bytes side by side with
numpy; items are kept as the bytes that are written. They are those that fastavro would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from ader_stream.stream.avro.encoding import array_bytes, count_bytes, long_bytes, text_bytes
from ader_stream.stream.sessions.open.session import OpenSession

TIME_BYTES = 6
FIRST_TIME, LAST_TIME = 2**34, 2**41 - 1
"""Times (ms) that Avro writes in six bytes, from July 1970 to 2039."""


Pieces = tuple[bytes, ...]
"""Of one value, to be joined with those around it: to join all of them once takes half the time."""


def clicks_pieces(sessions: Sequence[OpenSession]) -> Iterator[Pieces]:
    """Yield times, items, carried and extra of each session."""
    for session, times in zip(sessions, _times_bytes(sessions), strict=True):
        count = count_bytes(len(session.times))
        if session.carried or session.extra:
            rest = _carried_bytes(session.carried) + _extra_bytes(session.extra)
        else:
            rest = b"\0\0"
        yield count, times, b"\0", count, session.texts, b"\0", rest


def _times_bytes(sessions: Sequence[OpenSession]) -> Iterator[bytes]:
    """Yield the times of each session, without their count."""
    every = np.frombuffer(b"".join([session.times for session in sessions]), np.int64)
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


def _carried_bytes(carried: Mapping[int, int]) -> bytes:
    return array_bytes([long_bytes(at) + long_bytes(time) for at, time in carried.items()])


def _extra_bytes(extra: Mapping[int, Mapping[str, str]]) -> bytes:
    return array_bytes([long_bytes(at) + _map_bytes(fields) for at, fields in extra.items()])


def _map_bytes(fields: Mapping[str, str]) -> bytes:
    texts: Iterable[bytes] = map(text_bytes, chain.from_iterable(fields.items()))
    return count_bytes(len(fields)) + b"".join(texts) + b"\0" if fields else b"\0"
