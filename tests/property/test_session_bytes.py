"""What is written by hand is what fastavro writes, byte for byte."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ader_stream.stream.kafka.codec import encode
from ader_stream.stream.sessions.open_session import OpenSession
from ader_stream.stream.sessions.partition_state import encode_keys
from ader_stream.stream.sessions.session_records import encode_outputs

texts = st.text(max_size=4) | st.text("ab", min_size=60, max_size=140)
times = (
    st.integers(2**34 - 2, 2**34 + 2)
    | st.integers(2**41 - 3, 2**41 + 2)
    | st.integers(1_700_000_000_000, 1_700_000_000_999)
    | st.integers(0, 253_402_300_799_999)
)
positions = st.integers(0, 200)
numbers = st.integers(-(2**40), 2**40)


@st.composite
def open_sessions(draw: st.DrawFn, key: str = "") -> OpenSession:
    clicks = draw(st.lists(st.tuples(times, texts), min_size=1, max_size=4))
    many = draw(st.sampled_from([1, 1, 1, 20, 300]))
    carried = draw(st.dictionaries(positions, numbers, max_size=2))
    extra = draw(st.dictionaries(positions, st.dictionaries(texts, texts, max_size=2), max_size=2))
    session = OpenSession.of(
        key or draw(texts),
        draw(numbers),
        [time for time, _ in clicks] * many,
        [item for _, item in clicks] * many,
        carried,
        extra,
    )
    session.is_full = draw(st.booleans())
    return session


def columns(session: OpenSession) -> dict[str, Any]:
    return {
        "times": session.times.tolist(),
        "items": session.items,
        "carried": [{"position": at, "time": time} for at, time in session.carried.items()],
        "extra": [{"position": at, "fields": fields} for at, fields in session.extra.items()],
    }


@given(st.integers(0, 2**31 - 1), st.lists(open_sessions(), min_size=1, max_size=4))
def test_a_session_batch_is_what_fastavro_writes(partition: int, batch: list[OpenSession]) -> None:
    for session in batch:
        session.block = batch[0].block
    expected = {
        "partition": partition,
        "block": batch[0].block,
        "sessions": [{"key": session.key, **columns(session)} for session in batch],
    }
    [record] = encode_outputs(partition, batch)
    assert record == encode("SessionBatch", expected)


@given(st.dictionaries(texts, st.lists(open_sessions(), max_size=2), max_size=3), st.data())
def test_open_sessions_are_what_fastavro_writes(
    keys: dict[str, list[OpenSession]], data: st.DataObject
) -> None:
    capped = data.draw(st.dictionaries(st.sampled_from(["", *keys]), numbers))
    found = list(encode_keys([*keys.items()], capped))
    assert [key for key, _, _ in found] == [key.encode() for key in keys]
    for (key, sessions), (_, value, headers) in zip(keys.items(), found, strict=True):
        values = [{"block": s.block, "is_full": s.is_full, **columns(s)} for s in sessions]
        expected = {"sessions": values, "capped_until": capped.get(key)}
        if not sessions and key not in capped:
            assert (value, headers) == (None, [])
        else:
            assert (value, headers) == encode("OpenSessions", expected)
