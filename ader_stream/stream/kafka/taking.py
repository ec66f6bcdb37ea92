"""Taking a partition over: earlier owners are fenced, then its state is restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT, offset_range
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.partition_task import Held, PartitionTask
from ader_stream.stream.kafka.producing import retried, settle
from ader_stream.stream.kafka.transaction_time import TransactionTime

LINGER_MS = 50
"""Records wait so long for others to go with: a commit sends what waits at once."""

MOST_RECORDS = 1_000_000
"""Room in a producer's queue. A transaction's records are in memory anyway, and to make room for
one after the other costs more than to hand them over."""


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
    open_task
        Makes the task of a partition, fresh.
    time
        How long transactions may take.
    """

    clients: KafkaClients
    topic: str
    group: str
    start: str
    open_task: Callable[[int], PartitionTask]
    time: TransactionTime

    def take(self, consumer: Consumer, partition: int) -> Held:
        """Fence earlier owners and abort their transactions; restore the task."""
        return self.restored(consumer, partition, self._sole_producer(partition))

    def again(self, consumer: Consumer, partition: int, producer: Producer, had_ms: int) -> Held:
        """Restore a task whose transaction was aborted, with more time where that was too short."""
        if self.time.of(partition) == had_ms:
            return self.restored(consumer, partition, producer)
        settle([producer])
        return self.take(consumer, partition)

    def _sole_producer(self, partition: int) -> Producer:
        """Return the one producer of a partition: earlier ones are fenced."""
        producer = self.clients.producer(
            f"{self.group}.{partition}",
            linger_ms=LINGER_MS,
            queue_buffering_max_messages=MOST_RECORDS,
            delivery_report_only_error=True,  # a transaction's commit tells of all of them
            transaction_timeout_ms=self.time.of(partition),
        )
        try:
            retried(lambda: producer.init_transactions(REQUEST_TIMEOUT))
        except KafkaException as exception:
            is_too_long = exception.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT
            if not is_too_long or not self.time.note_refusal(partition):
                raise
            settle([producer])
            return self._sole_producer(partition)
        return producer

    def restored(self, consumer: Consumer, partition: int, producer: Producer) -> Held:
        """Restore a partition's task at its committed offset."""
        where = TopicPartition(self.topic, partition)
        [committed] = consumer.committed([where], timeout=REQUEST_TIMEOUT)
        if committed.error:  # its offset would look as if none was ever committed
            raise KafkaException(committed.error)
        next_offset, metadata = committed.offset, committed.metadata or ""
        if next_offset < 0:
            next_offset, metadata = self._first_offset(partition), ""
        task = self.open_task(partition)
        read_from = task.restore(next_offset, metadata, is_committed=committed.offset >= 0)
        time = self.time.of(partition)
        return Held(task, producer, read_from, next_offset, transaction_ms=time)

    def _first_offset(self, partition: int) -> int:
        first, end = offset_range(self.clients, self.topic, partition)
        return first if self.start == "earliest" else end
