"""Process a topic exactly once: one partition = one state = one producer = one transaction.

`ExactlyOnceLoop` reads a topic as a member of a group. Each partition that the group assigns has a
task (state, and what is computed from the records) and a transactional producer of its own.
Outputs, changelog and the input's next offset are written in one transaction, so a task's state is
never ahead of a transaction that can still fail: after any abort the task is dropped and restored
as after a takeover, and reading returns to the committed offset. Partitions are taken over and
restored in another thread (`Takeovers`): those that run already do not wait for them.

The consumer is assigned a partition only while it runs, from a known offset on. To assign it at
the log's end when the group assigns it, and to seek later, loses records: librdkafka (2.16) asks
for the end, and the answer that arrives after the seek reverts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import methodcaller
from typing import Generic, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ader_stream import metrics as m
from ader_stream.errors import AuthorizationError, FencedError, NameInUseError, NotYetError
from ader_stream.metrics import Metrics
from ader_stream.stream.exactly_once.commit import abort_failed, commit_side_by_side
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.exactly_once.commit_pace import CommitPace
from ader_stream.stream.exactly_once.partition_task import AssignedPartition, TaskT
from ader_stream.stream.exactly_once.permission import Permission, error_name, is_refused
from ader_stream.stream.exactly_once.takeover import KeptProducer, OpenTasks, Taking
from ader_stream.stream.exactly_once.takeover_thread import Takeovers
from ader_stream.stream.exactly_once.transaction_time import TransactionTime
from ader_stream.stream.exactly_once.waiting import WaitingPartitions
from ader_stream.stream.groups.groups import extents
from ader_stream.stream.groups.membership import NameClaim, subscribe
from ader_stream.stream.kafka.clients import READ_MESSAGES, KafkaClients, close
from ader_stream.stream.kafka.reading import valid_records
from ader_stream.stream.kafka.records import Record, written_at_of
from ader_stream.stream.kafka.rights import is_refusal
from ader_stream.stream.telemetry.lag import LagMetrics, Unread
from ader_stream.stream.topics.identity import TopicIdentity
from ader_stream.stream.topics.topics import partition_counts
from ader_stream.stream.transactions.producer import give_up_all
from ader_stream.stream.transactions.requests import back_off

log = structlog.get_logger(__name__)

PARTITION = methodcaller("partition")

OUT_OF_RANGE = (KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION)  # noqa: SLF001
"""Errors of a partition whose log begins behind the next offset, or ends before it."""

POLL_SECONDS = 0.1
REJOIN_SECONDS = 1.0


@dataclass(frozen=True)
class LoopConfig:
    """Name what an `ExactlyOnceLoop` reads, and how.

    Parameters
    ----------
    topic
        Input topic.
    group
        Consumer group; with the partition's number it is the transactional id.
    start
        ``earliest`` or ``latest``, where the group has never read the topic. A partition that is
        added later is read from its first record.
    commit_interval
        ms between two transactions of a partition; longer while there is a backlog.
    state_topic
        Topic of ours that has records if the group has ever read the input.
    """

    topic: str
    group: str
    start: str = "earliest"
    commit_interval: int = 200
    state_topic: str = ""


class ExactlyOnceLoop(Generic[TaskT]):
    """Run one task for each partition that the group assigns to this process; own the tasks.

    `has_joined` becomes true with the first assignment, even an empty one.

    Parameters
    ----------
    clients
        Creates consumer and producers.
    config
        What is read.
    open_tasks
        Creates the tasks of partitions.
    metrics
        Show lag, waiting and restoring partitions; gauges of revoked partitions are dropped.
    check_readable
        Raises `NotYetError` at a record that depends on a service which does not answer; the
        records from there on are read again.
    permission
        The rights of the worker, and the health of its commits; None: none are checked.
    """

    def __init__(
        self,
        clients: KafkaClients,
        config: LoopConfig,
        open_tasks: OpenTasks[TaskT],
        metrics: Metrics,
        check_readable: Callable[[list[Record]], None],
        permission: Permission | None = None,
    ) -> None:
        self._clients = clients
        self._config = config
        self._time = TransactionTime(clients.transaction_timeout)
        self._taking = Taking(
            clients,
            config.topic,
            config.group,
            config.start,
            open_tasks,
            self._time,
            self._has_started,
        )
        self._metrics = metrics
        self._lag = LagMetrics(clients, config.topic, metrics)
        self._check_readable = check_readable
        self._running: dict[int, AssignedPartition[TaskT]] = {}
        self._consumer: Consumer
        self._waiting: WaitingPartitions
        self._identity: TopicIdentity
        self._takeovers = Takeovers(self._taking)
        self._is_leaving = False
        self._name = NameClaim()
        self._permission = permission or Permission(clients, config.group, (), CommitHealth())
        self._commits = self._permission.commits
        self._has_begun = False
        self.has_joined = False

    @property
    def partitions(self) -> list[int]:
        """Return the partitions that run: those whose state is restored."""
        return sorted(self._running)

    @property
    def tasks(self) -> dict[int, TaskT]:
        """Return partition → its task, of those that run. May be called from another thread."""
        return {partition: assigned.task for partition, assigned in self._running.copy().items()}

    @property
    def restoring(self) -> int:
        """Return the number of assigned partitions that do not run yet."""
        return len(self._takeovers)

    def not_ready(self) -> str:
        """Return why nothing was committed, or what the worker still waits for; else empty."""
        if self._commits.obstacle or self._has_begun:
            return self._commits.not_ready()
        return "restoring partitions" if self.has_joined else "waiting for the group"

    def run(self, should_stop: Callable[[], bool], on_round: Callable[[], None]) -> None:
        """Read, process and commit until `should_stop`, then commit and leave the group.

        `on_round` is called after each round of reading. These end the membership, not the process,
        and the worker joins the group again:

        - A fenced producer. Only the group assigns partitions, so a worker that was away for too
          long must not take its old partitions back.
        - A request that failed while partitions were taken over: brokers recover.
        - Another member with this worker's name, for as long as `NameClaim` allows.
        - A right that is withdrawn: the worker waits for it outside of the group.

        Raises
        ------
        AuthorizationError
            If a right is missing that the worker has not had before.
        NameInUseError
            If another worker has this one's ``group.instance.id``.
        OffsetError
            If records were deleted before they were read.
        TopicError
            If the topic was deleted and made again meanwhile.
        """
        self._identity = TopicIdentity(self._clients.admin(), self._config.topic)
        while not should_stop():
            self._consumer = self._clients.group_consumer(self._config.group)
            self._waiting = WaitingPartitions(self._consumer, self._config.topic)
            self._takeovers = Takeovers(self._taking)
            self._is_leaving = False
            failure: Exception | None = None
            self._commits.note_due()  # until it has joined, nothing can be committed
            try:
                self._run_as_member(should_stop, on_round)
            except (NameInUseError, FencedError, AuthorizationError, KafkaException) as error:
                failure = error
            finally:
                self._leave()
            if failure:
                self._stand_by(failure, should_stop)

    def _stand_by(self, failure: Exception, should_stop: Callable[[], bool]) -> None:
        """Wait until the group may be joined again; raise errors that do not pass."""
        if isinstance(failure, NameInUseError):
            self._name.note_refusal(failure)
        elif is_refused(failure):
            self._permission.wait_after(failure, should_stop)
            return
        else:
            log.warning("has left the group and joins again", reason=str(failure))
            self._commits.note_failure(error_name(failure), str(failure))
        time.sleep(REJOIN_SECONDS)

    def _run_as_member(self, should_stop: Callable[[], bool], on_round: Callable[[], None]) -> None:
        subscribe(
            self._consumer,
            self._config.topic,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        pace = CommitPace(self._config.commit_interval, READ_MESSAGES)
        while not should_stop():
            self._hold_taken()
            for partition in self._waiting.due():
                self._waiting.resume(partition, self._running[partition].next_offset)
            messages = self._consumer.consume(READ_MESSAGES, _poll_seconds(pace))
            records = valid_records(messages, self._config.group, tolerated=OUT_OF_RANGE)
            self._process(records)
            if len(records) < len(messages):
                self._note_ends(messages)
                self._return_into_range(messages)
            self._tick_all()
            self._metrics[m.WAITING].set(len(self._waiting))
            self._metrics[m.RESTORING].set(len(self._takeovers))
            on_round()
            if pace.seconds_to_next() <= 0 and pace.is_due(self._left()):
                self._commit_all()
                pace.note_commit()
        self._commit_all()

    def _leave(self) -> None:
        """End the membership; errors of the clients are logged."""
        self._takeovers.close()
        give_up_all(assigned.producer for assigned in self._running.values())
        for partition in self._running:  # a client that has failed may call nothing when it closes
            self._metrics.drop_gauges(partition=partition)
        self._running.clear()  # nothing left to commit: leaving must not try again
        self._is_leaving = True
        close(self._consumer)  # gives its partitions up in the callbacks
        self.has_joined = self._has_begun = False

    def _hold_taken(self) -> None:
        """Begin to read partitions that have been taken over."""
        taken = []
        for partition, assigned in self._takeovers.done():
            self._running[partition] = assigned
            assigned.task.begin()
            where = TopicPartition(self._config.topic, partition, assigned.next_offset)
            self._consumer.incremental_assign([where])
            taken.append(partition)
        if self.has_joined and not self._takeovers and not self._has_begun:
            self._has_begun = True
            self._permission.note_granted()
        if taken and not self._takeovers:
            log.info("partitions taken", topic=self._config.topic, partitions=self.partitions)

    def _process(self, records: Iterable[Record]) -> None:
        for partition, group in groupby(records, PARTITION):
            assigned = self._running.get(partition)
            if assigned is None or partition in self._waiting:  # fetched just before
                continue
            if batch := self._readable(partition, list(group)):
                assigned.task.process(batch)
                assigned.next_offset = max(assigned.next_offset, batch[-1].offset() + 1)
                assigned.last_read = written_at_of(batch[-1])
                assigned.ended_at = None
                self._waiting.passed(partition)

    def _readable(self, partition: int, batch: list[Record]) -> list[Record]:
        """Return the records before the first one that is not readable yet; wait for that one."""
        try:
            self._check_readable(batch)
        except NotYetError as error:
            self._waiting.wait(partition, error)
            self._running[partition].ended_at = None
            return [record for record in batch if record.offset() < error.offset]
        return batch

    def _note_ends(self, messages: list[Message]) -> None:
        """Note where logs end for now: the last entry may be a marker, which is no record.

        An end before the next offset has no meaning.
        """
        for message in messages:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                partition = cast("int", message.partition())
                assigned, at = self._running.get(partition), message.offset() or 0
                if assigned and partition not in self._waiting and at >= assigned.next_offset:
                    assigned.ended_at = at

    def _is_at_end(self, partition: int) -> bool:
        """Whether all of a partition is read.

        A reader gets one end of partition before an open transaction, whether the transaction was
        there then or has begun since.
        """
        ended_at = self._running[partition].ended_at
        return ended_at is not None and ended_at >= self._end_of(partition)

    def _return_into_range(self, messages: list[Message]) -> None:
        """Restore partitions whose log no longer holds the next offset, from what it still holds.

        Raises OffsetError, at the restore, if records were deleted that were not read yet.
        """
        gone = {
            cast("int", message.partition())
            for message in messages
            if (error := message.error()) is not None and error.code() in OUT_OF_RANGE
        }
        if gone & self._running.keys():
            self._commit_all()  # what was read before counts
        for partition in sorted(gone & self._running.keys()):
            log.warning("offset out of range", partition=partition, topic=self._config.topic)
            self._begin_again(partition)

    def _has_started(self) -> bool:
        topic, admin = self._config.state_topic, self._clients.admin()
        if not topic:
            return False
        partitions = range(partition_counts(admin)[topic])
        return any(extent.end for extent in extents(admin, topic, partitions).values())

    def _tick_all(self) -> None:
        for partition, assigned in self._running.items():
            assigned.task.tick(is_at_end=self._is_at_end(partition))

    def _left(self) -> int:
        """Set each partition's lag; return the sum over the partitions that do not wait."""
        unread = {
            p: Unread(self._unread(p), assigned.last_read) for p, assigned in self._running.items()
        }
        self._lag.show(unread)
        return sum(lag.records for p, lag in unread.items() if p not in self._waiting)

    def _unread(self, partition: int) -> int:
        """Return the number of records left; what is behind the last one are markers."""
        if self._is_at_end(partition):
            return 0
        return max(0, self._end_of(partition) - self._running[partition].next_offset)

    def _end_of(self, partition: int) -> int:
        """Return the last known offset behind the last record of a log, committed or not."""
        where = TopicPartition(self._config.topic, partition)
        _, end = self._consumer.get_watermark_offsets(where, cached=True)
        return end

    def _commit_all(self) -> None:
        """Commit the work of all partitions; restore those whose transaction failed."""
        for assigned in self._running.values():
            assigned.producer.serve()
        failed = self._commit(self.partitions)
        for partition, exception in failed.items():
            assigned, error = self._running[partition], exception.args[0]
            if is_refusal(error):
                raise exception
            self._commits.note_failure(error.name(), f"partition {partition}: {error.str()}")
            self._commits.note_abort(error.name())
            self._time.note_failure(partition, time.monotonic() - assigned.opened_at)
            abort_failed(self._config.topic, partition, assigned, exception)
        if failed:
            time.sleep(max(back_off(self._running[partition].aborts) for partition in failed))
        for partition in failed:
            self._begin_again(partition)

    def _begin_again(self, partition: int) -> None:
        """Drop a partition's state; restore it and read from its committed offset again."""
        assigned = self._running.pop(partition)
        self._waiting.release(partition)
        self._consumer.incremental_unassign([TopicPartition(self._config.topic, partition)])
        kept = KeptProducer(assigned.producer, assigned.transaction_ms)
        self._takeovers.begin_again(partition, kept, assigned.aborts)

    def _commit(self, partitions: Collection[int]) -> dict[int, KafkaException]:
        """Commit the work of partitions; return the errors of those that failed."""
        group, ask = self._consumer.consumer_group_metadata, self._identity.ask
        is_due = any(self._running[partition].has_work() for partition in partitions)
        if is_due:
            self._commits.note_due()
        failed = commit_side_by_side(self._config.topic, self._running, partitions, group, ask)
        if not failed:
            self._note_committed(is_due=is_due)
        return failed

    def _note_committed(self, *, is_due: bool) -> None:
        """Note that nothing is left to commit, unless a partition is recovering from a failure."""
        is_restoring = bool(self._takeovers) or not self._has_begun
        if self._commits.obstacle and (is_restoring or self._is_recovering()):
            return
        if is_due:
            self._commits.note_commit()
        elif not is_restoring:
            self._commits.note_nothing_due()

    def _is_recovering(self) -> bool:
        """Whether work that could not be committed is still to be repeated."""
        return any(
            assigned.aborts > 0 and not self._is_at_end(partition)
            for partition, assigned in self._running.items()
        )

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.has_joined = True
        self._name.note_joined()
        consumer.incremental_assign([])  # each is read once its offset is known
        if self._is_leaving:
            # The rebalance was under way when `close` began. Its partitions are returned at once:
            # a closing consumer answers no request, and a takeover would wait for one.
            return
        if partitions:
            self._takeovers.begin(sorted(given.partition for given in partitions))
        else:
            log.info("partitions taken", topic=self._config.topic, partitions=self.partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._takeovers.give_up([given.partition for given in partitions])
        leaving = [given.partition for given in partitions if given.partition in self._running]
        for partition, exception in self._commit(leaving).items():
            # The next owner repeats the work of a failed transaction.
            error = exception.args[0]
            log.warning("last commit failed", partition=partition, error=error.str())
            self._commits.note_abort(error.name())
            self._running[partition].producer.abort(error)
        self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._takeovers.give_up([given.partition for given in partitions])
        for given in partitions:
            self._running.pop(given.partition, None)
            self._waiting.release(given.partition)
            self._metrics.drop_gauges(partition=given.partition)
        read = {assigned.partition for assigned in consumer.assignment()}
        consumer.incremental_unassign([given for given in partitions if given.partition in read])
        log.info("partitions given up", topic=self._config.topic, left=self.partitions)


def _poll_seconds(pace: CommitPace) -> float:
    """Return how long to wait for records: not beyond the next commit, unless that is put off."""
    to_next = pace.seconds_to_next()
    return min(POLL_SECONDS, to_next) if to_next > 0 else POLL_SECONDS
