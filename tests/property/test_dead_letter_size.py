"""A letter fits its record, whatever was refused."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.kafka.limits import SMALLEST, RecordLimits
from ader_stream.stream.sessions.byte_bounds import ByteBounds
from ader_stream.stream.sessions.records.dead_letter import (
    KEY_BYTES,
    SMALLEST_LETTER,
    VALUE_BYTES,
    dead_letter,
    with_reason,
)
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import SessionRule
from tests.fakes import FakeRecord

MB = 10**6
sizes = st.sampled_from([0, 1, 900, 1_025, VALUE_BYTES, VALUE_BYTES + 1, MB, 4 * MB, 20 * MB])
blobs = st.none() | st.builds(
    lambda size, byte: byte * size, sizes, st.sampled_from([b"x", b"\xff"])
)
headers = st.lists(
    st.tuples(st.sampled_from(["trace", "é" * 2_000, ""]), st.none() | st.binary(max_size=3_000)),
    max_size=5,
) | st.just([("many", b"1" * 20)] * 5_000)
rooms = st.sampled_from([SMALLEST_LETTER, 500_000, MB, 4 * MB])


@settings(max_examples=60)
@given(key=blobs, value=blobs, headers=headers, error=st.sampled_from(["", "é" * MB]), room=rooms)
def test_a_letter_fits_its_record_and_says_which_record_it_was(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    error: str,
    room: int,
) -> None:
    record = FakeRecord(value, key, headers=headers, topic="c" * 249, offset=2**62)
    letter = with_reason(dead_letter(record, None, room), ClickError("malformed", error))
    written, _ = encode("DeadLetter", letter)
    assert len(written) + len(letter["key"] or b"") <= room
    if letter["truncated"] is None:
        assert (letter["key"], letter["value"]) == (key, value)
        assert [(h["name"], h["value"]) for h in letter["headers"]] == headers
        return
    assert len(written) + len(letter["key"] or b"") <= SMALLEST_LETTER
    assert 2 * len(key or b"") + len(value or b"") + sum(map(header_bytes, headers)) > room // 2
    for name, original, most in (("key", key, KEY_BYTES), ("value", value, VALUE_BYTES)):
        assert letter[name] == (None if original is None else original[:most])
        assert letter["truncated"][f"{name}_bytes"] == len(original or b"")
    assert letter["truncated"]["value_sha256"] == hashlib.sha256(value or b"").hexdigest()
    assert letter["truncated"]["headers"] == len(headers)


def header_bytes(header: tuple[str, bytes | None]) -> int:
    return len(header[0].encode()) + len(header[1] or b"") + 16


@given(
    limits=st.lists(
        st.integers(SMALLEST, 2 * SMALLEST) | st.integers(SMALLEST, 8 * MB), min_size=4, max_size=4
    ),
    click=st.sampled_from([256, 65_536, 20 * MB]),
    session=st.sampled_from([1_024, 512 * 1024, 20 * MB]),
)
def test_bounds_leave_room_for_whatever_they_bound(
    limits: list[int], click: int, session: int
) -> None:
    topics = Topics("ader")
    names = (topics.sessions, topics.sessionizer_state, topics.dead_letters)
    found = RecordLimits(dict(zip(names, limits, strict=False)), client=limits[3])
    bounds = ByteBounds.of(found, topics, click, session)
    in_changelog = found.room(topics.sessionizer_state)
    assert 256 <= bounds.click <= click
    assert bounds.click < bounds.session or bounds.session == session
    assert bounds.session + 2 * bounds.click <= min(found.room(topics.sessions), in_changelog)
    assert SMALLEST_LETTER <= bounds.letter <= found.room(topics.dead_letters)
    assert bounds.letter + 2 * bounds.click <= in_changelog
    if min(limits) >= 2 * MB:
        assert bounds.session == min(session, SessionRule(1).max_bytes) or session == 20 * MB
