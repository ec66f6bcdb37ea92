"""Streams as they come in the field, and what a sessionizer makes of them, step by step.

One step is a batch of records, a commit, a crash, a silence, or an operator's command. After each
commit the sessions topic and the dead letters are compared with the plain reference, the followers'
open sessions with the sessionizer's, and every record is accounted for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.stream.avro.codec import decode
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.clicks.refusals import RefusalRule
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.operations.watermark_reset import reset_watermark
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.scores.sessionizer_decisions import DECISIONS, LoggedDecision
from ader_stream.stream.sessions.outputs import ClockRefusal, IdleAdvance
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.stream.sessions.task import (
    Idling,
    SessionizerRules,
    SessionizerTask,
    SessionizerTasks,
)
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule, Click, IntakeRule, SessionRule
from tests.fakes import FakeKafka, FakeProducer, FakeRecord
from tests.property.plain_intake import PlainIntake, Written
from tests.property.plain_sessions import PlainSession

TOPICS = Topics("fuzz")
FORMAT = ClickFormat(event_id="id")
GAP = 1_000
BLOCKS = BlockRule(7, 20_000)
IDLE_MS = 5_000
START = 1_000_000
"""Event time and clock (ms) at which a stream begins."""

KEYS = "abcdefgh"
NO_LIMIT = RefusalRule(ratio=1.0, run=1_000)


class Clocks:
    """Wall clock and monotonic clock, which the steps turn."""

    def __init__(self) -> None:
        self.now = START  # ms

    def seconds(self) -> float:
        """Seconds, for both."""
        return self.now / 1000


@dataclass
class Rules:
    """What decides the sessions, and may change between two starts."""

    session: SessionRule
    intake: IntakeRule

    def sessionizer(self) -> SessionizerRules:
        """For a sessionizer."""
        return SessionizerRules(BLOCKS, self.session, self.intake, NO_LIMIT)


@dataclass
class Partition:
    """One partition: its log, the task that reads it, and the words' own account of it.

    Attributes
    ----------
    records, written
        The log, as records and as the reference takes them; None: no click can be read there.
    committed
        Next offset of the last commit.
    reference_at
        Offset up to which the reference has taken the log.
    certain
        Event ids of clicks that no bound refuses; others have none. The id of a refused one may
        come again, which a follower that reads the log again does not know.
    """

    number: int
    plain: PlainIntake
    records: list[FakeRecord] = field(default_factory=list)
    written: list[Written | None] = field(default_factory=list)
    next_offset: int = 0
    committed: int = 0
    metadata: str = ""
    reference_at: int = 0
    read_to: int = 0
    malformed: list[int] = field(default_factory=list)
    certain: list[str] = field(default_factory=list)
    ignored: int = 0


class StreamMachine(RuleBasedStateMachine):
    """A sessionizer over a few partitions, its followers, and everything that happens to them."""

    @initialize(
        lateness=st.sampled_from([0, 0, 700]),
        late=st.sampled_from(["carry", "carry", "dead-letter"]),
        max_clicks=st.sampled_from([4, 1_000]),
        event_ids=st.sampled_from([2, 1_000]),
        held_offsets=st.sampled_from([6, 100]),
    )
    def begin(
        self, lateness: int, late: str, max_clicks: int, event_ids: int, held_offsets: int
    ) -> None:
        session = SessionRule(GAP, lateness, late, max_clicks, max_age=60_000, max_open=50)
        intake = IntakeRule(GAP, 3, held_offsets, event_ids, max_ahead=500, max_behind=600_000)
        self.rules = Rules(session, intake)
        self.clocks = Clocks()
        self.kafka = FakeKafka(partitions={TOPICS.clicks: 1})
        self.metrics = Metrics(CollectorRegistry())
        self.decoder = ClickDecoder(FORMAT)
        self.producer = FakeProducer(self.kafka)
        self.hints = WatermarkHints(self.kafka, TOPICS, self.clocks.seconds)
        self.erasures = Erasures()
        self.partitions: list[Partition] = []
        self.tasks: dict[int, SessionizerTask] = {}
        self.followers: dict[int, PrefixFollower] = {}
        self.add_partition()

    # --- what comes in

    @rule(
        batch=st.lists(
            st.tuples(
                st.integers(0, 3),
                st.sampled_from(KEYS),
                st.sampled_from(
                    ["live"] * 12
                    + ["old"] * 4
                    + [
                        "fast",
                        "fast",
                        "copied",
                        "copied-fast",
                        "slow",
                        "drift",
                        "seconds",
                        "micros",
                        "twice",
                        "twice",
                        "heartbeat",
                        "heartbeat-ahead",
                        "tombstone",
                        "malformed",
                        "huge",
                    ]
                ),
                st.sampled_from([0, 1, 10, 50, 300, 900, 1_001, 4_000, 30_000]),
            ),
            min_size=1,
            max_size=30,
        )
    )
    def records_come(self, batch: Sequence[tuple[int, str, str, int]]) -> None:
        for number, key, kind, pause in batch:
            self.clocks.now += pause
            self._append(self.partitions[number % len(self.partitions)], key, kind, pause)

    @rule()
    def partition_is_added(self) -> None:
        if len(self.partitions) < 3:
            self.add_partition()

    # --- what the workers do

    @rule(number=st.integers(0, 2), count=st.integers(1, 60))
    def sessionizer_reads(self, number: int, count: int) -> None:
        partition = self.partitions[number % len(self.partitions)]
        batch = partition.records[partition.next_offset : partition.next_offset + count]
        if batch:
            self.tasks[partition.number].process(batch)
            partition.next_offset += len(batch)
            self._note_clock(partition, batch)

    @rule(number=st.integers(0, 2))
    def sessionizer_commits(self, number: int) -> None:
        self._commit(self.partitions[number % len(self.partitions)])

    @rule(number=st.integers(0, 2))
    def sessionizer_dies(self, number: int) -> None:
        partition = self.partitions[number % len(self.partitions)]
        for offset in range(partition.committed, len(partition.written)):
            self._forget_clock(partition, offset)
        self._restore(partition)

    @rule(seconds=st.sampled_from([1, 6, 60]))
    def all_is_silent(self, seconds: int) -> None:
        self.clocks.now += seconds * 1000
        self.hints._producer.poll()
        self.hints.follow()
        for partition in self.partitions:
            is_at_end = partition.next_offset == len(partition.records)
            self.tasks[partition.number].tick(is_at_end=is_at_end)

    @rule(number=st.integers(0, 2), back=st.sampled_from([1, 3_000, 45_000]))
    def operator_resets_the_watermark(self, number: int, back: int) -> None:
        partition = self.partitions[number % len(self.partitions)]
        watermark = partition.plain.sessions.watermark
        if watermark is None or watermark < back or partition.committed == 0:
            return
        self._restore(partition)  # the command fences whoever runs
        place = reset_watermark(
            self.kafka,
            TOPICS,
            BLOCKS,
            self.rules.session.lateness,
            partition.number,
            watermark - back,
        )
        assert place.next_offset == partition.committed
        self._restore(partition)
        self._compare(partition)

    @rule(number=st.integers(0, 2))
    def follower_moves_to_another_worker(self, number: int) -> None:
        partition = self.partitions[number % len(self.partitions)]
        before = self.followers[partition.number]
        after = self.followers[partition.number] = self._follower(partition.number)
        read_from = after.resume(before.metadata(), partition.committed)
        after.follow(self._decisions(partition, after.advances_from), partition.read_to)
        again = after.observe(partition.records[read_from : partition.committed])
        after.follow([], partition.read_to)
        assert not [one for one in again if one.offset >= partition.committed]
        assert open_in(after) == open_in(self.tasks[partition.number]) or not self._is_even(
            partition
        )

    # --- what must hold

    @invariant()
    def every_record_is_accounted_for(self) -> None:
        for partition in getattr(self, "partitions", []):
            assert partition.reference_at == partition.committed

    def teardown(self) -> None:
        for partition in getattr(self, "partitions", []):
            self.sessionizer_reads(partition.number, len(partition.records) + 1)
            self._commit(partition)
            self._account(partition)

    # --- how

    def add_partition(self) -> None:
        number = len(self.partitions)
        self.kafka.partitions[TOPICS.clicks] = number + 1
        plain = PlainIntake(BLOCKS, self.rules.session, self.rules.intake)
        self.partitions.append(Partition(number, plain))
        self.followers[number] = self._follower(number)
        self._restore(self.partitions[number])

    def _follower(self, number: int) -> PrefixFollower:
        erasures = PartitionErasures(self.erasures, number, "")
        rules = BLOCKS, self.rules.session, self.rules.intake
        return PrefixFollower(self.decoder, *rules, erasures)

    def _restore(self, partition: Partition) -> None:
        """Start a task where the last commit left off, as whoever takes the partition over."""
        open_tasks = SessionizerTasks(
            self.kafka,
            TOPICS,
            self.decoder,
            self.rules.sessionizer(),
            self.metrics,
            self.erasures,
            Idling(IDLE_MS, self.hints, self.clocks.seconds),
            self.clocks.seconds,
        )
        task = open_tasks([partition.number])[partition.number]
        committed = Committed(partition.committed, partition.metadata)
        extent = Extent(0, len(partition.records))
        place = task.place(committed if partition.committed else None, extent)
        partition.next_offset = task.restore(place or committed, 0)
        task.begin()
        assert partition.next_offset == partition.committed
        self.tasks[partition.number] = task

    def _commit(self, partition: Partition) -> None:
        task = self.tasks[partition.number]
        if partition.next_offset == partition.committed and not task.is_dirty():
            return
        transaction = Transaction()
        partition.metadata = task.write(transaction, partition.next_offset)
        self.producer.begin_transaction()
        transaction.send(self.producer)
        self.producer.commit_transaction(1)
        task.committed()
        partition.committed = partition.next_offset
        self._compare(partition)

    def _append(self, partition: Partition, key: str, kind: str, pause: int) -> None:
        now, offset = self.clocks.now, len(partition.records)
        record, written = a_record(kind, key, now, pause, offset, partition)
        partition.records.append(record)
        partition.written.append(written)

    def _note_clock(self, partition: Partition, batch: Sequence[FakeRecord]) -> None:
        """Let the reference know what the clock says of records that were read just now."""
        limit = self.clocks.now + self.rules.intake.max_ahead
        for record in batch:
            written = partition.written[record.offset()]
            if written is not None:
                time = written.record.time if isinstance(written.record, Click) else written.record
                at = written.at
                is_ahead = time > limit and (at is None or at > limit)
                partition.written[record.offset()] = written._replace(is_ahead_of_clock=is_ahead)

    def _forget_clock(self, partition: Partition, offset: int) -> None:
        written = partition.written[offset]
        if written is not None:
            partition.written[offset] = written._replace(is_ahead_of_clock=False)

    # --- comparisons

    def _compare(self, partition: Partition) -> None:
        """Take the reference to the last commit, by the log and the logged decisions."""
        decisions = self._decisions(partition, partition.read_to)
        follower = self.followers[partition.number]
        partition.read_to = len(self.kafka.log[TOPICS.sessions, partition.number])
        follower.follow(decisions, partition.read_to)
        follower.observe(partition.records[partition.reference_at : partition.committed])
        follower.follow([], partition.read_to)  # what was decided behind them, as at each tick
        by_offset: dict[int, list[Any]] = {}
        for decision, _ in decisions:
            if not isinstance(decision, ClockRefusal):
                by_offset.setdefault(decision.next_offset, []).append(decision)
        for offset in range(partition.reference_at, partition.committed + 1):
            for decision in by_offset.get(offset, []):
                self._decide(partition, decision, offset)
            if offset < partition.committed:
                self._take(partition, offset)
        partition.reference_at = partition.committed
        number, plain = partition.number, partition.plain
        must_be_equal("sessions", sessions_in(self.kafka, number), plain.sessions.sessions)
        must_be_equal("letters", letters_in(self.kafka, number), expected_letters(partition))
        if self._is_even(partition):
            must_be_equal("open sessions", open_in(follower), open_in(self.tasks[number]))

    def _is_even(self, partition: Partition) -> bool:
        """Whether the task stands where it has committed last."""
        task = self.tasks[partition.number]
        return partition.next_offset == partition.committed and not task.is_dirty()

    def _decide(self, partition: Partition, decision: Any, offset: int) -> None:
        if isinstance(decision, IdleAdvance):
            partition.plain.advance(decision.watermark, offset)
        else:
            partition.plain.reset(decision.watermark, offset)

    def _take(self, partition: Partition, offset: int) -> None:
        if (written := partition.written[offset]) is not None:
            partition.plain.take(written, offset)

    def _decisions(self, partition: Partition, start: int) -> list[LoggedDecision]:
        found = []
        for record in self.kafka.records(TOPICS.sessions, partition.number):
            name, value = decode(record.value(), record.headers())
            if record.offset() >= start and (kind := DECISIONS.get(name)):
                decision = kind(**{name: value[name] for name in kind._fields})
                found.append(LoggedDecision(decision, record.offset()))
        return found

    def _account(self, partition: Partition) -> None:
        """Each click is in a closed or open session, quarantined, a duplicate, or a letter."""
        plain, clicks = partition.plain, 0
        for written in partition.written:
            clicks += written is not None and isinstance(written.record, Click)
        closed = sum(len(session.clicks) for session in plain.sessions.sessions)
        refused = [*plain.future, *plain.sessions.refused]
        refused = [at for at in refused if isinstance(partition.written[at].record, Click)]
        still_open = len(plain.sessions._open) + sum(map(len, plain.sessions._waiting))
        gone = closed + still_open + len(plain.held) + len(plain.duplicates) + len(refused)
        assert gone == clicks


def a_record(
    kind: str, key: str, now: int, pause: int, offset: int, partition: Partition
) -> tuple[FakeRecord, Written | None]:
    """Return a record of some kind, and what the reference takes it for."""
    number = partition.number
    times: dict[str, tuple[int, int]] = {  # event time, record timestamp
        "live": (now, now + 7),
        "old": (now - 500_000 + pause, now),
        "fast": (now + 40_000, now),
        "copied": (now - pause, now - pause),
        "copied-fast": (now + 40_000, now + 40_000),
        "slow": (max(0, now - 40_000), now),
        "drift": (now + 400, now),
        "seconds": (now // 1000, now),
        "micros": (now * 1000, now),
        "twice": (now, now + 7),
    }
    if kind in times:
        time, at = times[kind]
        event_id = None
        if kind == "twice" and partition.certain:
            event_id = partition.certain[-1 - pause % min(3, len(partition.certain))]
        elif kind == "live" and partition.plain.sessions._rule.late == "carry":
            event_id = f"{number}/{offset}"
            partition.certain.append(event_id)
        click = Click(key, f"i{number}.{offset}", time, event_id)
        value = {"session": key, "item": click.item, "time": time, "id": event_id}
        record = a_fake(json.dumps(value).encode(), key, number, offset, at)
        return record, Written(click, at)
    if kind.startswith("heartbeat"):
        watermark = now + 40_000 if kind == "heartbeat-ahead" else now - pause
        headers = [(WATERMARK_HEADER, str(watermark).encode())]
        return a_fake(None, key, number, offset, now, headers), Written(watermark, now)
    if kind == "tombstone":
        partition.ignored += 1
        return a_fake(None, key, number, offset, now), None
    partition.malformed.append(offset)
    value_ = b"x" * 100_000 if kind == "huge" else b'{"session": '
    return a_fake(value_, key, number, offset, now), None


def a_fake(
    value: bytes | None,
    key: str,
    partition: int,
    offset: int,
    timestamp: int,
    headers: list[tuple[str, bytes]] | None = None,
) -> FakeRecord:
    return FakeRecord(
        value,
        key.encode(),
        headers=headers,
        topic=TOPICS.clicks,
        partition=partition,
        offset=offset,
        timestamp=timestamp,
    )


def sessions_in(kafka: FakeKafka, partition: int) -> list[PlainSession]:
    """The closed sessions in the topic, sorted."""
    found = []
    for record in kafka.records(TOPICS.sessions, partition):
        name, value = decode(record.value(), record.headers())
        if name == "SessionBatch":
            for session in decode_sessions(value):
                originals = map(session.carried.get, range(len(session.items)))
                clicks = tuple(zip(session.times, session.items, originals, strict=True))
                first = session.times[0]
                found.append(PlainSession(value["block"], session.key, first, clicks))
    return sorted(found)


def must_be_equal(what: str, found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Fail with what is missing and what is too much, in any order."""
    missing = [one for one in expected if one not in found]
    surplus = [one for one in found if one not in expected]
    assert sorted(found) == sorted(expected), f"{what}: missing {missing}, too much {surplus}"


def letters_in(kafka: FakeKafka, partition: int) -> list[tuple[int, str]]:
    """Offset and reason of each dead letter."""
    values = (
        decode(record.value(), record.headers())[1]
        for record in kafka.records(TOPICS.dead_letters, partition)
    )
    return [(value["offset"], value["reason"]) for value in values]


def expected_letters(partition: Partition) -> list[tuple[int, str]]:
    """What the reference has refused, and what no click can be read from."""
    plain, at = partition.plain, partition.committed
    return (
        [(offset, "malformed") for offset in partition.malformed if offset < at]
        + [(offset, "future") for offset in plain.future]
        + [(offset, "late") for offset in plain.sessions.refused]
    )


def open_in(of: SessionizerTask | PrefixFollower) -> list[tuple[str, int, list[int], list[str]]]:
    """Open sessions, sorted."""
    sessions: Iterator[Any] = of._window.open_sessions()
    return sorted((s.key, s.block, s.times.tolist(), s.items) for s in sessions)
