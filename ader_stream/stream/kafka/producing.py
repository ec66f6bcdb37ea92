"""Handing records and transactional requests to a producer, and what to do when that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, wait
from typing import Any, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ader_stream.errors import FencedError, TopicError
from ader_stream.stream.avro.codec import Headers
from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT
from ader_stream.stream.kafka.records import Record

log = structlog.get_logger(__name__)

Key = bytes | str | None

Keyed = tuple[Key, bytes | None, Headers | None]
"""Key, value and headers of a record."""

HANG_SECONDS = 5.0
"""What a request may take beyond its time-out before it is given up."""

PAUSE_SECONDS = 0.1
"""Between two tries of a request: some errors come back at once."""

SETTLE_SECONDS = 5.0
"""How long requests of producers that are given up are waited for, of all together."""

FLUSHES = 3
"""A producer raises its fatal error once; what raises more often is not waited for."""

QUEUE_SECONDS = 0.1
"""How long a full queue is waited for at a time."""


class Transaction:
    """The records of one transaction.

    They are collected before it is opened: making them may take longer than it may stay open.
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
        If the record is larger than the producer takes: no abort and no retry would mend that.
    KafkaException
        If the producer has come to an error before, or does while it is waited for.
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


def retried(request: Callable[[], None], seconds: float = REQUEST_TIMEOUT) -> None:
    """Repeat a transactional request while its error says that this is safe and may help.

    Not for ever: when a broker restarts under it, a producer can lose sight of its coordinator for
    good. What still fails after `seconds` is raised, retriable: the producer is lost then.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            request()
        except KafkaException as exception:
            error = exception.args[0]
            if not error.retriable() or time.monotonic() >= until:
                raise
            log.warning("kafka request repeated", code=error.name(), error=error.str())
            time.sleep(PAUSE_SECONDS)
        else:
            return


def is_lost(error: KafkaError) -> bool:
    """Whether a producer whose request came to this error is of no more use.

    An error that is retriable has been retried as long as that could help.
    """
    return is_fatal(error) or bool(error.retriable())


def is_fatal(error: KafkaError) -> bool:
    """Whether a client that came to this error can do nothing more.

    The first request says so; `produce` then raises `_FATAL`, which is not marked as fatal.
    """
    return bool(error.fatal()) or error.code() == KafkaError._FATAL  # noqa: SLF001


def side_by_side(
    request: Callable[[int], None], partitions: Collection[int], seconds: float
) -> dict[int, KafkaException]:
    """Do a transactional request for each partition at the same time; return what failed, and why.

    It is repeated as by `retried`. Each is done in a thread of its own, and given up where it
    outlasts `seconds`, which is its own time-out, too: when a broker restarts under it,
    librdkafka's `send_offsets_to_transaction` can wait for good (its issue 5456). Its thread is
    left behind and keeps the producer alive; the next owner's `init_transactions` aborts what it
    has begun.

    Raises
    ------
    FencedError
        If one has not returned in time: its producer is lost.
    """
    failed: dict[int, KafkaException] = {}
    pending: Collection[int] = partitions
    until = time.monotonic() + seconds
    while pending:
        tried = _attempt(request, pending, seconds + HANG_SECONDS)
        is_over = time.monotonic() >= until
        pending = [p for p, e in tried.items() if e.args[0].retriable() and not is_over]
        failed |= {p: exception for p, exception in tried.items() if p not in pending}
        for partition in pending:
            error = tried[partition].args[0].str()
            log.warning("kafka request repeated", partition=partition, error=error)
        if pending:
            time.sleep(PAUSE_SECONDS)
    return failed


def _attempt(
    request: Callable[[int], None], partitions: Collection[int], seconds: float
) -> dict[int, KafkaException]:
    outcomes = {partition: Future[None]() for partition in partitions}

    def run(partition: int) -> None:
        try:
            request(partition)
        except BaseException as error:
            outcomes[partition].set_exception(error)
        else:
            outcomes[partition].set_result(None)

    for partition in partitions:
        threading.Thread(target=run, args=(partition,), name="transaction", daemon=True).start()
    wait(outcomes.values(), seconds)
    failed = {}
    for partition, outcome in outcomes.items():
        try:
            outcome.result(0)
        except TimeoutError:
            raise FencedError(
                f"a transactional request of partition {partition} has not returned in "
                f"{seconds:g} s"
            ) from None
        except KafkaException as exception:
            failed[partition] = exception
    return failed


def back_off(aborts: int) -> float:
    """Seconds to wait after so many aborts in a row.

    >>> [back_off(aborts) for aborts in (1, 2, 5, 6, 10)]
    [0.1, 0.2, 1.6, 3.2, 5.0]
    """
    return float(min(0.1 * 2 ** (aborts - 1), 5.0))


def recover(producer: Producer, error: KafkaError) -> bool:
    """Abort the transaction that came to this error; return whether the producer can go on.

    The one way to leave a transaction that has failed. A producer that is lost, or cannot abort,
    comes to rest: the next owner's `init_transactions` aborts what it has begun. Raises no client
    error, whatever the producer says on its way out.
    """
    if not is_lost(error) and _abort(producer):
        return True
    settle([producer])
    return False


def settle(producers: Collection[Producer]) -> None:
    """Let producers that are given up come to rest, so that nothing is on its way when they go.

    A process was seen to end with its heap corrupted as librdkafka gave up a fenced producer while
    answers to its requests came in. Raises no client error: who is given up may say so again.
    """
    until = time.monotonic() + SETTLE_SECONDS
    for producer in producers:
        _without_error(lambda p=producer: p.purge(in_flight=False))  # type: ignore[misc]
    for producer in producers:
        _flush(producer, until)


def _flush(producer: Producer, until: float) -> None:
    """Wait for what is on its way; a flush that raises has not waited, and is repeated."""
    for _ in range(FLUSHES):
        left = until - time.monotonic()
        if len(producer) and left > 0:
            _without_error(lambda s=left: producer.flush(s))  # type: ignore[misc]


def _abort(producer: Producer) -> bool:
    try:
        retried(lambda: producer.abort_transaction(REQUEST_TIMEOUT))
    except KafkaException as exception:
        log.warning("abort failed", error=exception.args[0].str())
        return False
    return True


def _without_error(request: Callable[[], object]) -> None:
    try:
        request()
    except KafkaException as exception:
        log.info("a producer that is given up says", error=exception.args[0].str())
