"""Process one input partition in the sessionizer: sessions, changelog, dead letters."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import length_hint
from typing import NamedTuple

import structlog

from ader_stream import metrics as m
from ader_stream.errors import AderError, ClickError, IgnoredError, OffsetError, TopicError
from ader_stream.metrics import Metrics
from ader_stream.runtime.tracing.spans import NO_TRACING, header_of
from ader_stream.stream.avro.codec import Headers, encode
from ader_stream.stream.avro.encoding import each_text_bytes
from ader_stream.stream.clicks.decoder import NOT_PLAIN, ClickDecoder, decode_heartbeat
from ader_stream.stream.clicks.refusals import RefusalRule, Refusals, remedy_for
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.control.rules import (
    CLOSING,
    PARTITIONS,
    Rules,
    differences,
    require_compatible,
)
from ader_stream.stream.control.rules_log import blocks_in_force
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.groups.lost import require_held
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.reading import partitions_with_records
from ader_stream.stream.kafka.records import Record, headers_of, written_at_of
from ader_stream.stream.sessions.click_traces import ClickTraces
from ader_stream.stream.sessions.clock_bound import ClockBound
from ader_stream.stream.sessions.event_ids import EventIds
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import BlockEnd, IdleAdvance, Output
from ader_stream.stream.sessions.partition_erasures import Applied, PartitionErasures
from ader_stream.stream.sessions.records.dead_letter import (
    SMALLEST_LETTER,
    DeadLetter,
    dead_letter,
    with_reason,
)
from ader_stream.stream.sessions.records.partition_state import (
    RULES_KEY,
    UNCOUNTED,
    Change,
    PartitionState,
    encode_full,
    encode_held,
    encode_keys,
    encode_partition,
    encode_rules,
    encode_segments,
    full_key,
    full_tombstone,
    held_tombstone,
    read_states,
)
from ader_stream.stream.sessions.records.session_records import encode_outputs
from ader_stream.stream.sessions.share_watch import ShareWatch
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.stream.sessions.window import ENDLESS, Erased, SessionWindow
from ader_stream.stream.topics.identity import made_again
from ader_stream.stream.topics.topics import (
    TopicFacts,
    Topics,
    describe_topic,
    grow_topics,
    topic_id,
)
from ader_stream.times import parse_duration
from ader_stream.types import BlockRule, Click, ClickPlace, IntakeRule, SessionRule

log = structlog.get_logger(__name__)

FEWEST_LATE = 1_000
"""Clicks before a warning that most are late: those of some hours may arrive at once."""

FEWEST_FUTURE = 20
"""The same for clicks refused as ahead of time; one visitor alone has fewer."""

IDLE_SECONDS = 1.0
"""Shortest time between two advances of an idle partition."""


@dataclass(frozen=True)
class Idling:
    """How idle partitions follow the others.

    Parameters
    ----------
    timeout
        ms of silence, at the end of the log, after which a partition is idle.
    hints
        Stream times of the other partitions.
    clock
        Returns seconds, for the timeout only.
    """

    timeout: int
    hints: WatermarkHints
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class SessionizerRules:
    """All rules that decide the sessions.

    Parameters
    ----------
    blocks, sessions, intake
        Block and session rules, and which clicks are accepted.
    refusals
        How many dead letters stop the process.
    named
        All of them as setting texts, for the log.
    max_letter, max_session
        Most bytes of a dead letter, and of a session with its key.
    """

    blocks: BlockRule
    sessions: SessionRule
    intake: IntakeRule
    refusals: RefusalRule = field(default_factory=RefusalRule)
    named: Rules = field(default_factory=dict)
    max_letter: int = SMALLEST_LETTER
    max_session: int = ENDLESS


class Found(NamedTuple):
    """What is known of a partition when it is assigned.

    Parameters
    ----------
    state
        State from its changelog.
    topic
        The clicks topic as it is today.
    erasures
        Requests to erase keys.
    control_id
        Kafka's id of the control topic.
    has_sessions
        The partition has committed sessions, though its changelog is empty.
    """

    state: PartitionState
    topic: TopicFacts
    erasures: Erasures
    control_id: str = ""
    has_sessions: bool = False


class SessionizerTasks:
    """Makes the tasks of partitions from their changelogs. Implements `OpenTasks`.

    Parameters
    ----------
    erasures
        All erasure requests; grows when new ones arrive.
    idling
        None if only heartbeats advance silent partitions.

    Attributes
    ----------
    tracing
        Given to every task that is made.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        decoder: ClickDecoder,
        rules: SessionizerRules,
        metrics: Metrics,
        erasures: Erasures,
        idling: Idling | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._topics = topics
        self._decoder = decoder
        self._rules = rules
        self._erasures = erasures
        self._of_each = metrics, idling, clock
        self.tracing = NO_TRACING

    def __call__(
        self, partitions: Collection[int], stay: Callable[[], None] = lambda: None
    ) -> dict[int, SessionizerTask]:
        """Read the changelogs of partitions; some may be new partitions of the clicks topic."""
        clients, topics = self._clients, self._topics
        admin = clients.admin()
        grow_topics(admin, topics)
        states = read_states(clients, topics.sessionizer_state, partitions, stay)
        clicks, control_id = describe_topic(admin, topics.clicks), topic_id(admin, topics.control)
        # Perhaps no worker had these partitions when blocks were changed.
        blocks = blocks_in_force(clients, topics, self._rules.blocks.grid)
        unsaid = [p for p in partitions if states[p].next_offset < 0]
        lost = partitions_with_records(clients, topics.sessions, unsaid) if unsaid else set[int]()
        how = self._decoder, replace(self._rules, blocks=blocks), *self._of_each
        tasks = {
            partition: SessionizerTask(
                partition,
                topics,
                Found(states.pop(partition), clicks, self._erasures, control_id, partition in lost),
                *how,
            )
            for partition in partitions
        }
        for task in tasks.values():
            task.tracing = self.tracing
        return tasks


class SessionizerTask:
    """State of one partition of the clicks topic: an `Intake`, its window, and their changelog.

    Implements `PartitionTask`.

    Parameters
    ----------
    found
        Data with which it starts.

    Attributes
    ----------
    tracing
        Records which traced clicks are in the sessions.
    """

    def __init__(
        self,
        partition: int,
        topics: Topics,
        found: Found,
        decoder: ClickDecoder,
        rules: SessionizerRules,
        metrics: Metrics,
        idling: Idling | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._partition = partition
        self._topics = topics
        self._decoder = decoder
        self._rules = rules
        self._metrics = metrics
        self._idling = idling
        self.tracing = NO_TRACING
        self._traces = ClickTraces(decoder.clicks_of, self._count_dropped_traces)
        self._clock = ClockBound(rules.intake.max_ahead, clock)
        self._silent_since = idling.clock() if idling else 0.0
        self._has_followed = False
        self._has_explained = False
        self._committed_watermark: int | None = None
        self._topic = found.topic
        self._is_lost = found.has_sessions
        self._next_offset = 0
        self._skipped = 0
        self._is_place_unwritten = False  # its next offset is not in the changelog or the group yet
        self._rules_change: tuple[bytes, Headers] | None = None
        self._refusals = Refusals(rules.refusals)
        self._dead_letters: list[tuple[bytes | None, DeadLetter]] = []
        self._has_erased = False
        self._erased = Erased()  # since the last applied request
        self._control = found.erasures, found.control_id
        self._ignored = Counter[str]()  # of the current batch, by reason
        self._more_clicks = 0  # of the current batch, than it has records
        self._late_watch = ShareWatch(FEWEST_LATE)
        self._future_watch = ShareWatch(FEWEST_FUTURE)
        self._future = 0  # refused as ahead of time, in the current batch
        self._changelog = found.state
        self._begin(PartitionState())

    def _begin(self, state: PartitionState) -> None:
        rules = self._rules
        self._window = SessionWindow(rules.blocks, rules.sessions, state.window, state.sessions)
        event_ids = EventIds(rules.intake.max_event_ids, state.segments)
        self._intake = Intake(
            self._window,
            rules.intake,
            rules.sessions.lateness,
            state.held,
            event_ids,
            is_ahead_of_clock=lambda _, time, written_at: self._clock.refuses(time, written_at),
        )
        self._erasures = self._erasures_after(state)
        self._letters = state.letters  # of quarantined clicks
        self._logged_held = {at: held.is_contradicted for at, held in state.held.items()}
        self._logged_full = state.full_keys

    def _erasures_after(self, state: PartitionState) -> PartitionErasures:
        """Continue with the requests that a state has not applied."""
        erasures, control_id = self._control
        applied = state.applied._replace(control_id=control_id)
        if state.applied.control_id not in ("", control_id):
            log.warning(
                "the control topic was created again; all of its erasure requests are applied",
                partition=self._partition,
                before=state.applied.control_id,
                now=control_id,
            )
            applied = Applied(control_id=control_id)
        return PartitionErasures(erasures, self._partition, self._topic.id, applied)

    @property
    def window(self) -> SessionWindow:
        """Return its open sessions and watermark."""
        return self._window

    def place(self, committed: Committed | None, extent: Extent) -> Committed | None:
        """Return the end of the changelog, and require that it agrees with the group's offset.

        Raises
        ------
        SettingsError
            If the state was made by rules that may not change like that.
        TopicError
            If the clicks topic is not the one of the changelog.
        OffsetError
            If the group's offset was moved: the open sessions belong to another offset. If the
            changelog was deleted, in whole or in part: the open sessions are unknown.
        """
        state = self._changelog
        where = f"{self._topics.sessionizer_state}/{self._partition}"
        if lost := self._lost(committed):
            raise OffsetError(
                f"{where} {lost}, and open sessions with it. Stop all workers, and `ader-stream "
                "reset --yes` makes the sessions again from the clicks"
            )
        require_compatible(state.rules, self._rules.named, self._rules.blocks, where)
        if state.topic_id not in ("", self._topic.id):
            count = self._topic.partitions
            before = f"{state.topic_id} ({state.rules.get(PARTITIONS, count)} partitions)"
            now = f"{self._topic.id} ({count})"
            raise TopicError(made_again(self._topics.clicks, before, now))
        self._is_place_unwritten = state.next_offset < 0 or committed is None
        if state.next_offset < 0:
            return committed
        self._require_same_place(state.next_offset, committed, extent)
        return Committed(state.next_offset, committed.metadata if committed else "")

    def _lost(self, committed: Committed | None) -> str:
        """Return how the changelog shows that records were deleted from it; empty if not."""
        state = self._changelog
        if state.next_offset >= 0:
            found, written = len(state.sessions), state.open_sessions
            if written in (found, UNCOUNTED):
                return ""
            return f"holds {found} of {written} open sessions: records of it were deleted"
        # Commit metadata shows that the worker had read clicks; a first offset alone does not.
        if self._is_lost or (committed and committed.metadata):
            other = self._topics.sessions if self._is_lost else "the group's offset"
            return f"is empty, although {other} is not: the topic was deleted"
        return ""

    def _require_same_place(self, place: int, committed: Committed | None, extent: Extent) -> None:
        topic, partition = self._topics.clicks, self._partition
        if committed is None:
            log.warning(
                "the group's offset has expired; continuing from the changelog's",
                topic=topic,
                partition=partition,
                offset=place,
            )
        elif committed.offset != place:
            require_held(topic, partition, place, extent)
            raise OffsetError(
                f"{topic}/{partition}: the group continues at offset {committed.offset}, the open "
                f"sessions at {place}: the group's offset was moved. "
                f"`ader-stream offsets restore --yes` sets it to {place} again (without --yes it "
                "only reports it); to read clicks a second time, stop all workers and start again "
                "with `ader-stream reset --yes`"
            )

    def restore(self, place: Committed, first: int) -> int:  # noqa: ARG002 - nothing is read again
        """Continue with the state in the changelog.

        Raises
        ------
        TopicError
            If an open session is too large for our topics now.
        """
        state, self._changelog = self._changelog, PartitionState()  # free closed sessions
        self._require_room(state.sessions)
        self._next_offset = place.offset
        self._skipped = state.skipped
        self._adopt_rules(state)
        self._intake.release_near(self._next_offset)  # an operator may have moved the watermark
        self._refusals = Refusals(self._rules.refusals, place.metadata)
        self._refuse_pending()
        return self._next_offset

    def begin(self) -> None:
        """Export the number of records skipped before."""
        self._metrics.show(m.SKIPPED, self._skipped, partition=self._partition)

    def _require_room(self, sessions: Iterable[OpenSession]) -> None:
        largest = max(sessions, key=lambda session: session.size, default=None)
        if largest is not None and largest.size + len(largest.key) > self._rules.max_session:
            topics = self._topics
            raise TopicError(
                f"an open session of partition {self._partition} has {largest.size} bytes, and "
                f"{topics.sessions} or {topics.sessionizer_state} takes no record of that size any "
                "more: `ader-stream topics alter` sets max.message.bytes to what we need, or set "
                "it to what it was when the session started"
            )

    def _adopt_rules(self, state: PartitionState) -> None:
        """Continue from a state with the current rules, and log them with the next commit."""
        rules = {**self._rules.named, PARTITIONS: str(self._topic.partitions)}
        changed = {change.name: change for change in differences(state.rules, rules)}
        if "sessions.gap" in changed:
            state.window.keep_closed(parse_duration(changed["sessions.gap"].then))
        self._begin(state)
        if "clicks.event_id_field" in changed:
            self._intake.event_ids.clear()
        if changed.keys() & CLOSING:
            self._window.close_all()
        self._count_closed_early(self._window.early)
        if rules != state.rules:
            self._rules_change = encode_rules(self._partition, self._next_offset, rules)
            self._say_changed(state, [*map(str, changed.values())])

    def _say_changed(self, state: PartitionState, changed: Sequence[str]) -> None:
        at = {"partition": self._partition, "next_offset": self._next_offset}
        if changed:
            log.warning("rules change", **at, rules=changed)
        elif state.next_offset >= 0 and not state.rules:
            log.info("the state names no rules; the current ones apply", **at)

    def process(self, records: list[Record]) -> None:
        """Turn clicks into sessions; a heartbeat advances the watermark."""
        window, intake = self._window, self._intake
        late, early, duplicates = window.late_clicks, window.early.copy(), intake.duplicates
        capped = intake.capped_heartbeats
        readable = [*self._decoder.prepare(records, reads_headers=self.tracing.is_on)]
        self._take_all(readable)
        if self.tracing.is_on:
            self._traces.note(readable)
        self._next_offset = records[-1].offset() + 1
        self._has_explained = False
        ignored, self._ignored = self._ignored, Counter()
        read, self._more_clicks = len(records) + self._more_clicks, 0
        if self._idling and ignored.total() < read:  # without a click, event time waits
            self._silent_since = self._idling.clock()
        labels = {"partition": self._partition}
        self._metrics[m.CLICKS].labels(**labels).inc(read)
        self._metrics[m.LATE].labels(**labels).inc(window.late_clicks - late)
        self._watch_clocks(read - ignored.total(), window.late_clicks - late)
        self._metrics[m.DUPLICATES].labels(**labels).inc(intake.duplicates - duplicates)
        self._metrics[m.HEARTBEATS_CAPPED].labels(**labels).inc(intake.capped_heartbeats - capped)
        for reason, count in ignored.items():
            self._metrics[m.IGNORED].labels(reason=reason, **labels).inc(count)
        self._count_closed_early(window.early - early)

    def _erase(self) -> None:
        """Erase some of the requested keys, with the next transaction."""
        applied_to = self._erasures.applied_to
        for erased in self._erasures.step(self._intake, self._next_offset).values():
            self._note_erased(erased)
        waiting = self._metrics[m.ERASURES_WAITING].labels(partition=self._partition)
        waiting.set(self._erasures.waiting)
        if any(self._erased) and self._erasures.applied_to > applied_to:
            log.info("erased", partition=self._partition, **self._erased._asdict())
            self._erased = Erased()

    def _note_erased(self, erased: Erased) -> None:
        if not any(erased):
            return
        self._has_erased = True
        self._erased = self._erased.plus(erased)
        for what in ("sessions", "quarantined"):
            self._count_erased(what, getattr(erased, what))

    def _count_erased(self, what: str, count: int) -> None:
        self._metrics[m.ERASED].labels(partition=self._partition, what=what).inc(count)

    def tick(self, *, is_at_end: bool) -> None:
        """Erase requested keys; follow the other partitions if this one is idle."""
        self._erase()
        if not self._idling:
            return
        lateness = self._rules.sessions.lateness
        if self._committed_watermark is not None:
            self._idling.hints.publish(self._partition, self._committed_watermark + lateness)
        if is_at_end:
            self._follow_if_idle(self._idling, lateness)

    def _follow_if_idle(self, idling: Idling, lateness: int) -> None:
        now = idling.clock()
        if now - self._silent_since < idling.timeout / 1000:
            return
        has_settled = self._intake.settle(self._next_offset)
        highest = idling.hints.highest(self._clock.limit())
        own = self._window.watermark
        if highest is not None and (own is None or highest - lateness > own):
            self._intake.follow(highest - lateness, self._next_offset)
        elif not has_settled:
            self._explain_silence()
            return
        self._refuse_pending()
        self._has_followed = True
        self._silent_since = now - idling.timeout / 1000 + IDLE_SECONDS

    def _watch_clocks(self, clicks: int, late: int) -> None:
        future, self._future = self._future, 0
        if self._late_watch.are_most(clicks, late):
            log.warning(
                "most clicks are late: they are behind their partition's event time, which is "
                "constant; `ader-stream doctor` compares them with it, and `ader-stream watermark "
                "reset` corrects it",
                partition=self._partition,
                clicks=self._late_watch.clicks,
                late=self._late_watch.rare,
                watermark=self._window.watermark,
            )
        if self._future_watch.are_most(clicks, future):
            log.warning(
                "most clicks are refused as ahead of their records' timestamps or of this "
                "machine's clock: check the clock of this machine, then the clocks that write "
                "them; afterwards, `ader-stream dead-letters replay --reason future` sends them "
                "back",
                partition=self._partition,
                clicks=self._future_watch.clicks,
                future=self._future_watch.rare,
                clock=self._clock.now(),
            )

    def _explain_silence(self) -> None:
        """Log, once in a silence, what waits for event time to advance."""
        waiting = self._window.open_count + len(self._intake.held)
        if self._has_explained or not waiting:
            return
        self._has_explained = True
        log.info(
            "partition is idle and no other one is ahead: sessions close when event time passes "
            "their last click by sessions.gap, with a click, a heartbeat or another partition's",
            partition=self._partition,
            open_sessions=self._window.open_count,
            quarantined=len(self._intake.held),
            watermark=self._window.watermark,
        )

    def is_dirty(self) -> bool:
        """Return whether there are changes that are not written.

        These are an idle advance, erased keys, or an offset that is not logged yet.
        """
        return self._has_followed or self._has_erased or self._is_place_unwritten

    def write(self, transaction: Transaction, next_offset: int) -> str:
        """Write sessions, block ends, the changelog and dead letters."""
        partition = self._partition
        if self._rules_change:
            transaction.produce(
                self._topics.sessions, str(partition), *self._rules_change, partition
            )
        outputs = self._window.take_output()
        self._write_outputs(transaction, outputs)
        transaction.extend(self._topics.sessionizer_state, self._changes(next_offset), partition)
        for key_, letter in self._dead_letters:
            value, headers = encode("DeadLetter", letter)
            transaction.produce(self._topics.dead_letters, key_, value, headers, partition)
        self._dead_letters.clear()
        self._rules_change = None
        self._has_followed = False
        self._has_erased = False
        self._is_place_unwritten = False
        self._erasures.note_written()
        self._count_outputs(outputs)
        return self._refusals.memory()

    def _write_outputs(self, transaction: Transaction, outputs: Sequence[Output]) -> None:
        """Write sessions, block ends and decisions; all name the span of their traced clicks."""
        partition, topic = self._partition, self._topics.sessions
        trace = self._trace(outputs) if self.tracing.is_on else []
        for value, headers in encode_outputs(partition, outputs, self._erasures.closed_to()):
            transaction.produce(topic, str(partition), value, [*headers, *trace], partition)

    def _trace(self, outputs: Sequence[Output]) -> Headers:
        """Record a span for the closed sessions with traced clicks; return its header."""
        closed = [output.key for output in outputs if isinstance(output, OpenSession)]
        contexts = self._traces.take(closed)
        if not contexts:
            return []
        with self.tracing.span(
            "write sessions",
            links=contexts,
            partition=self._partition,
            next_offset=self._next_offset,
        ) as context:
            return header_of(context)

    def _count_dropped_traces(self, contexts: int) -> None:
        self._metrics[m.TRACES_DROPPED].labels(partition=self._partition).inc(contexts)

    def committed(self) -> None:
        """Export the state of the partition as metrics."""
        state = self._window.state
        labels = {"partition": self._partition}
        if state.open_block is not None:
            self._show_open_block(state.open_block)
        if state.watermark is not None:
            self._metrics[m.WATERMARK].labels(**labels).set(state.watermark / 1000)
        self._metrics[m.OPEN_SESSIONS].labels(**labels).set(self._window.open_count)
        self._metrics[m.HELD].labels(**labels).set(len(self._intake.held))
        self._committed_watermark = state.watermark

    def _show_open_block(self, block: int) -> None:
        """Export the open block's number, its length, and when it should end."""
        labels = {"partition": self._partition}
        blocks, lateness = self._rules.blocks, self._rules.sessions.lateness
        self._metrics[m.OPEN_BLOCK].labels(**labels).set(block)
        self._metrics[m.BLOCK_SECONDS].labels(**labels).set(blocks.length_of(block) / 1000)
        due = blocks.start(block + 1) + lateness
        self._metrics[m.OPEN_BLOCK_DUE].labels(**labels).set(due / 1000)

    def _take_all(self, records: list[Record]) -> None:
        """Process records in order; only few must be processed one by one."""
        keys, items, times, event_ids, ignored = self._decoder.decode_plain(records)
        texts, long_ones = each_text_bytes(items)
        _leave_out(long_ones, times, event_ids)
        _leave_out(self._erasures.named(keys), times, event_ids)
        offsets = iter([record.offset() for record in records])
        rows = zip(keys, texts, times, offsets, strict=True)
        clicks = self._intake.new_clicks(rows, event_ids) if event_ids else rows
        taken = 0

        def drawn() -> int:
            return len(records) - length_hint(offsets) - 1

        while other := self._intake.observe_plain(clicks, lambda: written_at_of(records[drawn()])):
            position = drawn()
            self._refusals.accepted += position - taken
            taken = position + 1
            if reason := ignored.get(position):
                self._ignored[reason] += 1
                continue
            key, _, at, _ = other
            event_id = event_ids[position] if event_ids else None
            click = None if at == NOT_PLAIN else Click(key, items[position], at, event_id)
            self._take(records[position], click)
        self._refusals.accepted += len(records) - taken

    def _take(self, record: Record, click: Click | None) -> None:
        """Process a click or a heartbeat, and refuse the clicks that it makes inadmissible.

        `click` is the decoded record, if it is new; None if the record is still to be decoded.
        """
        offset, written_at, intake = record.offset(), written_at_of(record), self._intake
        headers = headers_of(record) if record.value() is None else None
        session: str | None = None
        try:
            if headers is not None:
                self._take_empty(headers, offset, written_at)
            elif self._decoder.explodes:
                self._take_many(record)
                return
            else:
                decoded = click or self._decoder.decode(record)
                session = decoded.key
                self._admit(decoded, offset, 0, written_at, is_new=click is not None)
        except IgnoredError as error:
            self._ignored[error.reason] += 1
        except ClickError as error:
            session = None if headers is not None else self._decoder.session_of(record)
            self._refuse(self._letter(record, headers, session), error)
        if intake.refused:
            self._letters.setdefault(ClickPlace(offset), self._letter(record, headers, session))
            self._refuse_pending()
        if intake.held and (place := ClickPlace(offset)) in intake.held:
            self._letters[place] = self._letter(record, headers, session)

    def _take_many(self, record: Record) -> None:
        """Process the clicks of a record that holds many.

        Those that are refused for the same reason share a dead letter; the others count.
        """
        offset, written_at = record.offset(), written_at_of(record)
        elements = [*self._decoder.decode_each(record)]
        self._more_clicks += len(elements) - 1
        refused: dict[ClickPlace, ClickError] = {}
        keys: dict[ClickPlace, str] = {}
        with self._intake.record_of_many(offset):
            for element, click in elements:
                place = ClickPlace(offset, element)
                if isinstance(click, Click):
                    keys[place] = click.key
                    self._admit(click, offset, element, written_at)
                elif isinstance(click, IgnoredError):
                    self._ignored[click.reason] += 1
                else:
                    refused[place] = click
        keys |= self._keys_of_refused(record, refused)
        self._write_letters_of_many(record, refused, keys)

    def _keys_of_refused(
        self, record: Record, refused: Iterable[ClickPlace]
    ) -> dict[ClickPlace, str]:
        """Return the session keys of clicks that cannot be decoded, as far as they can be read."""
        sessions = self._decoder.sessions_of_each(record) if refused else {}
        return {place: sessions[place.element] for place in refused if place.element in sessions}

    def _write_letters_of_many(
        self,
        record: Record,
        refused: dict[ClickPlace, ClickError],
        keys: Mapping[ClickPlace, str],
    ) -> None:
        """Write the letters of refused clicks, and store those of quarantined ones."""
        for place, error in self._intake.take_refused():
            if place in self._letters:
                self._refuse(self._letters.pop(place), error)
            else:
                refused[place] = error
        by_reason: defaultdict[str, list[ClickPlace]] = defaultdict(list)
        for place in sorted(refused):
            by_reason[refused[place].reason].append(place)
        for places in by_reason.values():
            self._refuse_some(record, places, refused[places[0]], keys)
        held = [place for place in self._intake.held if place.offset == record.offset()]
        for place in held:
            room = max(SMALLEST_LETTER, self._rules.max_letter // len(held))
            self._letters[place] = dead_letter(record, None, room, [place.element], [keys[place]])

    def _refuse_some(
        self,
        record: Record,
        places: Sequence[ClickPlace],
        error: ClickError,
        keys: Mapping[ClickPlace, str],
    ) -> None:
        """Write the one letter of clicks of a record; none of a key that is still to be erased."""
        left = [place for place in places if not self._is_key_erased(keys.get(place), record)]
        self._count_erased("dead_letters", len(places) - len(left))
        if left:
            elements = [place.element for place in left]
            sessions = [keys[place] for place in left if place in keys]
            room = self._rules.max_letter
            self._refuse(dead_letter(record, None, room, elements, sessions), error)

    def _admit(
        self,
        click: Click,
        offset: int,
        element: int,
        written_at: int | None,
        *,
        is_new: bool = False,
    ) -> None:
        """Pass a click to the intake; what that refuses is in its `refused`."""
        intake = self._intake
        self._note_erased(self._erasures.before(intake, click.key, offset))
        intake.observe(click, offset, written_at, is_new=is_new, element=element)
        is_refused = bool(intake.refused) and (offset, element) in dict(intake.refused)
        self._refusals.accepted += not is_refused

    def _refuse_pending(self) -> None:
        """Write the dead letters of clicks that the intake has refused, quarantined ones too."""
        for at, refusal in self._intake.take_refused():
            self._refuse(self._letters.pop(at), refusal)

    def _letter(self, record: Record, headers: Headers | None, session: str | None) -> DeadLetter:
        sessions = [] if session is None else [session]
        return dead_letter(record, headers, self._rules.max_letter, sessions=sessions)

    def _take_empty(self, headers: Headers, offset: int, written_at: int | None) -> None:
        """Process a record without a value: a heartbeat, or a tombstone, which deletes no click."""
        watermark = decode_heartbeat(headers)
        if watermark is None:
            self._ignored["tombstone"] += 1
        else:
            self._intake.heartbeat(watermark, offset, written_at)

    def _refuse(self, letter: DeadLetter, error: ClickError) -> None:
        if self._is_erased(letter):
            self._count_erased("dead_letters", 1)
            return
        letter = with_reason(letter, error)
        self._dead_letters.append((letter["key"], letter))
        clicks = max(1, len(letter["elements"]))
        self._metrics[m.DEAD_LETTERS].labels(reason=error.reason).inc(clicks)
        self._future += clicks * (error.reason == "future")
        if letter["truncated"]:
            self._metrics[m.LETTERS_TRUNCATED].labels(partition=self._partition).inc()
        several = [self._refusals.refuse(error.reason, letter["key"]) for _ in range(clicks)]
        if too_many := next(filter(None, several), ""):
            rule, error_ = self._rules.refusals, letter["error"]
            raise AderError(
                f"{too_many} of partition {self._partition} were refused, the last one at offset "
                f"{letter['offset']} ({error_}); expected at most {rule.ratio:.0%}, and {rule.run} "
                f"in a row. The last of them are not committed: {remedy_for(error.reason)}, or "
                "raise sessionizer.dead_letter_ratio or consecutive_dead_letters"
            )

    def _is_erased(self, letter: DeadLetter) -> bool:
        """Return whether all session keys of a letter are still to be erased.

        Where they could not be read, the record's own key is used.
        """
        keys = letter["sessions"] or [(letter["key"] or b"").decode(errors="replace")]
        return all(
            self._erasures.covers(key, letter["offset"], letter["timestamp"]) for key in keys
        )

    def _is_key_erased(self, key: str | None, record: Record) -> bool:
        at = record.offset(), record.timestamp()[1]
        return key is not None and self._erasures.covers(key, *at)

    def _changes(self, next_offset: int) -> Iterator[Change]:
        """Yield the changes since the last record in the changelog."""
        window = self._window
        if self._rules_change:
            yield RULES_KEY, *self._rules_change
        capped_until = window.state.capped_until
        yield from encode_keys(window.take_changed(), capped_until)
        yield from self._full_changes()
        yield from self._held_changes()
        yield from encode_segments(self._intake.event_ids.take_segments())
        place = next_offset, self._topic.id, self._skipped
        yield encode_partition(window.state, window.open_count, *place, self._erasures.applied)

    def _full_changes(self) -> Iterator[Change]:
        full = {full_key(session): session for session in self._window.full_sessions()}
        for key in sorted(full.keys() - self._logged_full):
            yield encode_full(self._partition, full[key])
        for key in sorted(self._logged_full - full.keys()):
            yield full_tombstone(key)
        self._logged_full = set(full)

    def _held_changes(self) -> Iterator[Change]:
        held = self._intake.held
        for offset in sorted(held):
            if self._logged_held.get(offset) is not held[offset].is_contradicted:
                yield encode_held(offset, held[offset], self._letters[offset])
        for offset in sorted(self._logged_held.keys() - held.keys()):
            yield held_tombstone(offset)
        self._logged_held = {offset: click.is_contradicted for offset, click in held.items()}
        self._letters = {offset: self._letters[offset] for offset in held}

    def _count_closed_early(self, early: Counter[str]) -> None:
        for bound, closed in early.items():
            labels = {"partition": self._partition, "bound": bound}
            self._metrics[m.CLOSED_EARLY].labels(**labels).inc(closed)

    def _count_outputs(self, outputs: Sequence[Output]) -> None:
        kinds = Counter(map(type, outputs))
        labels = {"partition": self._partition}
        self._metrics[m.SESSIONS].labels(**labels).inc(kinds[OpenSession])
        self._metrics[m.BLOCKS].labels(**labels).inc(kinds[BlockEnd])
        self._metrics[m.IDLE_ADVANCES].labels(**labels).inc(kinds[IdleAdvance])


def _leave_out(
    positions: Sequence[int], times: list[int], event_ids: list[str | None] | None
) -> None:
    """Mark clicks of a batch that must be processed one by one."""
    for position in positions:
        times[position] = NOT_PLAIN
        if event_ids:
            event_ids[position] = None
