"""Changing what is known of a partition from outside, in place of the worker that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer, TopicPartition

from ader_stream.errors import TopicError
from ader_stream.stream.groups.groups import Committed
from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT
from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.producing import Transaction, recover, retried


@dataclass(frozen=True)
class Ownership:
    """A partition's transactional id, taken from the worker that had it.

    That one is fenced with its next commit, joins its group again and restores what was committed
    here.
    """

    clients: KafkaClients
    group: str
    topic: str
    partition: int
    producer: Producer

    def commit(self, transaction: Transaction, place: Committed) -> None:
        """Write records and the group's offset, or none of them."""
        outsider = self.clients.group_consumer(self.group)
        where = TopicPartition(self.topic, self.partition, place.offset, metadata=place.metadata)
        try:
            self.producer.begin_transaction()
            transaction.send(self.producer)
            self.producer.send_offsets_to_transaction(
                [where], outsider.consumer_group_metadata(), REQUEST_TIMEOUT
            )
            retried(lambda: self.producer.commit_transaction(REQUEST_TIMEOUT))
        finally:
            close(outsider)


@contextmanager
def ownership(clients: KafkaClients, group: str, topic: str, partition: int) -> Iterator[Ownership]:
    """Take a partition; what is read inside is what its owner has committed.

    Raises
    ------
    TopicError
        If a request fails, for one because a worker has taken the partition back meanwhile.
    """
    producer = clients.producer(f"{group}.{partition}")
    try:
        retried(lambda: producer.init_transactions(REQUEST_TIMEOUT))
        yield Ownership(clients, group, topic, partition, producer)
    except KafkaException as exception:
        error = exception.args[0]
        recover(producer, error)
        raise TopicError(
            f"{topic}/{partition} of {group}: nothing was changed ({error.str()}); run it again"
        ) from None
