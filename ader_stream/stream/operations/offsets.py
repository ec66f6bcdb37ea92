"""The workers' offsets in the clicks, and how an operator moves them past lost records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ader_stream.errors import TopicError
from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.exactly_once.state_edit import StateEdit, state_edit
from ader_stream.stream.groups.groups import Committed, Extent, committed_by, extents
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.scores.score_log import ScorePlace, encode_place, read_partitions
from ader_stream.stream.sessions.records.partition_state import PARTITION_KEY
from ader_stream.stream.topics.identity import made_again
from ader_stream.stream.topics.topics import Topics, check_topics, topic_id

SESSIONIZER, INFERENCE = "sessionizer", "inference"


@dataclass(frozen=True)
class WorkerPlace:
    """A worker's offset on a partition by its own records, and that of its group.

    Parameters
    ----------
    worker, partition
        The worker and the partition.
    topic_id
        Kafka's id of the clicks topic of the offset; empty if the records do not have it.
    place
        Offset of the next click by its own records, else by its group.
    group
        The group's committed offset; None without one.
    log
        Extent of the partition's log.
    """

    worker: str
    partition: int
    topic_id: str
    place: int
    group: Committed | None
    log: Extent

    @property
    def target(self) -> int:
        """Return the first offset that is not lost, from the place on."""
        return min(max(self.place, self.log.first), self.log.end)

    @property
    def lost(self) -> int:
        """Return the number of records that were lost before they were read."""
        return max(0, self.log.first - self.place)


Own = dict[str, Any]
"""Value of the record with a worker's offset."""


class _Store(NamedTuple):
    """How a worker stores its offset.

    Parameters
    ----------
    read
        Partitions → the worker's own record of each, if there is one.
    write
        Adds the records that set another offset, of a topic with this id.
    """

    read: Callable[[KafkaClients, Topics, range], dict[int, Own]]
    write: Callable[[Transaction, Topics, WorkerPlace, Own | None, str], None]


def worker_places(clients: KafkaClients, topics: Topics) -> Iterator[WorkerPlace]:
    """Yield the workers' offsets, partition by partition; without workers that never started."""
    partitions = range(check_topics(clients.admin(), topics))
    logs = extents(clients.admin(), topics.clicks, partitions)
    for worker in _STORES:
        yield from _places(clients, topics, worker, partitions, logs).values()


def skip_lost(clients: KafkaClients, topics: Topics, where: WorkerPlace) -> WorkerPlace | None:
    """Move a worker to the first offset that still exists; return its state before.

    Its state is kept, and the gap is logged and counted. Returns None if nothing is lost any more.

    Raises
    ------
    TopicError
        If the clicks topic is not the one of the offset, or the transaction fails.
    """
    return _move(clients, topics, where, lambda now: now.target != now.place)


def restore_group(clients: KafkaClients, topics: Topics, where: WorkerPlace) -> WorkerPlace | None:
    """Set a group's offset to that of the worker's own records; return None if it is there already.

    Raises
    ------
    TopicError
        As `skip_lost` does.
    """
    return _move(clients, topics, where, lambda now: now.group is None or is_moved(now))


def is_moved(where: WorkerPlace) -> bool:
    """Return whether the group's offset differs from that of the worker's own records."""
    return where.group is not None and where.group.offset != where.place


def _move(
    clients: KafkaClients,
    topics: Topics,
    where: WorkerPlace,
    is_needed: Callable[[WorkerPlace], bool],
) -> WorkerPlace | None:
    group, partition = topics.group(where.worker), where.partition
    with state_edit(clients, group, topics.clicks, partition) as owner:
        alone = range(partition, partition + 1)
        logs = extents(clients.admin(), topics.clicks, alone)
        now = _places(clients, topics, where.worker, alone, logs).get(partition)
        if now is None or not is_needed(now):
            return None
        found = topic_id(clients.admin(), topics.clicks)
        if now.topic_id not in ("", found):
            raise TopicError(made_again(topics.clicks, now.topic_id, found))
        _commit(clients, topics, owner, now, found)
        return now


def _commit(
    clients: KafkaClients, topics: Topics, owner: StateEdit, now: WorkerPlace, topic_id_: str
) -> None:
    store, partition = _STORES[now.worker], now.partition
    transaction = Transaction()
    own = store.read(clients, topics, range(partition, partition + 1)).get(partition)
    if now.target != now.place:
        store.write(transaction, topics, now, own, topic_id_)
    said = now.group.metadata if now.group else ""
    metadata = (own or {}).get("prefixes", said)
    owner.commit(transaction, Committed(now.target, metadata))


def _places(
    clients: KafkaClients,
    topics: Topics,
    worker: str,
    partitions: range,
    logs: Mapping[int, Extent],
) -> dict[int, WorkerPlace]:
    groups = committed_by(clients, topics.group(worker), topics.clicks, partitions)
    own = _STORES[worker].read(clients, topics, partitions)
    places = {}
    for partition in partitions:
        group, state = groups.get(partition), own.get(partition, {})
        place = state.get("next_offset", -1)
        if place < 0 and group:
            place = group.offset
        if place >= 0:
            known_as = state.get("topic_id", "")
            places[partition] = WorkerPlace(
                worker, partition, known_as, place, group, logs[partition]
            )
    return places


def _read_states(clients: KafkaClients, topics: Topics, partitions: range) -> dict[int, Own]:
    """Read the PartitionState of partitions."""
    found = {}
    for partition in partitions:
        for record in read_to_end(clients, topics.sessionizer_state, partition):
            if record.key() == PARTITION_KEY and record.value() is not None:
                _, found[partition] = decode(record.value(), record.headers())
    return found


def _write_state(
    transaction: Transaction, topics: Topics, now: WorkerPlace, own: Own | None, _: str
) -> None:
    partition = now.partition
    gap = {
        "partition": partition,
        "from_offset": now.place,
        "to_offset": now.target,
        "at": time.time_ns() // 1_000_000,
    }
    transaction.produce(topics.sessions, str(partition), *encode("Gap", gap), partition)
    if own is not None:
        state = {**own, "next_offset": now.target, "skipped": own["skipped"] + now.lost}
        value, headers = encode("PartitionState", state)
        transaction.produce(topics.sessionizer_state, PARTITION_KEY, value, headers, partition)


def _read_score_places(clients: KafkaClients, topics: Topics, partitions: range) -> dict[int, Own]:
    """Read the ScorePlace of partitions."""
    found = read_partitions(clients, topics.scores)
    places = {partition: found[partition].place for partition in partitions}
    return {partition: place._asdict() for partition, place in places.items() if place}


def _write_score_place(
    transaction: Transaction, topics: Topics, now: WorkerPlace, own: Own | None, topic_id_: str
) -> None:
    prefixes = now.group.metadata if now.group else ""
    known = ScorePlace(**own) if own else ScorePlace(now.place, topic_id_, prefixes)
    moved = known._replace(next_offset=now.target, skipped=known.skipped + now.lost)
    transaction.produce(topics.scores, *encode_place(now.partition, moved))


_STORES = {
    SESSIONIZER: _Store(_read_states, _write_state),
    INFERENCE: _Store(_read_score_places, _write_score_place),
}
"""Worker → how it stores its offset."""
