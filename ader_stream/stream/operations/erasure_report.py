"""Report which data of an erased key the topics have, and when they are deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.dead_letters.letters import is_letter
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry.lineage import UNKNOWN, offsets_in, trained_spans
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.sessions.records.dead_letter import KEY_BYTES, session_name
from ader_stream.stream.sessions.records.partition_state import FULL_KEY
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.stream.topics.topics import Topics, topic_id
from ader_stream.types import Session


@dataclass
class KeyData:
    """Data of a key.

    Parameters
    ----------
    open_sessions
        In the sessionizer's changelog: erased with its next transaction.
    unread_sessions
        Closed, but not trained on: the trainer skips them.
    read_sessions, read_by
        Trained on already, and the versions that were trained on them.
    held_by
        Versions that prevent a trim of them: those trained on them, and earlier ones.
    dead_letters
        Refused clicks: kept until that topic's retention deletes them.
    partitions
        Partitions of the input with any of these data.
    """

    open_sessions: int = 0
    unread_sessions: int = 0
    read_sessions: int = 0
    read_by: set[int] = field(default_factory=set)
    held_by: set[int] = field(default_factory=set)
    dead_letters: int = 0
    partitions: set[int] = field(default_factory=set)


def look_for(
    clients: KafkaClients, topics: Topics, partitions: int, registry: Registry, key: str
) -> KeyData:
    """Search our own topics for a key."""
    held = KeyData()
    trained = _Trained(registry, topic_id(clients.admin(), topics.sessions))
    for partition in range(partitions):
        before = (held.open_sessions, held.unread_sessions, held.read_sessions, held.dead_letters)
        held.open_sessions += _open_sessions(clients, topics, partition, key)
        held.dead_letters += sum(
            _is_of(letter, key) for letter in read_to_end(clients, topics.dead_letters, partition)
        )
        for offset, session in _sessions_of(clients, topics, partition, key):
            versions = trained.on(partition, offset, session)
            held.read_by |= versions
            held.held_by |= trained.begun_before(partition, offset)
            if versions or offset < trained.up_to(partition):
                held.read_sessions += 1
            else:
                held.unread_sessions += 1
        after = (held.open_sessions, held.unread_sessions, held.read_sessions, held.dead_letters)
        if after != before:
            held.partitions.add(partition)
    return held


def report_of(
    held: KeyData, registry: Registry, topics: Topics, *, asked_offset: int, keep: int = 0
) -> dict[str, object]:
    """Return what was removed, what will be removed when, and what cannot be reached.

    Parameters
    ----------
    registry
        Read after the request.
    asked_offset
        Offset of the request in `control`.
    keep
        The setting `models.keep`.
    """
    newest = registry.newest.version if registry.newest else 0
    read_by, holders = sorted(held.read_by), sorted(held.held_by)
    next_ = " and the next ones, which skip them," if held.unread_sessions else ""
    by_hand = "`ader-stream models prune --keep 2`"
    trim = f"the trainer does it (models.keep = {keep})" if keep else by_hand
    when = f"{trim}, once the versions {holders}{next_} are not kept any more"
    return {
        "dropped_with_the_next_transaction": {"open_sessions": held.open_sessions},
        "skipped_by_the_trainer": {"sessions": held.unread_sessions},
        "deleted": [topics.recommendations],
        "goes_with_the_trim": {
            "sessions": held.read_sessions + held.unread_sessions,
            "topic": topics.sessions,
            "when": when if held.read_sessions or held.unread_sessions else "there are none",
        },
        "nothing_read_from_version": newest + 1,
        "unless_it_was_being_published": newest + 2,
        "proof": f"run.control_offset is above {asked_offset} in `ader-stream models show VERSION`",
        "out_of_reach": [
            f"{topics.clicks}: your own topic",
            f"{topics.dead_letters}: {held.dead_letters} of the key, until its retention; "
            "`dead-letters replay` leaves them",
            f"weights of the versions {read_by}, and of what descends from them"
            if read_by
            else "no weights",
            "exemplars: they hold sequences of items, no key, no user, no time",
        ],
    }


def _open_sessions(clients: KafkaClients, topics: Topics, partition: int, key: str) -> int:
    newest: dict[bytes, Record] = {}
    for record in read_to_end(clients, topics.sessionizer_state, partition):
        name = record.key() or b""
        if name == key.encode() or name.startswith(FULL_KEY):
            newest[name] = record
    return sum(_count_sessions(record, key) for record in newest.values())


def _count_sessions(record: Record, key: str) -> int:
    """Return how many sessions of a key are in a record of the changelog."""
    if record.value() is None:
        return 0
    _, value = decode(record.value(), record.headers())
    return sum(session.get("key", key) == key for session in value["sessions"])


def _sessions_of(
    clients: KafkaClients, topics: Topics, partition: int, key: str
) -> Iterator[tuple[int, Session]]:
    """Yield the closed sessions of the key, each with the offset of its record."""
    for record in read_to_end(clients, topics.sessions, partition):
        if type_of(record.headers()) == "SessionBatch":
            _, value = decode(record.value(), record.headers())
            for session in decode_sessions(value):
                if session.key == key:
                    yield record.offset(), session


def _is_of(record: Record, key: str) -> bool:
    """Return whether a letter has a click of a session key: of older ones, the record's key says.

    A truncated letter has the first bytes of it.
    """
    if is_letter(record) and (names := decode(record.value(), record.headers())[1]["sessions"]):
        return session_name(key) in names
    return record.key() in (key.encode(), key.encode()[:KEY_BYTES])


class _Trained:
    """Which versions were trained on sessions of a topic, or need them."""

    def __init__(self, registry: Registry, topic_id: str) -> None:
        self._spans = list(trained_spans(registry.manifests, topic_id))
        self._newest = registry.newest.version if registry.newest else 0
        self._places = {
            version: {place.partition: place for place in offsets_in(manifest, topic_id, UNKNOWN)}
            for version, manifest in registry.manifests.items()
        }

    def on(self, partition: int, offset: int, session: Session) -> set[int]:
        """Return the versions that were trained on a session at an offset."""
        last = session.times[-1]
        earlier = {version for version, span in self._spans if span.first <= last <= span.last}
        return earlier | {
            version
            for version in self.begun_before(partition, offset)
            if offset < self._places[version][partition].next_offset
        }

    def begun_before(self, partition: int, offset: int) -> set[int]:
        """Return the versions that need sessions from this offset or an earlier one (`pruning`)."""
        return {
            version
            for version, places in self._places.items()
            if partition in places and (places[partition].first_offset or 0) <= offset
        }

    def up_to(self, partition: int) -> int:
        """Return the offset after the last session that the newest version was trained on."""
        places = self._places.get(self._newest, {})
        return places[partition].next_offset if partition in places else 0
