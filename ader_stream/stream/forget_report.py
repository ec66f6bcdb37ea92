"""What the topics hold of a key that is to be forgotten, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ader_stream.stream.kafka.changelog import read_to_end
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.codec import decode, type_of
from ader_stream.stream.kafka.topics import Topics
from ader_stream.stream.models.manifest import Manifest
from ader_stream.stream.models.registry import Registry
from ader_stream.stream.sessions.session_records import decode_sessions


@dataclass
class Held:
    """What is held of a key.

    Parameters
    ----------
    open_sessions
        In the sessionizer's changelog: dropped with its next transaction.
    unread_sessions
        Closed, but not trained on: the trainer skips them.
    read_sessions, read_by
        Trained on already, and the versions that were.
    held_by
        Versions for whose sake no trim reaches them: those trained on them, and earlier ones.
    dead_letters
        Refused clicks: kept until that topic's retention deletes them.
    partitions
        Of the input that hold any of it.
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
) -> Held:
    """Look through our own topics for a key."""
    held = Held()
    for partition in range(partitions):
        before = (held.open_sessions, held.unread_sessions, held.read_sessions, held.dead_letters)
        held.open_sessions += _open_sessions(clients, topics, partition, key)
        held.dead_letters += sum(
            (record.key() or b"").decode(errors="replace") == key
            for record in read_to_end(clients, topics.dead_letters, partition)
        )
        for offset in _offsets_of_sessions(clients, topics, partition, key):
            versions = _trained_on(registry, partition, offset)
            held.read_by |= versions
            held.held_by |= _begun_before(registry, partition, offset)
            if versions or offset < _read_up_to(registry.newest, partition):
                held.read_sessions += 1
            else:
                held.unread_sessions += 1
        after = (held.open_sessions, held.unread_sessions, held.read_sessions, held.dead_letters)
        if after != before:
            held.partitions.add(partition)
    return held


def report_of(
    held: Held, registry: Registry, topics: Topics, *, asked_offset: int, keep: int = 0
) -> dict[str, object]:
    """Say what was removed, what goes when, and what cannot be reached.

    Parameters
    ----------
    registry
        Read after the request.
    asked_offset
        Of the request in `control`.
    keep
        The setting `models.keep`.
    """
    newest = registry.newest["version"] if registry.newest else 0
    read_by, holders = sorted(held.read_by), sorted(held.held_by)
    next_ = " and the next ones, which pass over them," if held.unread_sessions else ""
    trim = f"the trainer does it (models.keep = {keep})" if keep else "`ader-stream models prune`"
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
            f"{topics.dead_letters}: {held.dead_letters} of the key, until its retention",
            f"weights of the versions {read_by}, and of what descends from them"
            if read_by
            else "no weights",
            "exemplars: they hold sequences of items, no key, no user, no time",
        ],
    }


def _open_sessions(clients: KafkaClients, topics: Topics, partition: int, key: str) -> int:
    newest = None
    for record in read_to_end(clients, topics.sessionizer_state, partition):
        if record.key() == key.encode():
            newest = record
    if newest is None or newest.value() is None:
        return 0
    return len(decode(newest.value(), newest.headers())[1]["sessions"])


def _offsets_of_sessions(
    clients: KafkaClients, topics: Topics, partition: int, key: str
) -> Iterator[int]:
    """Yield the offset of the record that each closed session of the key stands in."""
    for record in read_to_end(clients, topics.sessions, partition):
        if type_of(record.headers()) == "SessionBatch":
            _, value = decode(record.value(), record.headers())
            for session in decode_sessions(value):
                if session.key == key:
                    yield record.offset()


def _trained_on(registry: Registry, partition: int, offset: int) -> set[int]:
    return {
        version
        for version, manifest in registry.manifests.items()
        for place in manifest["run"]["offsets"]
        if place["partition"] == partition
        and (place["first_offset"] or 0) <= offset < place["next_offset"]
    }


def _begun_before(registry: Registry, partition: int, offset: int) -> set[int]:
    """Versions that need what was read from this offset, or an earlier one, on (`pruning`)."""
    return {
        version
        for version, manifest in registry.manifests.items()
        for place in manifest["run"]["offsets"]
        if place["partition"] == partition and (place["first_offset"] or 0) <= offset
    }


def _read_up_to(manifest: Manifest | None, partition: int) -> int:
    offsets = manifest["run"]["offsets"] if manifest else []
    return next((p["next_offset"] for p in offsets if p["partition"] == partition), 0)
