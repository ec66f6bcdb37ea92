"""Start a group at the ends of the logs.

The start is the same moment for all partitions: one transaction of the first worker commits the end
of each. A partition that has no offset after that was added later, and is read from its first
record.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException, TopicPartition

from ader_stream.stream.groups.groups import committed_by, extents
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.topics.topics import partition_counts
from ader_stream.stream.transactions.producer import send_offsets_as_outsider, sole_producer

log = structlog.get_logger(__name__)

MOST_TRIES = 5
"""Workers that start together fence one another: each time, one of them succeeds."""


def start_at_ends(
    clients: KafkaClients, group: str, topic: str, has_started: Callable[[], bool]
) -> None:
    """Commit the end of every partition's log for a group, if it has never read the topic.

    Parameters
    ----------
    has_started
        Returns whether the group has read the topic, if none of its offsets is known any more.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    for attempt in range(MOST_TRIES):
        try:
            _start_at_ends(clients, group, topic, has_started)
        except KafkaException:
            if attempt == MOST_TRIES - 1:
                raise
            time.sleep(random.uniform(0, 0.2 * 2**attempt))  # noqa: S311 - no secret
        else:
            return


def _start_at_ends(
    clients: KafkaClients, group: str, topic: str, has_started: Callable[[], bool]
) -> None:
    admin = clients.admin()
    with sole_producer(clients.producer(f"{group}.start")) as producer:
        partitions = range(partition_counts(admin)[topic])
        if committed_by(clients, group, topic, partitions) or has_started():
            return
        ends = {partition: log.end for partition, log in extents(admin, topic, partitions).items()}
        offsets = [TopicPartition(topic, partition, end) for partition, end in ends.items()]
        producer.transact(lambda _: send_offsets_as_outsider(producer, clients, group, offsets))
    log.info("first start: reading starts at the ends", topic=topic, group=group, offsets=ends)
