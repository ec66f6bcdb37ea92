"""Take partitions over: fence earlier owners, then restore the state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from ader_stream.stream.exactly_once.partition_task import AssignedPartition, PartitionTask, TaskT
from ader_stream.stream.exactly_once.transaction_time import TransactionTime
from ader_stream.stream.groups.first_start import start_at_ends
from ader_stream.stream.groups.groups import Committed, Extent, committed_by
from ader_stream.stream.groups.lost import require_held
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT, offset_ranges
from ader_stream.stream.transactions.producer import TransactionalProducer, give_up_all
from ader_stream.stream.transactions.requests import side_by_side

LINGER_MS = 50
"""ms that records wait for others of their batch: a commit sends what waits at once."""

MOST_RECORDS = 1_000_000
"""Room in a producer's queue. A transaction's records are in memory anyway, and waiting for room
for each costs more than producing them."""


TaskT_co = TypeVar("TaskT_co", bound=PartitionTask, covariant=True)


class OpenTasks(Protocol[TaskT_co]):
    """Create the tasks of partitions, with the state of their earlier owners.

    Called in another thread than the loop's, after earlier owners were fenced, while the loop
    processes other partitions. One call for many: what they share is requested once.
    """

    def __call__(
        self, partitions: Collection[int], stay: Callable[[], None]
    ) -> Mapping[int, TaskT_co]:
        """Return partition → task; call `stay` regularly, and let what it raises pass.

        It raises when these partitions are no longer assigned.
        """


class KeptProducer(NamedTuple):
    """A producer of an earlier takeover, and its transaction time-out in ms."""

    producer: TransactionalProducer
    transaction_ms: int


@dataclass(frozen=True)
class Taking(Generic[TaskT]):
    """Take partitions of a topic over.

    Parameters
    ----------
    clients
        Creates producers.
    topic, group
        Topic of the partitions, and the consumer group; with the partition's number it is the
        transactional id.
    start
        ``earliest`` or ``latest``, if the group has never read the topic.
    open_tasks
        Creates the tasks of partitions.
    time
        Time-outs of transactions.
    has_started
        Returns whether the group has read the topic, if none of its offsets is known.
    """

    clients: KafkaClients
    topic: str
    group: str
    start: str
    open_tasks: OpenTasks[TaskT]
    time: TransactionTime
    has_started: Callable[[], bool] = lambda: False

    def producers(
        self, partitions: Collection[int], kept: Mapping[int, KeptProducer]
    ) -> dict[int, TransactionalProducer]:
        """Return the sole producers of partitions: kept ones, or new ones of the right time-out.

        Earlier owners are fenced, and their transactions aborted.

        Raises
        ------
        KafkaException, FencedError
            If a request fails or never returns.
        """
        found = {
            partition: producer
            for partition, (producer, had_ms) in kept.items()
            if had_ms == self.time.of(partition)
        }
        give_up_all(producer for partition, (producer, _) in kept.items() if partition not in found)
        while left := partitions - found.keys():
            found |= self._fencing(left)
        return found

    def _fencing(self, partitions: Collection[int]) -> dict[int, TransactionalProducer]:
        """Return new producers, except those whose time-out the broker does not allow."""
        made = {partition: self._producer(partition) for partition in partitions}
        failed = side_by_side(
            lambda partition: made[partition].init(),
            partitions,
            REQUEST_TIMEOUT,
        )
        give_up_all([made.pop(partition) for partition in failed])
        for partition, exception in failed.items():
            if not self._may_have_less(partition, exception):
                give_up_all(made.values())
                raise exception
        return made

    def _may_have_less(self, partition: int, exception: KafkaException) -> bool:
        is_too_long = exception.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT
        return is_too_long and self.time.note_refusal(partition)

    def restore(
        self, producers: Mapping[int, TransactionalProducer], stay: Callable[[], None]
    ) -> dict[int, AssignedPartition[TaskT]]:
        """Restore the tasks of partitions at the places where they continue.

        Raises
        ------
        OffsetError
            If a log no longer holds the records from there on.
        """
        ranges = offset_ranges(self.clients, self.topic, producers)
        extents = {partition: Extent(*range_) for partition, range_ in ranges.items()}
        # Requested by another client: the loop's may be closed at any time.
        committed = committed_by(self.clients, self.group, self.topic, [*producers])
        tasks = self.open_tasks(producers.keys(), stay)
        known = {p: tasks[p].place(committed.get(p), extent) for p, extent in extents.items()}
        places = self._first_places([p for p, at in known.items() if at is None], extents)
        places |= {partition: place for partition, place in known.items() if place}
        return {
            partition: self._assigned(partition, tasks[partition], producer, places, extents)
            for partition, producer in producers.items()
        }

    def _assigned(
        self,
        partition: int,
        task: TaskT,
        producer: TransactionalProducer,
        places: Mapping[int, Committed],
        extents: Mapping[int, Extent],
    ) -> AssignedPartition[TaskT]:
        place, extent = places[partition], extents[partition]
        require_held(self.topic, partition, place.offset, extent)
        read_from = task.restore(place, extent.first)
        time = self.time.of(partition)
        return AssignedPartition(task, producer, read_from, place.offset, transaction_ms=time)

    def _first_places(
        self, partitions: Collection[int], extents: Mapping[int, Extent]
    ) -> dict[int, Committed]:
        """Return where partitions that were never read begin: at their first records.

        With ``latest`` that is the end, unless the group has read the topic before.
        """
        started = dict[int, Committed]()
        if partitions and self.start == "latest":
            start_at_ends(self.clients, self.group, self.topic, self.has_started)
            started = committed_by(self.clients, self.group, self.topic, partitions)
        return {p: started.get(p, Committed(extents[p].first)) for p in partitions}

    def _producer(self, partition: int) -> TransactionalProducer:
        client = self.clients.producer(
            f"{self.group}.{partition}",
            linger_ms=LINGER_MS,
            queue_buffering_max_messages=MOST_RECORDS,
            delivery_report_only_error=True,  # a transaction's commit reports all of them
            transaction_timeout_ms=self.time.of(partition),
        )
        return TransactionalProducer(client)
