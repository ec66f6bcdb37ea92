"""Change the committed state of a partition from outside, in place of the worker that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer, TopicPartition

from ader_stream.errors import TopicError
from ader_stream.stream.groups.groups import Committed
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.transactions.producer import (
    TransactionalProducer,
    send_offsets_as_outsider,
    sole_producer,
)


@dataclass(frozen=True)
class StateEdit:
    """A partition's transactional id, taken from the worker that had it.

    That worker is fenced with its next commit, joins its group again and restores what was
    committed here.
    """

    clients: KafkaClients
    group: str
    topic: str
    partition: int
    producer: TransactionalProducer

    def commit(self, transaction: Transaction, place: Committed) -> None:
        """Write records and the group's offset, or none of them."""
        where = TopicPartition(self.topic, self.partition, place.offset, metadata=place.metadata)

        def fill(client: Producer) -> None:
            transaction.send(client)
            send_offsets_as_outsider(self.producer, self.clients, self.group, [where])

        self.producer.transact(fill)


@contextmanager
def state_edit(
    clients: KafkaClients, group: str, topic: str, partition: int
) -> Iterator[StateEdit]:
    """Take a partition; what is read inside is what its owner has committed.

    Raises
    ------
    TopicError
        If a request fails, for example because a worker has taken the partition back meanwhile.
    """

    def failure(exception: KafkaException) -> TopicError:
        reason = exception.args[0].str()
        return TopicError(
            f"{topic}/{partition} of {group}: nothing was changed ({reason}); run it again"
        )

    with sole_producer(clients.producer(f"{group}.{partition}"), failure) as producer:
        yield StateEdit(clients, group, topic, partition, producer)
