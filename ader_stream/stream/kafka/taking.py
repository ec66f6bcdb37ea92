"""Taking partitions over: earlier owners are fenced, then their state is restored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT, offset_ranges
from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.partition_task import Held, PartitionTask
from ader_stream.stream.kafka.producing import settle, side_by_side
from ader_stream.stream.kafka.transaction_time import TransactionTime

LINGER_MS = 50
"""Records wait so long for others to go with: a commit sends what waits at once."""

MOST_RECORDS = 1_000_000
"""Room in a producer's queue. A transaction's records are in memory anyway, and to make room for
one after the other costs more than to hand them over."""


class OpenTasks(Protocol):
    """Makes the tasks of partitions, with the state that their earlier owners have left.

    Called in a thread of its own, after those were fenced, while the loop goes on with other
    partitions. One call for many: what they share is asked for once.
    """

    def __call__(
        self, partitions: Collection[int], stay: Callable[[], None]
    ) -> Mapping[int, PartitionTask]:
        """Return partition → task; `stay` is called now and then, and what it raises let through.

        It does where nobody wants these partitions any more.
        """


class KeptProducer(NamedTuple):
    """A producer that a process has already, and ms that it has for a transaction."""

    producer: Producer
    transaction_ms: int


@dataclass(frozen=True)
class Taking:
    """How partitions of a topic are taken.

    Parameters
    ----------
    clients
        Makes producers.
    topic, group
        Whose partitions, and the consumer group; with the partition's number it is the
        transactional id.
    start
        ``earliest`` or ``latest``, where no offset was ever committed.
    open_tasks
        Makes the tasks of partitions.
    time
        How long transactions may take.
    """

    clients: KafkaClients
    topic: str
    group: str
    start: str
    open_tasks: OpenTasks
    time: TransactionTime

    def producers(
        self, partitions: Collection[int], kept: Mapping[int, KeptProducer]
    ) -> dict[int, Producer]:
        """Return the sole producers of partitions: new ones, unless one that is kept has the time.

        Earlier owners are fenced, and their transactions aborted.

        Raises
        ------
        KafkaException, FencedError
            If a request fails or hangs.
        """
        found = {
            partition: producer
            for partition, (producer, had_ms) in kept.items()
            if had_ms == self.time.of(partition)
        }
        settle([producer for partition, (producer, _) in kept.items() if partition not in found])
        while left := partitions - found.keys():
            found |= self._fencing(left)
        return found

    def _fencing(self, partitions: Collection[int]) -> dict[int, Producer]:
        """Return new producers, but for those that may only have less time."""
        made = {partition: self._producer(partition) for partition in partitions}
        failed = side_by_side(
            lambda partition: made[partition].init_transactions(REQUEST_TIMEOUT),
            partitions,
            REQUEST_TIMEOUT,
        )
        settle([made.pop(partition) for partition in failed])
        for partition, exception in failed.items():
            if not self._may_have_less(partition, exception):
                settle(made.values())
                raise exception
        return made

    def _may_have_less(self, partition: int, exception: KafkaException) -> bool:
        is_too_long = exception.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT
        return is_too_long and self.time.note_refusal(partition)

    def restore(
        self, producers: Mapping[int, Producer], stay: Callable[[], None]
    ) -> dict[int, Held]:
        """Restore the tasks of partitions at their committed offsets."""
        committed = self._committed([*producers])
        new = [partition for partition, place in committed.items() if place.offset < 0]
        first = self._first_offsets(new)
        tasks = self.open_tasks(producers.keys(), stay)
        return {
            partition: self._held(tasks[partition], producer, committed[partition], first)
            for partition, producer in producers.items()
        }

    def _held(
        self,
        task: PartitionTask,
        producer: Producer,
        committed: TopicPartition,
        first: Mapping[int, int],
    ) -> Held:
        partition, is_committed = committed.partition, committed.offset >= 0
        next_offset = committed.offset if is_committed else first[partition]
        metadata = (committed.metadata or "") if is_committed else ""
        read_from = task.restore(next_offset, metadata, is_committed=is_committed)
        time = self.time.of(partition)
        return Held(task, producer, read_from, next_offset, transaction_ms=time)

    def _producer(self, partition: int) -> Producer:
        return self.clients.producer(
            f"{self.group}.{partition}",
            linger_ms=LINGER_MS,
            queue_buffering_max_messages=MOST_RECORDS,
            delivery_report_only_error=True,  # a transaction's commit tells of all of them
            transaction_timeout_ms=self.time.of(partition),
        )

    def _committed(self, partitions: Collection[int]) -> dict[int, TopicPartition]:
        """Ask the group for committed offsets, by a client of its own that never joins.

        The loop's own may be closed at any time, and must not be used by another thread then.
        """
        where = [TopicPartition(self.topic, partition) for partition in partitions]
        consumer = self.clients.group_consumer(self.group)
        try:
            places = consumer.committed(where, timeout=REQUEST_TIMEOUT)
        finally:
            close(consumer)
        for place in places:
            if place.error:  # its offset would look as if none was ever committed
                raise KafkaException(place.error)
        return {place.partition: place for place in places}

    def _first_offsets(self, partitions: Collection[int]) -> dict[int, int]:
        """Return where the settings say that reading starts, of partitions without a commit."""
        ranges = offset_ranges(self.clients, self.topic, partitions) if partitions else {}
        is_earliest = self.start == "earliest"
        return {p: first if is_earliest else end for p, (first, end) in ranges.items()}
