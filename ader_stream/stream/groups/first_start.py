"""The moment at which a group first reads a topic, where it begins at the ends of the logs.

It is the same for all partitions: one transaction commits the end of each, whoever of the workers
is the first. A partition that has no offset after that was added later, and is read from its first
record.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException, TopicPartition

from ader_stream.stream.groups.groups import committed_by, extents
from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT
from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.producing import recover, retried
from ader_stream.stream.topics.topics import partition_counts

log = structlog.get_logger(__name__)

MOST_TRIES = 5
"""Workers that start side by side fence one another: each time, one of them gets through."""


def start_at_ends(
    clients: KafkaClients, group: str, topic: str, has_started: Callable[[], bool]
) -> None:
    """Commit the end of every partition's log for a group, if it has never read the topic.

    Parameters
    ----------
    has_started
        Says whether the group has left something, where none of its offsets is known any more.

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
    producer = clients.producer(f"{group}.start")
    retried(lambda: producer.init_transactions(REQUEST_TIMEOUT))
    admin = clients.admin()
    partitions = range(partition_counts(admin)[topic])
    if committed_by(clients, group, topic, partitions) or has_started():
        return
    ends = {partition: log.end for partition, log in extents(admin, topic, partitions).items()}
    offsets = [TopicPartition(topic, partition, end) for partition, end in ends.items()]
    outsider = clients.group_consumer(group)
    try:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            offsets, outsider.consumer_group_metadata(), REQUEST_TIMEOUT
        )
        retried(lambda: producer.commit_transaction(REQUEST_TIMEOUT))
    except KafkaException as exception:
        recover(producer, exception.args[0])
        raise
    finally:
        close(outsider)
    log.info("first start: reading begins at the ends", topic=topic, group=group, offsets=ends)
