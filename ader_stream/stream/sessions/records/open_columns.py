"""Decode the open sessions of many changelog records at once.

Nearly every key has one session without late clicks, caps or extra fields. Those are decoded here;
the others are left to the decoder of single values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ader_stream.stream.avro.columns import Cursor
from ader_stream.stream.sessions.open.session import NONE, OpenSession

MOST_CLICKS = 100
"""Most clicks of a session that is decoded here: the longest one decides the steps of all."""

NOTHING_BEHIND = 5
"""Zeros at the end: nothing carried, no extra fields, not full, no other session, not capped."""


def read_plain(keys: Sequence[bytes], values: Sequence[bytes]) -> list[OpenSession | None]:
    """Return the session of each key, from its OpenSessions; None if it is not a simple one."""
    cursor = Cursor(values)
    cursor.expect(1)
    blocks, counts = cursor.longs().tolist(), cursor.longs()
    cursor.is_plain = cursor.is_plain & (counts > 0) & (counts <= MOST_CLICKS)
    counts = np.where(cursor.is_plain, counts, 0)
    times, texts = cursor.long_arrays(counts), cursor.text_arrays(counts)
    for _ in range(NOTHING_BEHIND):
        cursor.expect(0)
    one_of: dict[int, int] = {}  # many sessions are in one block: one number for all of them
    found: list[OpenSession | None] = [
        OpenSession(key.decode(), one_of.setdefault(block, block), of_key, text, NONE, NONE)
        for key, block, of_key, text in zip(keys, blocks, times, texts, strict=True)
    ]
    for position in cursor.left_out():
        found[position] = None
    return found
