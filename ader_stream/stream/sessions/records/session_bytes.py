"""Encode the clicks of many sessions at once: the Avro fields ``times`` to ``extra``.

A general encoder reads the schema at each value. Here all times are encoded side by side; items are
kept as the bytes that are written. The result is what fastavro writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ader_stream.stream.avro.encoding import array_bytes, count_bytes, long_bytes, map_bytes
from ader_stream.stream.avro.long_columns import each_longs_bytes
from ader_stream.stream.sessions.open.session import OpenSession

Pieces = tuple[bytes, ...]
"""Bytes of one value, to be joined with those around it: one join of all takes half the time."""


def clicks_pieces(sessions: Sequence[OpenSession]) -> Iterator[Pieces]:
    """Yield times, items, carried and extra of each session."""
    every = each_longs_bytes([session.times for session in sessions])
    for session, times in zip(sessions, every, strict=True):
        count = count_bytes(len(session.times))
        if session.carried or session.extra:
            rest = _carried_bytes(session.carried) + _extra_bytes(session.extra)
        else:
            rest = b"\0\0"
        yield count, times, b"\0", count, session.texts, b"\0", rest


def _carried_bytes(carried: Mapping[int, int]) -> bytes:
    return array_bytes([long_bytes(at) + long_bytes(time) for at, time in carried.items()])


def _extra_bytes(extra: Mapping[int, Mapping[str, str]]) -> bytes:
    return array_bytes([long_bytes(at) + map_bytes(fields) for at, fields in extra.items()])
