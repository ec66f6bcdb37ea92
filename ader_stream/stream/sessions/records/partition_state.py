"""State of one input partition in the changelog: a record for each key, and some of its own.

Keys: the session key (OpenSessions); ``__partition__`` (PartitionState), ``__partition__/rules``
(RulesChange, the last one), ``__partition__/held/N`` (HeldClick, N its offset; N.E of
element E of a record that holds many),
``__partition__/ids/N`` (EventIds, N its number), ``__partition__/full/N`` (SessionBatch of one
session that accepts no more clicks and waits for its block, N a hash of its identity; so the record
of a key does not grow with them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, islice
from operator import methodcaller
from typing import Any

from ader_stream.stream.avro.codec import (
    Headers,
    decode,
    decode_as,
    decode_stored,
    encode,
    headers_for,
)
from ader_stream.stream.avro.encoding import count_bytes, long_bytes
from ader_stream.stream.clicks.decoder import RESERVED_KEY
from ader_stream.stream.control.rules import Rules
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import read_all_to_end
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.sessions.event_ids import Segment
from ader_stream.stream.sessions.intake import QuarantinedClick
from ader_stream.stream.sessions.open.session import Jump, OpenSession
from ader_stream.stream.sessions.open.sessions import KeySessions
from ader_stream.stream.sessions.outputs import BlockCounts
from ader_stream.stream.sessions.partition_erasures import NONE_APPLIED, Applied
from ader_stream.stream.sessions.records.dead_letter import DeadLetter
from ader_stream.stream.sessions.records.open_columns import read_plain
from ader_stream.stream.sessions.records.session_bytes import clicks_pieces
from ader_stream.stream.sessions.records.session_records import carried_of, encode_batch, extra_of
from ader_stream.stream.sessions.window import WindowState
from ader_stream.types import Click, ClickPlace

PARTITION_KEY = RESERVED_KEY.encode()
"""Changelog key of the partition's own state."""

RULES_KEY = PARTITION_KEY + b"/rules"
"""Changelog key of the rules by which the state was made."""

FULL_KEY = PARTITION_KEY + b"/full/"
"""Start of the changelog keys of full sessions."""

READ_AT_ONCE = 20_000
"""Keys that are decoded together."""

KEYS_AT_ONCE = 300
"""Keys encoded together; so many stay in the processor's caches between two steps."""

FLAGS = (b"\0", b"\1")
"""Avro's boolean."""

UNCOUNTED = -1
"""Number of open sessions in a state of an earlier release, which did not count them."""

Change = tuple[bytes | str, bytes | None, Headers]
"""Key, value (None: a tombstone) and headers of a changelog record."""


@dataclass
class PartitionState:
    """All that a process needs to continue with a partition.

    Parameters
    ----------
    window, sessions
        State and open sessions of its `SessionWindow`.
    held
        Place → quarantined click.
    letters
        Place → dead letter of that click if it is refused.
    full_keys
        Keys of the records of full sessions.
    segments
        Of its `EventIds`.
    next_offset
        Offset of the clicks topic up to which the state is valid; -1 before the first commit.
    topic_id
        Kafka's id of the clicks topic.
    skipped
        Number of records that were never read, because retention had deleted them.
    rules
        Rules by which it was made; empty if it does not name them.
    applied
        Which erasure requests are applied.
    open_sessions
        Number of open sessions when it was written; `UNCOUNTED` in a state of an earlier release.
    """

    window: WindowState = field(default_factory=WindowState)
    sessions: list[OpenSession] = field(default_factory=list)
    held: dict[ClickPlace, QuarantinedClick] = field(default_factory=dict)
    letters: dict[ClickPlace, DeadLetter] = field(default_factory=dict)
    full_keys: set[bytes] = field(default_factory=set)
    segments: list[Segment] = field(default_factory=list)
    next_offset: int = -1
    topic_id: str = ""
    skipped: int = 0
    rules: Rules = field(default_factory=dict)
    applied: Applied = NONE_APPLIED
    open_sessions: int = UNCOUNTED


class Changelog:
    """The last record of each key of a partition's changelog, as far as it was read."""

    def __init__(self) -> None:
        self._opened: dict[bytes, bytes] = {}  # of OpenSessions in today's schema
        self._others: dict[bytes, Record] = {}

    def extend(self, records: Iterable[Record]) -> None:
        """Add records in order."""
        opened, others, headers_today = self._opened, self._others, headers_for("OpenSessions")
        for record in records:
            key, value = record.key() or b"", record.value()
            if value is not None and record.headers() == headers_today:
                opened[key] = value
                continue
            opened.pop(key, None)
            if value is None:
                others.pop(key, None)
            else:
                others[key] = record

    def state(self) -> PartitionState:
        """Return the state that the records result in."""
        state, opened = PartitionState(), self._opened
        keys, values = list(opened), list(opened.values())
        for begin in range(0, len(keys), READ_AT_ONCE):
            some = slice(begin, begin + READ_AT_ONCE)
            _take_opened(state, keys[some], values[some])
        for key, record in self._others.items():
            if key not in opened:
                _take(state, key, *decode(record.value(), record.headers()))
        return state


def read_states(
    clients: KafkaClients,
    topic: str,
    partitions: Collection[int],
    between: Callable[[], None] = lambda: None,
) -> dict[int, PartitionState]:
    """Read the changelogs of partitions to their ends; see `read_all_to_end`."""
    changelogs = {partition: Changelog() for partition in partitions}
    records = read_all_to_end(clients, topic, partitions, between)
    for partition, some in groupby(records, methodcaller("partition")):
        changelogs[partition].extend(some)
    # Each is released when it is converted: all of them together are as large as their states.
    return {partition: changelogs.pop(partition).state() for partition in partitions}


def encode_keys(keys: Iterable[KeySessions], capped_until: Mapping[str, int]) -> Iterator[Change]:
    """Yield the records of keys with their open sessions: a tombstone if there are none."""
    headers, block_bytes = headers_for("OpenSessions"), cache(long_bytes)
    keys = iter(keys)
    while some := list(islice(keys, KEYS_AT_ONCE)):
        clicks = clicks_pieces([session for _, sessions in some for session in sessions])
        for key, sessions in some:
            until = capped_until.get(key)
            if not sessions and until is None:
                yield key, None, []
                continue
            pieces = [count_bytes(len(sessions))] if sessions else []
            for session in sessions:
                pieces.append(block_bytes(session.block))
                pieces.extend(next(clicks))
                pieces.append(FLAGS[session.is_full])
            pieces.append(b"\0\0" if until is None else b"\0\2" + long_bytes(until))
            yield key, b"".join(pieces), headers


def encode_partition(
    window: WindowState,
    open_sessions: int,
    next_offset: int,
    topic_id: str,
    skipped: int = 0,
    applied: Applied = NONE_APPLIED,
) -> Change:
    """Return the partition's own record."""
    counts = [
        {"block": block, "clicks": c.clicks, "sessions": c.sessions, "late": c.late}
        for block, c in window.counts.items()
    ]
    value = {
        "watermark": window.watermark,
        "open_block": window.open_block,
        "evicted_until": window.evicted_until,
        "counts": counts,
        "next_offset": next_offset,
        "topic_id": topic_id,
        "jumps": [jump._asdict() for jump in window.jumps],
        "sole_key": window.sole_key,
        "skipped": skipped,
        "open_sessions": open_sessions,
        **applied._asdict(),
    }
    return PARTITION_KEY, *encode("PartitionState", value)


def encode_rules(partition: int, next_offset: int, rules: Rules) -> tuple[bytes, Headers]:
    """Return the record with the offset from which rules are valid."""
    value = {"partition": partition, "next_offset": next_offset, "rules": rules}
    return encode("RulesChange", value)


def encode_held(place: ClickPlace, held: QuarantinedClick, letter: DeadLetter) -> Change:
    """Return the record of a quarantined click."""
    click = held.click
    value = {
        "offset": place.offset,
        "element": place.element,
        "session": click.key,
        "item": click.item,
        "time": click.time,
        "event_id": click.event_id,
        "extra": click.extra,
        "letter": encode("DeadLetter", letter)[0],
        "is_contradicted": held.is_contradicted,
    }
    return _held_key(place), *encode("HeldClick", value)


def encode_full(partition: int, session: OpenSession) -> Change:
    """Return the record of a full session."""
    return full_key(session), *encode_batch(partition, [session])


def full_key(session: OpenSession) -> bytes:
    """Return the changelog key of a full session."""
    identity = f"{session.block}/{session.first}/{session.key}".encode()
    return FULL_KEY + hashlib.sha256(identity).hexdigest().encode()


def full_tombstone(key: bytes) -> Change:
    """Return the tombstone of a full session."""
    return key, None, []


def held_tombstone(place: ClickPlace) -> Change:
    """Return the tombstone of a quarantined click."""
    return _held_key(place), None, []


def encode_segments(segments: Iterable[tuple[int, Segment | None]]) -> Iterator[Change]:
    """Yield the records of segments from `EventIds.take_segments`."""
    for number, segment in segments:
        key = _own_key("ids", number)
        yield (key, None, []) if segment is None else (key, *encode("EventIds", vars(segment)))


def _own_key(kind: str, number: int) -> bytes:
    return b"%s/%s/%d" % (PARTITION_KEY, kind.encode(), number)


def _held_key(place: ClickPlace) -> bytes:
    key = _own_key("held", place.offset)
    return b"%s.%d" % (key, place.element) if place.element else key


def _take_opened(state: PartitionState, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
    """Decode OpenSessions in today's schema."""
    for key, value, session in zip(keys, values, read_plain(keys, values), strict=True):
        if session:
            state.sessions.append(session)
        else:
            _take(state, key, "OpenSessions", decode_as("OpenSessions", value))


def _take(state: PartitionState, key: bytes, type_name: str, value: dict[str, Any]) -> None:
    if type_name == "OpenSessions":
        _take_key(state, key.decode(), value)
    elif type_name == "PartitionState":
        _take_partition(state, value)
    elif type_name == "RulesChange":
        state.rules = value["rules"]
    elif type_name == "HeldClick":
        _take_held(state, value)
    elif type_name == "SessionBatch":
        _take_full(state, key, value)
    elif type_name == "EventIds":
        state.segments.append(Segment(**value))


def _take_key(state: PartitionState, key: str, value: dict[str, Any]) -> None:
    if value["capped_until"] is not None:
        state.window.capped_until[key] = value["capped_until"]
    for s in value["sessions"]:
        columns = s["block"], s["times"], s["items"], carried_of(s), extra_of(s)
        session = OpenSession.of(key, *columns)
        session.is_full = s["is_full"]
        state.sessions.append(session)


def _take_full(state: PartitionState, key: bytes, batch: dict[str, Any]) -> None:
    state.full_keys.add(key)
    for s in batch["sessions"]:
        columns = batch["block"], s["times"], s["items"], carried_of(s), extra_of(s)
        session = OpenSession.of(s["key"], *columns)
        session.is_full = True
        state.sessions.append(session)


def _take_partition(state: PartitionState, value: dict[str, Any]) -> None:
    state.window.watermark = value["watermark"]
    state.window.open_block = value["open_block"]
    state.window.evicted_until = value["evicted_until"]
    state.window.counts = {
        c["block"]: BlockCounts(c["clicks"], c["sessions"], c["late"]) for c in value["counts"]
    }
    state.window.jumps = tuple(Jump(**jump) for jump in value["jumps"])
    state.window.sole_key = value["sole_key"]
    state.next_offset = value["next_offset"]
    state.topic_id = value["topic_id"]
    state.skipped = value["skipped"]
    state.open_sessions = value["open_sessions"]
    erased = value["erased_to"], tuple(value["returned"]), value["control_id"]
    state.applied = Applied(*erased)


def _take_held(state: PartitionState, value: dict[str, Any]) -> None:
    place = ClickPlace(value["offset"], value["element"])
    click = Click(value["session"], value["item"], value["time"], value["event_id"], value["extra"])
    state.held[place] = QuarantinedClick(click, value["is_contradicted"])
    state.letters[place] = decode_stored("DeadLetter", value["letter"])
