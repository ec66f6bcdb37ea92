"""One transaction for each partition: outputs, changelog and next offset, or none of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicPartition

from ader_stream.errors import FencedError, TopicError
from ader_stream.stream.exactly_once.partition_task import AssignedPartition, TaskT
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.transactions.requests import side_by_side

log = structlog.get_logger(__name__)

MOST_ABORTS = 10
"""Aborts in a row after which the worker ends: about half a minute."""

OFFSETS_TIMEOUT = 10.0
"""Seconds that adding offsets may take: about the time after which the broker aborts."""


def commit_side_by_side(
    topic: str,
    assigned: Mapping[int, AssignedPartition[TaskT]],
    partitions: Iterable[int],
    group: Callable[[], Any],
    ask_identity: Callable[[], Callable[[], None]],
) -> dict[int, KafkaException]:
    """Commit the work of partitions, of those `assigned`; return the errors of those that failed.

    The errors keep no partition's state alive: it is looked up in `assigned` each time.

    Parameters
    ----------
    topic
        The input topic.
    group
        Returns the metadata of the consumer group of the offsets.
    ask_identity
        Asks whether the topic is the one that was read; returns a function that waits for the
        answer.

    Raises
    ------
    FencedError
        If a request never returns.
    TopicError
        If the topic was deleted and created again: nothing of it is committed.
    """
    to_commit = [partition for partition in partitions if assigned[partition].has_work()]
    if not to_commit:
        return {}
    require_same = ask_identity()
    offsets, failed = _begin_all(topic, assigned, to_commit)
    try:
        require_same()
    except KafkaException as exception:  # which topic was read is unknown
        return failed | dict.fromkeys(offsets, exception)
    metadata_of_group = group()
    seconds = max([REQUEST_TIMEOUT, *(assigned[p].transaction_ms / 1000 for p in offsets)])

    def send_offset(partition: int) -> None:
        assigned[partition].producer.send_offsets(
            [offsets[partition]], metadata_of_group, OFFSETS_TIMEOUT
        )

    def commit(partition: int) -> None:
        assigned[partition].producer.commit(seconds)

    failed |= side_by_side(send_offset, offsets.keys(), OFFSETS_TIMEOUT)
    failed |= side_by_side(commit, offsets.keys() - failed.keys(), seconds)
    for partition in offsets.keys() - failed.keys():
        assigned[partition].note_commit()
    return failed


def _begin_all(
    topic: str, assigned: Mapping[int, AssignedPartition[TaskT]], partitions: Iterable[int]
) -> tuple[dict[int, TopicPartition], dict[int, KafkaException]]:
    """Begin and fill a transaction for each partition; return the offsets, and the errors."""
    offsets: dict[int, TopicPartition] = {}
    failed: dict[int, KafkaException] = {}
    for partition in partitions:
        next_offset = assigned[partition].next_offset
        try:
            metadata = _begin(assigned[partition])
        except KafkaException as exception:
            failed[partition] = exception
        else:
            offsets[partition] = TopicPartition(topic, partition, next_offset, metadata=metadata)
    return offsets, failed


def _begin(assigned: AssignedPartition[TaskT]) -> str:
    """Begin a transaction and fill it; return the offset's metadata."""
    transaction = Transaction()
    metadata = assigned.task.write(transaction, assigned.next_offset)
    assigned.opened_at = time.monotonic()
    assigned.producer.begin()
    transaction.send(assigned.producer.client)
    return metadata


def abort_failed(
    topic: str, partition: int, assigned: AssignedPartition[TaskT], exception: KafkaException
) -> None:
    """Abort a transaction that has failed.

    Raises
    ------
    FencedError
        If the producer is lost.
    TopicError
        If too many in a row have failed.
    """
    error = exception.args[0]
    assigned.aborts += 1
    log.warning(
        "transaction failed", partition=partition, aborts=assigned.aborts, error=error.str()
    )
    if not assigned.producer.abort(error):
        raise FencedError(f"the producer of partition {partition} is lost: {error.str()}")
    if assigned.aborts > MOST_ABORTS:
        raise TopicError(
            f"{topic}/{partition}: {assigned.aborts} transactions in a row were "
            f"aborted, the last one because of {error.name()}: {error.str()}; nothing of them "
            "is committed. Look at the brokers' logs, and at their quotas; then start "
            "this worker again"
        )
