"""What is written by hand is what fastavro writes, byte for byte."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ader_stream.stream.avro.codec import decode_as, encode
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.records.open_columns import read_plain
from ader_stream.stream.sessions.records.partition_state import Changelog, encode_keys
from ader_stream.stream.sessions.records.session_records import encode_batch
from tests.fakes import FakeRecord, as_bytes

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
    assert encode_batch(partition, batch) == encode("SessionBatch", expected)


@given(st.dictionaries(texts, st.lists(open_sessions(), max_size=2), max_size=3), st.data())
def test_open_sessions_are_what_fastavro_writes(
    keys: dict[str, list[OpenSession]], data: st.DataObject
) -> None:
    capped = data.draw(st.dictionaries(st.sampled_from(["", *keys]), numbers))
    found = list(encode_keys(keys.items(), capped))
    assert [key for key, _, _ in found] == [*keys]
    for (key, sessions), (_, value, headers) in zip(keys.items(), found, strict=True):
        values = [{"block": s.block, "is_full": s.is_full, **columns(s)} for s in sessions]
        expected = {"sessions": values, "capped_until": capped.get(key)}
        if not sessions and key not in capped:
            assert (value, headers) == (None, [])
        else:
            assert (value, headers) == encode("OpenSessions", expected)


@st.composite
def plain_sessions(draw: st.DrawFn) -> OpenSession:
    session = draw(open_sessions())
    return OpenSession.of(session.key, session.block, session.times, session.items)


every_session = st.lists(plain_sessions(), min_size=1, max_size=1) | st.lists(
    open_sessions(), max_size=2
)


def state_of(session: OpenSession) -> tuple[Any, ...]:
    return session.key, session.block, session.is_full, *columns(session).values()


@given(st.dictionaries(texts, every_session, max_size=6), st.data())
def test_what_is_written_of_keys_comes_back(
    keys: dict[str, list[OpenSession]], data: st.DataObject
) -> None:
    capped = data.draw(st.dictionaries(st.sampled_from(["", *keys]), numbers, max_size=1))
    changelog = [
        FakeRecord(value, as_bytes(key), headers=headers)
        for key, value, headers in encode_keys(keys.items(), capped)
    ]
    for key, sessions in keys.items():
        for session in sessions:
            session.key = key
    read = Changelog()
    read.extend(changelog)
    state = read.state()
    expected = [state_of(session) for sessions in keys.values() for session in sessions]
    assert sorted(map(state_of, state.sessions)) == sorted(expected)
    assert state.window.capped_until == {key: capped[key] for key in keys if key in capped}


@given(plain_sessions())
def test_a_session_of_which_there_is_no_more_to_say_is_read_side_by_side(
    session: OpenSession,
) -> None:
    [(_, value, _)] = encode_keys([(session.key, [session])], {})
    [found] = read_plain([session.key.encode()], [value or b""])
    assert found is None or state_of(found) == state_of(session)
    assert (found is None) == (len(session.times) > 100)


@given(st.lists(every_session, min_size=1, max_size=3), st.data())
def test_damaged_records_are_read_as_fastavro_reads_them_or_left_to_it(
    keys: list[list[OpenSession]], data: st.DataObject
) -> None:
    values = []
    for _, value, _ in encode_keys([("a", sessions) for sessions in keys], {}):
        damaged = bytearray(value or b"")
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(damaged)))
            damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        values.append(bytes(damaged))
    for value, found in zip(values, read_plain([b"a"] * len(values), values), strict=True):
        if found is not None:
            [session] = decode_as("OpenSessions", value)["sessions"]
            assert columns(found) == {name: session[name] for name in columns(found)}
            assert found.block == session["block"]
