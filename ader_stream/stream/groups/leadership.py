"""Elect a leader: the process to which a group with one partition assigns it."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from ader_stream.errors import FencedError
from ader_stream.stream.groups.membership import subscribe
from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.reading import valid_records


class Leadership:
    """Membership in a group on a topic of one partition; its owner leads.

    Call `poll` at least once in `max.poll.interval.ms` (5 minutes), also while working.
    """

    def __init__(self, clients: KafkaClients, topic: str, group: str) -> None:
        self.holds = False
        self.has_joined = False
        self._group = group
        self._consumer = clients.group_consumer(group)
        subscribe(self._consumer, topic, on_assign=self._on_assign, on_revoke=self._on_revoke)

    def poll(self, timeout: float = 0.0) -> None:
        """Stay a member, and handle a rebalance."""
        for _ in valid_records(self._consumer.consume(1, timeout), self._group):
            pass  # nothing is read: the partition is assigned for leadership only

    def require(self) -> None:
        """Stay a member.

        Raises
        ------
        FencedError
            If another process leads now.
        """
        self.poll()
        if not self.holds:
            raise FencedError("another process leads now; this one waits")

    def close(self) -> None:
        """Leave the group: a standby takes over at once."""
        close(self._consumer)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.has_joined = True
        consumer.incremental_assign([])
        self.holds = self.holds or bool(partitions)

    def _on_revoke(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        consumer.incremental_unassign([])
        self.holds = False
