"""One input partition = one state = one producer = one transaction.

`ExactlyOnceLoop` reads a topic as a member of a group. Each partition that it is given has a task
(state and what is made of the records) and a transactional producer of its own. Outputs, changelog
and the input's next offset go out in one transaction, so a task's state is never ahead of a
transaction that can still fail: after any abort the task is dropped, restored as after a takeover,
and reading goes back to the committed offset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import methodcaller
from typing import Protocol, cast

import structlog
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from ader_stream.errors import FencedError, NotYetError, TopicError
from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT, checked, offset_range
from ader_stream.stream.kafka.clients import READ_MESSAGES, KafkaClients
from ader_stream.stream.kafka.producing import Transaction, abort, back_off, retried, side_by_side
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.waiting import WaitingPartitions

log = structlog.get_logger(__name__)

PARTITION = methodcaller("partition")
POLL_SECONDS = 0.1
REJOIN_SECONDS = 1.0
MOST_ABORTS = 10
"""After so many aborts in a row a partition's worker ends: about half a minute of trying."""

BEHIND_FACTOR = 10
"""A worker that is behind commits so much less often: a commit writes what is open, and it costs
less to write a session when it has closed than each time that it has grown."""

LINGER_MS = 50
"""Records wait so long for others to go with: a commit sends what waits at once."""

MOST_RECORDS = 1_000_000
"""Room in a producer's queue. A transaction's records are in memory anyway, and to make room for
one after the other costs more than to hand them over."""

OFFSETS_TIMEOUT = 10.0
"""Seconds that adding offsets may take: the broker aborts a transaction after about as long."""

HANG_SECONDS = 5.0
"""What a request may take beyond its time-out before it is given up."""


class PartitionTask(Protocol):
    """The state of one input partition, and what is made of its records."""

    def restore(self, next_offset: int, metadata: str, *, is_committed: bool) -> int:
        """Bring the state to `next_offset`; return the offset to read from, at most that.

        `metadata` is what `write` returned for the last commit, empty before the first. Where the
        group knows of none, `is_committed` is false, `next_offset` is where the settings say that
        reading starts, and a task that knows better may return an offset beyond it.
        Records below `next_offset` come to `process` again: they rebuild state and must not be
        counted. Called once, before anything else, after earlier owners have been fenced.
        """

    def process(self, records: list[Record]) -> None:
        """Take records in offset order. May raise `AderError`: the process stops, uncommitted."""

    def tick(self, *, is_at_end: bool) -> None:
        """Called between batches, at least every 100 ms: the place for what needs no record.

        `is_at_end`: the last record of the log, so far, has been processed.
        """

    def is_dirty(self) -> bool:
        """Whether there is something to write although no record has come."""

    def write(self, transaction: Transaction, next_offset: int) -> str:
        """Produce what has come since the last call; return the offset's metadata."""

    def committed(self) -> None:
        """Called after the transaction of the last `write` is committed."""


@dataclass
class _Held:
    """A partition that this process owns."""

    task: PartitionTask
    producer: Producer
    next_offset: int
    committed_offset: int
    is_at_end: bool = False
    aborts: int = 0  # in a row

    def note_commit(self) -> None:
        """The transaction of all up to `next_offset` is committed."""
        self.committed_offset = self.next_offset
        self.aborts = 0
        self.task.committed()


@dataclass(frozen=True)
class LoopConfig:
    """What an `ExactlyOnceLoop` reads, and how.

    Parameters
    ----------
    topic
        Input topic.
    group
        Consumer group; with the partition's number it is the transactional id.
    start
        ``earliest`` or ``latest``, where no offset was ever committed.
    commit_interval
        ms between two transactions of a partition; longer while there is more to be read.
    """

    topic: str
    group: str
    start: str = "earliest"
    commit_interval: int = 200


class ExactlyOnceLoop:
    """Runs one task for each partition that the group gives to this process.

    `has_joined` turns true with the first assignment, be it an empty one.

    Parameters
    ----------
    clients
        Makes consumer and producers.
    config
        What is read.
    open_task
        Makes the task of a partition, fresh.
    on_lag
        Called with partition and records left to read, after each round of commits.
    check_readable
        Raises `NotYetError` where a record needs what does not answer; the records from there on
        come again.
    """

    def __init__(
        self,
        clients: KafkaClients,
        config: LoopConfig,
        open_task: Callable[[int], PartitionTask],
        on_lag: Callable[[int, int], None],
        check_readable: Callable[[list[Record]], None],
    ) -> None:
        self._clients = clients
        self._config = config
        self._open_task = open_task
        self._on_lag = on_lag
        self._check_readable = check_readable
        self._held: dict[int, _Held] = {}
        self._consumer: Consumer
        self._waiting: WaitingPartitions
        self._is_leaving = False
        self.has_joined = False

    @property
    def partitions(self) -> list[int]:
        """Partitions held now."""
        return sorted(self._held)

    @property
    def waiting(self) -> int:
        """How many of them wait for what their next record needs."""
        return len(self._waiting)

    def run(self, should_stop: Callable[[], bool], on_round: Callable[[], None]) -> None:
        """Read, process and commit until `should_stop`, then commit and leave the group.

        `on_round` is called after each round of reading. A producer that was fenced ends the
        membership, not the process: the group alone says who owns a partition, so a worker that
        was away for too long must ask again instead of taking its old partitions back. So does a
        request that failed while partitions were taken: brokers come back.
        """
        while not should_stop():
            self._consumer = self._clients.group_consumer(self._config.group)
            self._waiting = WaitingPartitions(self._consumer, self._config.topic)
            self._is_leaving = False
            try:
                self._run_as_member(should_stop, on_round)
            except (FencedError, KafkaException) as error:
                log.warning("leaving the group and joining anew", reason=str(error))
                time.sleep(REJOIN_SECONDS)
            finally:
                self._held.clear()  # nothing left to commit: leaving must not try again
                self._is_leaving = True
                self._consumer.close()

    def _run_as_member(self, should_stop: Callable[[], bool], on_round: Callable[[], None]) -> None:
        self._consumer.subscribe(
            [self._config.topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        interval = self._config.commit_interval / 1000
        next_commit = time.monotonic()
        while not should_stop():
            for partition in self._waiting.due():
                self._waiting.resume(partition, self._held[partition].next_offset)
            messages = self._consumer.consume(READ_MESSAGES, POLL_SECONDS)
            records = checked(messages)
            self._process(records)
            if len(records) < len(messages):
                self._note_ends(messages)
            for held in self._held.values():
                held.task.tick(is_at_end=held.is_at_end)
            on_round()
            if time.monotonic() >= next_commit:
                is_behind = self._commit_all() > READ_MESSAGES
                next_commit = time.monotonic() + interval * (BEHIND_FACTOR if is_behind else 1)
        self._commit_all()

    def _process(self, records: Iterable[Record]) -> None:
        for partition, group in groupby(records, PARTITION):
            held = self._held.get(partition)
            if held is None or partition in self._waiting:  # fetched just before
                continue
            if batch := self._readable(partition, list(group)):
                held.task.process(batch)
                held.next_offset = max(held.next_offset, batch[-1].offset() + 1)
                held.is_at_end = False
                self._waiting.passed(partition)

    def _readable(self, partition: int, batch: list[Record]) -> list[Record]:
        """Return the records before the first one that cannot be read yet, and wait for it."""
        try:
            self._check_readable(batch)
        except NotYetError as error:
            self._waiting.wait(partition, error)
            self._held[partition].is_at_end = False
            return [record for record in batch if record.offset() < error.offset]
        return batch

    def _note_ends(self, messages: list[Message]) -> None:
        """Note which partitions have come to their ends: a log may end with a marker, no record."""
        for message in messages:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                partition = cast("int", message.partition())
                held = self._held.get(partition)
                if held is None or partition in self._waiting:
                    continue
                if (message.offset() or 0) >= held.next_offset:
                    held.is_at_end = True

    def _commit_all(self) -> int:
        """Commit what the partitions have done; restore those whose transaction failed.

        Returns
        -------
        int
            Records that are left to be read.
        """
        failed = self._transact(self.partitions)
        for partition, exception in failed.items():
            self._abort(partition, exception)
        if failed:
            time.sleep(max(back_off(self._held[partition].aborts) for partition in failed))
        for partition in failed:
            self._begin_again(partition)
        left = 0
        for partition, held in self._held.items():
            where = TopicPartition(self._config.topic, partition)
            _, end = self._consumer.get_watermark_offsets(where, cached=True)
            lag = max(0, end - held.next_offset)
            self._on_lag(partition, lag)
            left += lag
        return left

    def _abort(self, partition: int, exception: KafkaException) -> None:
        """Abort a transaction that has failed.

        Raises
        ------
        FencedError
            If the producer is lost.
        TopicError
            If too many in a row have failed: no waiting seems to mend that.
        """
        error, held = exception.args[0], self._held[partition]
        if error.fatal():
            raise FencedError(f"producer of partition {partition}: {error.str()}") from None
        held.aborts += 1
        log.warning(
            "transaction aborted", partition=partition, aborts=held.aborts, error=error.str()
        )
        if held.aborts > MOST_ABORTS:
            raise TopicError(
                f"{self._config.topic}/{partition}: {held.aborts} transactions in a row were "
                f"aborted, the last one because of {error.name()}: {error.str()}; nothing of them "
                "is committed. Look at the brokers' logs, and start this worker again"
            ) from None
        abort(held.producer)

    def _begin_again(self, partition: int) -> None:
        """Drop a partition's memory, restore it, and read from its committed offset again."""
        before = self._held.pop(partition)
        producer, aborts = before.producer, before.aborts
        del before  # as much is about to be restored
        held = self._hold(partition, producer)
        held.aborts = aborts
        self._consumer.seek(TopicPartition(self._config.topic, partition, held.next_offset))

    def _transact(self, partitions: Iterable[int]) -> dict[int, KafkaException]:
        """Commit what partitions have done, side by side; return why those failed that did."""
        failed: dict[int, KafkaException] = {}
        offsets: dict[int, TopicPartition] = {}
        for partition in partitions:
            try:
                if offset := self._begin(partition, self._held[partition]):
                    offsets[partition] = offset
            except KafkaException as exception:
                failed[partition] = exception
        group = self._consumer.consumer_group_metadata() if offsets else None

        def send_offset(partition: int) -> None:
            producer = self._held[partition].producer
            producer.send_offsets_to_transaction([offsets[partition]], group, OFFSETS_TIMEOUT)

        def commit(partition: int) -> None:
            self._held[partition].producer.commit_transaction(REQUEST_TIMEOUT)

        failed |= side_by_side(send_offset, offsets.keys(), OFFSETS_TIMEOUT + HANG_SECONDS)
        failed |= side_by_side(commit, offsets.keys() - failed.keys())
        for partition in offsets.keys() - failed.keys():
            self._held[partition].note_commit()
        return failed

    def _begin(self, partition: int, held: _Held) -> TopicPartition | None:
        """Open a transaction and fill it; return the offset to commit, None for nothing to do."""
        ahead = held.next_offset - held.committed_offset
        if ahead < 0 or (ahead == 0 and not held.task.is_dirty()):
            return None  # below the committed offset, a restored task only reads its state again
        transaction = Transaction()
        metadata = held.task.write(transaction, held.next_offset)
        held.producer.begin_transaction()
        transaction.send(held.producer)
        return TopicPartition(self._config.topic, partition, held.next_offset, metadata=metadata)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.has_joined = True
        if self._is_leaving:
            # The rebalance was under way when `close` began. What it brings goes back at once:
            # a consumer that closes answers no request, and taking a partition would wait for one.
            consumer.incremental_assign(partitions)
            return
        taken = []
        for given in partitions:
            held = self._hold(given.partition, self._fenced_producer(given.partition))
            taken.append(TopicPartition(given.topic, given.partition, held.next_offset))
        consumer.incremental_assign(taken)
        log.info("partitions taken", topic=self._config.topic, partitions=self.partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        leaving = [given.partition for given in partitions if given.partition in self._held]
        for partition, exception in self._transact(leaving).items():
            # What fails here, the next owner does again.
            log.warning("last commit failed", partition=partition, error=exception.args[0].str())
            abort(self._held[partition].producer)
        self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for given in partitions:
            self._held.pop(given.partition, None)
            self._waiting.forget(given.partition)
        consumer.incremental_unassign(partitions)
        log.info("partitions given up", topic=self._config.topic, left=self.partitions)

    def _fenced_producer(self, partition: int) -> Producer:
        """Producer of a partition; earlier owners are fenced and their transactions aborted."""
        transactional_id = f"{self._config.group}.{partition}"
        producer = self._clients.producer(
            transactional_id, linger_ms=LINGER_MS, queue_buffering_max_messages=MOST_RECORDS
        )
        retried(lambda: producer.init_transactions(REQUEST_TIMEOUT))
        return producer

    def _hold(self, partition: int, producer: Producer) -> _Held:
        """Restore a partition's task at its committed offset."""
        where = TopicPartition(self._config.topic, partition)
        [committed] = self._consumer.committed([where], timeout=REQUEST_TIMEOUT)
        if committed.error:  # its offset would look as if none was ever committed
            raise KafkaException(committed.error)
        next_offset, metadata = committed.offset, committed.metadata or ""
        if next_offset < 0:
            next_offset, metadata = self._first_offset(partition), ""
        task = self._open_task(partition)
        read_from = task.restore(next_offset, metadata, is_committed=committed.offset >= 0)
        held = _Held(task, producer, read_from, next_offset)
        self._held[partition] = held
        return held

    def _first_offset(self, partition: int) -> int:
        first, end = offset_range(self._clients, self._config.topic, partition)
        return first if self._config.start == "earliest" else end
