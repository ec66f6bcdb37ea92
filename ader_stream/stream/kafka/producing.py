"""Hand records to producers, and give producers up."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ader_stream.errors import TopicError
from ader_stream.stream.avro.codec import Headers
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.kafka.records import Record

log = structlog.get_logger(__name__)

Key = bytes | str | None

Keyed = tuple[Key, bytes | None, Headers | None]
"""Key, value and headers of a record."""

SETTLE_SECONDS = 5.0
"""How long requests of producers that are given up are waited for, all together."""

FLUSHES = 3
"""A producer raises its fatal error once; one that raises more often is not waited for."""

QUEUE_SECONDS = 0.1
"""How long a full queue is waited for at a time."""


class Transaction:
    """Collect the records of one transaction before it is begun.

    To make them may take longer than a transaction may stay open.
    """

    def __init__(self) -> None:
        self._records: list[tuple[str, int, Iterable[Keyed]]] = []

    def produce(
        self,
        topic: str,
        key: Key,
        value: bytes | None,
        headers: Headers | None = None,
        partition: int = 0,
    ) -> None:
        """Add a record."""
        self._records.append((topic, partition, [(key, value, headers)]))

    def extend(self, topic: str, records: Iterable[Keyed], partition: int) -> None:
        """Add records."""
        self._records.append((topic, partition, list(records)))

    def send(self, producer: Producer) -> None:
        """Hand every record to a producer whose transaction is open."""
        # By position: to find arguments by their names takes as long as all the rest of `produce`.
        send = cast("Any", producer).produce
        for topic, partition, records in self._records:
            for key, value, headers in records:
                try:
                    send(topic, value, key, partition, None, None, 0, headers)
                except (BufferError, KafkaException):  # waits for room, or says what is wrong
                    produce(producer, topic, key, value, headers, partition)


def produce(
    producer: Producer,
    topic: str,
    key: Key,
    value: bytes | None,
    headers: Headers | None = None,
    partition: int = 0,
    on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    timestamp: int = 0,
) -> None:
    """Hand a record to a producer; where its queue is full, wait until there is room.

    `timestamp` is the record's own, ms since 1970; 0 for now.

    Raises
    ------
    TopicError
        If the record is larger than the producer takes: no retry would help.
    KafkaException
        If the producer has failed before, or fails while its queue is full.
    """
    while True:
        try:
            producer.produce(
                topic,
                value,
                key,
                partition=partition,
                headers=cast("Any", headers),
                on_delivery=on_delivery,
                timestamp=timestamp,
            )
        except BufferError:
            producer.poll(QUEUE_SECONDS)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            raise TopicError(
                f"{topic}/{partition}: a record of {len(value or b'')} bytes, key {key!r:.50}, is "
                "larger than message.max.bytes; raise it in kafka.librdkafka, and "
                "max.message.bytes of the topic with it"
            ) from None
        else:
            return


def send_and_wait(
    producer: Producer, topic: str, records: Iterable[tuple[int, Keyed]], what: str
) -> list[int]:
    """Write records outside a transaction; return their offsets once all are acknowledged.

    Parameters
    ----------
    records
        Each with its partition.
    what
        Names them in an error.

    Raises
    ------
    TopicError
        If one was not taken.
    """
    offsets, failures, sent = list[int](), list[str](), 0

    def delivered(error: KafkaError | None, record: Message) -> None:
        if error is None:
            offsets.append(cast("Record", record).offset())
        else:
            failures.append(error.str())

    try:
        for partition, (key, value, headers) in records:
            produce(producer, topic, key, value, headers, partition, delivered)
            sent += 1
        producer.flush(REQUEST_TIMEOUT)
    except KafkaException as exception:
        failures.append(exception.args[0].str())
    if failures or len(offsets) < sent:
        reason = failures[0] if failures else "no answer from the broker"
        raise TopicError(f"{topic}: {what} was not taken: {reason}; ask again")
    return offsets


def is_fatal(error: KafkaError) -> bool:
    """Whether a client that has raised this error is of no more use.

    The first request raises it; `produce` then raises `_FATAL`, which is not marked as fatal.
    """
    return bool(error.fatal()) or error.code() == KafkaError._FATAL  # noqa: SLF001


def settle(producers: Collection[Producer]) -> None:
    """Give producers up: purge their queues and wait for what is in flight.

    A process was seen to crash with a corrupted heap when librdkafka destroyed a fenced producer
    while answers to its requests arrived. Raises no client error: a lost producer may raise its
    fatal error again.
    """
    until = time.monotonic() + SETTLE_SECONDS
    for producer in producers:
        _without_error(lambda p=producer: p.purge(in_flight=False))  # type: ignore[misc]
    for producer in producers:
        _flush(producer, until)


def _flush(producer: Producer, until: float) -> None:
    """Wait for what is in flight; a flush that raises has not waited, and is repeated."""
    for _ in range(FLUSHES):
        left = until - time.monotonic()
        if len(producer) and left > 0:
            _without_error(lambda s=left: producer.flush(s))  # type: ignore[misc]


def _without_error(request: Callable[[], object]) -> None:
    try:
        request()
    except KafkaException as exception:
        log.info("error of a producer that is given up", error=exception.args[0].str())
