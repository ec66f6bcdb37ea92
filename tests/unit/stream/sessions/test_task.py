from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import fastavro
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ader_stream.errors import AderError, OffsetError, TopicError
from ader_stream.metrics import Metrics
from ader_stream.runtime.resources import resource
from ader_stream.runtime.tracing.spans import Tracing
from ader_stream.stream.avro.codec import decode, encode, type_of
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.clicks.refusals import RECENT_CLICKS, RefusalRule
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.sessions.records.partition_state import (
    FULL_KEY,
    PARTITION_KEY,
    RULES_KEY,
    encode_partition,
)
from ader_stream.stream.sessions.task import (
    Idling,
    SessionizerRules,
    SessionizerTask,
    SessionizerTasks,
)
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.stream.sessions.window import ENDLESS, WindowState
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule, IntakeRule, SessionRule
from tests.fakes import Clock, FakeKafka, FakeProducer, FakeRecord, example, smallest

TOPICS = Topics("ader")
PARTITION = 2
GAP = 100
INTAKE = IntakeRule(max_jump=10_000, confirmations=2, held_offsets=10, max_event_ids=5)
NOW = 10_000_000
FAR = 20_500


CONTEXT = f"00-{7:032x}-{7:016x}-01"


class Sessionizer:
    """A task on a cluster in memory, as the loop around it would drive it."""

    def __init__(
        self,
        kafka: FakeKafka,
        registry: CollectorRegistry,
        idling: Idling | None = None,
        erasures: Erasures | None = None,
        max_session: int = ENDLESS,
        format_: ClickFormat | None = None,
        **rule: Any,
    ) -> None:
        sessions = SessionRule(GAP, **rule)
        rules = SessionizerRules(BlockRule(0, 1000), sessions, INTAKE, max_session=max_session)
        decoder = ClickDecoder(format_ or ClickFormat(event_id="id", extra=("price",)))
        self._producer = FakeProducer(kafka)
        self.next_offset = 0
        kafka.partitions.setdefault(TOPICS.clicks, PARTITION + 1)
        self.erasures = Erasures() if erasures is None else erasures
        made_of = decoder, rules, Metrics(registry), self.erasures
        open_tasks = SessionizerTasks(kafka, TOPICS, *made_of, idling, lambda: NOW / 1000)
        self.task = open_tasks([PARTITION])[PARTITION]

    def restore(
        self, next_offset: int = 0, *, metadata: str = "", is_committed: bool = False
    ) -> Sessionizer:
        given = Committed(next_offset, metadata)
        place = self.task.place(given if is_committed else None, Extent(0, 1_000))
        self.next_offset = self.task.restore(place or given, 0)
        self.task.begin()
        return self

    def process(self, *records: FakeRecord) -> None:
        self.task.process([*records])
        self.next_offset = records[-1].offset() + 1

    def commit(self) -> str:
        """Commit and return the offset's metadata."""
        transaction = Transaction()
        metadata = self.task.write(transaction, self.next_offset)
        self._producer.begin_transaction()
        transaction.send(self._producer)
        self._producer.commit_transaction(1)
        self.task.committed()
        return metadata


Make = Callable[..., Sessionizer]


@pytest.fixture
def sessionizer(kafka: FakeKafka, registry: CollectorRegistry) -> Sessionizer:
    return Sessionizer(kafka, registry).restore()


def click(key: str, time: int, offset: int = 0, **extra: object) -> FakeRecord:
    value = {"session": key, "item": f"at {time}", "time": time} | extra
    return FakeRecord(
        json.dumps(value).encode(), key.encode(), partition=PARTITION, offset=offset, timestamp=7
    )


def heartbeat(watermark: int) -> FakeRecord:
    return FakeRecord(headers=[(WATERMARK_HEADER, str(watermark).encode())], partition=PARTITION)


def open_keys(task: SessionizerTask) -> set[str]:
    return {session.key for session in task._window.open_sessions()}


def written(kafka: FakeKafka, topic: str) -> list[tuple[bytes | None, str, dict[str, object]]]:
    return [
        (record.key(), *decode(record.value(), record.headers()))
        for record in kafka.records(topic, PARTITION)
        if record.value() is not None and type_of(record.headers()) != "RulesChange"
    ]


def keys_of(kafka: FakeKafka) -> list[list[str]]:
    """Keys of the sessions in each SessionBatch."""
    return [
        [session["key"] for session in value["sessions"]]
        for _, name, value in written(kafka, TOPICS.sessions)
        if name == "SessionBatch"
    ]


def sample(registry: CollectorRegistry, name: str, **labels: object) -> float | None:
    return registry.get_sample_value(name, {label: str(value) for label, value in labels.items()})


def test_closed_sessions_and_block_ends_are_written_under_the_partitions_number(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", 20), heartbeat(1000))
    sessionizer.commit()
    records = written(kafka, TOPICS.sessions)
    assert [(key, name) for key, name, _ in records] == [
        (b"2", "BlockEnd"),
        (b"2", "SessionBatch"),
        (b"2", "BlockEnd"),
    ]
    assert records[-1][2] == {"partition": 2, "block": 0, "clicks": 2, "sessions": 2, "late": 0}


def test_another_process_continues_with_the_sessions_that_were_open(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10, price=[1.5]), click("b", 20))
    sessionizer.commit()
    sessionizer.process(click("c", 30))  # dies before its commit
    successor = Sessionizer(kafka, CollectorRegistry()).restore(2)
    successor.process(click("a", 90), heartbeat(1000))
    successor.commit()
    assert keys_of(kafka) == [["b", "a"]]
    [*_, (_, _, batch), (_, _, end)] = written(kafka, TOPICS.sessions)
    session = batch["sessions"][1]
    assert session["times"] == [10, 90]
    assert session["extra"] == [{"position": 0, "fields": {"price": "[1.5]"}}]
    assert (end["clicks"], end["sessions"]) == (3, 2)


def test_a_session_that_has_closed_leaves_a_tombstone_in_the_changelog(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10))
    sessionizer.commit()
    sessionizer.process(click("b", 500))
    sessionizer.commit()
    newest = {r.key(): r.value() for r in kafka.records(TOPICS.sessionizer_state, PARTITION)}
    assert newest[b"a"] is None
    assert newest[b"b"] is not None
    assert newest[PARTITION_KEY] is not None
    successor = Sessionizer(kafka, CollectorRegistry()).restore()
    successor.process(heartbeat(1000))
    successor.commit()
    assert keys_of(kafka) == [["a"], ["b"]]


def test_only_what_has_changed_is_written_again(kafka: FakeKafka, sessionizer: Sessionizer) -> None:
    sessionizer.process(click("a", 10), click("b", 20))
    sessionizer.commit()
    before = len(kafka.records(TOPICS.sessionizer_state, PARTITION))
    sessionizer.process(click("b", 30))
    sessionizer.commit()
    new = kafka.records(TOPICS.sessionizer_state, PARTITION)[before:]
    assert [record.key() for record in new] == [b"b", PARTITION_KEY]


def test_a_refused_click_becomes_a_dead_letter_with_all_that_it_was(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    poison = FakeRecord(
        b"{",
        b"\xff",
        headers=[("trace", b"1"), ("none", None)],
        topic="shop.clicks",
        partition=PARTITION,
        offset=41,
        timestamp=99,
    )
    sessionizer.process(poison, click("a", 10, offset=42))
    sessionizer.commit()
    [(key, name, letter)] = written(kafka, TOPICS.dead_letters)
    assert (key, name) == (b"\xff", "DeadLetter")
    assert letter.pop("error")
    assert letter == {
        "topic": "shop.clicks",
        "partition": PARTITION,
        "offset": 41,
        "timestamp": 99,
        "key": b"\xff",
        "value": b"{",
        "headers": [{"name": "trace", "value": b"1"}, {"name": "none", "value": None}],
        "reason": "malformed",
        "truncated": None,
        "elements": [],
        "sessions": [],
    }


@pytest.mark.parametrize(
    "value",
    [
        b'{"\\ud800": 1}',
        b'{"session": "a", "item": "\\ud800", "time": 1}',
        b'{"session": "__partition__", "item": "x", "time": 1}',
        b'{"session": "a", "item": "x", "time": 1, "price": "\\ud800"}',
    ],
)
def test_no_text_that_utf8_cannot_hold_stops_a_commit(
    sessionizer: Sessionizer, value: bytes
) -> None:
    sessionizer.process(FakeRecord(value, b"k"))
    sessionizer.commit()


def test_a_heartbeat_far_outside_of_time_is_a_dead_letter(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), heartbeat(10**18))
    sessionizer.commit()
    [(_, _, letter)] = written(kafka, TOPICS.dead_letters)
    assert letter["reason"] == "bad-value"


def test_headers_that_cannot_be_handed_out_are_asked_for_once(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    poison, empty = UnreadableHeaders(b"{", b"k"), UnreadableHeaders(None, b"k")
    sessionizer.process(poison, empty, click("a", 10))
    sessionizer.commit()
    [(_, _, letter)] = written(kafka, TOPICS.dead_letters)
    assert (letter["value"], letter["headers"]) == (b"{", [])
    assert (poison.asked, empty.asked) == (1, 1)


def test_headers_that_are_fields_are_asked_for_once_too(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    format_ = ClickFormat(item="%item")
    poison = UnreadableHeaders(b'{"session": "a", "time": 5}', b"k")
    reading = Sessionizer(kafka, registry, format_=format_).restore()
    reading.process(poison, FakeRecord(poison.value(), headers=[("item", b"x")]))
    reading.commit()
    [(_, _, letter)] = written(kafka, TOPICS.dead_letters)
    assert (letter["reason"], poison.asked) == ("missing-field", 1)
    assert open_keys(reading.task) == {"a"}


class LinkedSpans(Tracing):
    """Keeps the links of each span; all have the same context."""

    is_on = True

    def __init__(self) -> None:
        self.links: list[list[str]] = []

    @contextmanager
    def span(
        self, name: str, parent: str = "", links: Iterable[str] = (), **attributes: object
    ) -> Iterator[str]:
        self.links.append([*links])
        yield CONTEXT


@pytest.mark.parametrize("item", ["item", "%item"])
def test_headers_are_asked_for_once_where_clicks_are_traced(
    kafka: FakeKafka, registry: CollectorRegistry, item: str
) -> None:
    tracing, value = Sessionizer(kafka, registry, format_=ClickFormat(item=item)), b'{"session": '
    tracing.task.tracing = spans = LinkedSpans()
    poison = UnreadableHeaders(value + b'"a", "item": "x", "time": 5}', b"k")
    headers = [("item", b"x"), ("traceparent", CONTEXT.encode())]
    traced = FakeRecord(value + b'"b", "item": "x", "time": 6}', b"k", headers=headers, offset=1)
    later = FakeRecord(value + b'"c", "item": "x", "time": 500}', headers=headers[:1], offset=2)
    tracing.restore().process(poison, traced, later)
    tracing.commit()
    assert (poison.asked, spans.links) == (1, [[CONTEXT]])
    headers_of_each = [dict(r.headers()) for r in kafka.records(TOPICS.sessions, PARTITION)]
    [batch] = [found for found in headers_of_each if found["ader-type"] == b"SessionBatch"]
    assert batch["traceparent"] == CONTEXT.encode()


def test_tombstones_are_passed_over_and_counted_however_many_there_are(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    tombstones = [FakeRecord(None, b"a", headers=[("trace", b"1")])] * 2 * RECENT_CLICKS
    sessionizer.process(click("a", 10), *tombstones, click("a", 20), heartbeat(1000))
    sessionizer.commit()
    assert written(kafka, TOPICS.dead_letters) == []
    assert keys_of(kafka) == [["a"]]
    ignored = {"partition": PARTITION, "reason": "tombstone"}
    assert sample(registry, "ader_ignored_records_total", **ignored) == 2 * RECENT_CLICKS


def test_tombstones_between_refused_clicks_make_no_run_shorter(sessionizer: Sessionizer) -> None:
    with pytest.raises(AderError, match="501 clicks in a row"):
        sessionizer.process(*[FakeRecord(b"{"), FakeRecord(None)] * 501)


VIEWS = ClickFormat(where='kind == "view"', ignore_keys=("null",))


def test_records_that_are_no_clicks_are_counted_and_leave_event_time_and_letters_alone(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    filtering = Sessionizer(kafka, registry, format_=VIEWS).restore()
    carts = [click("a", 900, kind="cart"), FakeRecord(b'{"kind": "page"}')] * RECENT_CLICKS
    filtering.process(*carts, click("a", 10, kind="view"), click("null", 900, 7, kind="view"))
    filtering.commit()
    assert (open_keys(filtering.task), filtering.task.window.watermark) == ({"a"}, 10)
    assert written(kafka, TOPICS.dead_letters) == []
    assert [fields["next_offset"] for _, name, fields in written(kafka, TOPICS.sessionizer_state)
            if name == "PartitionState"] == [8]  # fmt: skip
    counted = {
        reason: sample(registry, "ader_ignored_records_total", partition=PARTITION, reason=reason)
        for reason in ("where", "key")
    }
    assert counted == {"where": 2 * RECENT_CLICKS, "key": 1}


def test_ignored_records_between_refused_clicks_make_no_run_shorter(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    filtering = Sessionizer(kafka, registry, format_=VIEWS).restore()
    with pytest.raises(AderError, match="501 clicks in a row"):
        filtering.process(*[FakeRecord(b'{"kind": "view"}'), click("a", 10, kind="cart")] * 501)


class UnreadableHeaders(FakeRecord):
    """A record one of whose headers has a name that is no UTF-8."""

    asked = 0

    def headers(self) -> None:
        self.asked += 1
        raise SystemError("returned a result with an exception set")


def test_a_late_click_is_a_dead_letter_where_the_rule_says_so(kafka: FakeKafka) -> None:
    refusing = Sessionizer(kafka, CollectorRegistry(), late="dead-letter").restore()
    refusing.process(click("a", 10), click("b", 500), click("a", 20))
    refusing.commit()
    [(_, _, letter)] = written(kafka, TOPICS.dead_letters)
    assert letter["reason"] == "late"


def test_a_held_click_is_handed_over_and_becomes_a_dead_letter_with_all_that_it_was(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("bad", FAR, offset=1))
    sessionizer.commit()
    sessionizer.process(click("b", 20, offset=2))
    sessionizer.commit()
    assert not written(kafka, TOPICS.dead_letters)
    successor = Sessionizer(kafka, CollectorRegistry()).restore(3)
    successor.process(click("b", 20, offset=11))
    successor.commit()
    [(key, _, letter)] = written(kafka, TOPICS.dead_letters)
    assert key == b"bad"
    assert letter["value"] == click("bad", FAR).value()
    assert (letter["offset"], letter["timestamp"], letter["reason"]) == (1, 7, "future")
    assert "fewer than 2 of them came near it" in str(letter["error"])
    assert kafka.records(TOPICS.sessionizer_state, PARTITION)[-2].value() is None
    assert not Sessionizer(kafka, CollectorRegistry()).restore().task._intake.held


def test_a_held_click_is_handed_over_and_taken_when_others_confirm_it(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", FAR, offset=1, price=3))
    sessionizer.commit()
    successor = Sessionizer(kafka, CollectorRegistry()).restore(2)
    successor.process(click("c", FAR, offset=2), click("d", FAR, offset=3), heartbeat(2 * FAR))
    successor.commit()
    assert keys_of(kafka)[-1] == ["b", "c", "d"]
    [batch] = [v for _, name, v in written(kafka, TOPICS.sessions) if name == "SessionBatch"][-1:]
    assert batch["sessions"][0]["extra"] == [{"position": 0, "fields": {"price": "3"}}]


def test_a_duplicate_is_known_to_the_next_owner(kafka: FakeKafka, sessionizer: Sessionizer) -> None:
    sessionizer.process(click("a", 10, id="x"), click("a", 20, offset=1, id="y"))
    sessionizer.commit()
    registry = CollectorRegistry()
    successor = Sessionizer(kafka, registry).restore(2)
    successor.process(click("a", 10, offset=2, id="x"), click("a", 30, offset=3, id="z"))
    successor.process(heartbeat(1000))
    successor.commit()
    [batch] = [v for _, name, v in written(kafka, TOPICS.sessions) if name == "SessionBatch"]
    assert batch["sessions"][0]["times"] == [10, 20, 30]
    assert sample(registry, "ader_duplicate_clicks_total", partition=PARTITION) == 1


def test_what_a_bound_has_closed_is_known_to_the_next_owner(kafka: FakeKafka) -> None:
    registry = CollectorRegistry()
    first = Sessionizer(kafka, registry, max_clicks=2).restore()
    first.process(click("bot", 10), click("bot", 20))
    first.commit()
    assert sample(registry, "ader_sessions_closed_early_total", partition=2, bound="clicks") == 1
    successor = Sessionizer(kafka, CollectorRegistry(), max_clicks=2).restore(2)
    successor.process(click("bot", 20), heartbeat(1000))
    successor.commit()
    batches = [v for _, name, v in written(kafka, TOPICS.sessions) if name == "SessionBatch"]
    assert [batch["sessions"][0]["times"] for batch in batches] == [[10, 20], [21]]


def test_a_session_that_came_and_went_between_two_commits_leaves_no_trace_in_the_changelog(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", 500))
    sessionizer.commit()
    changelog = kafka.records(TOPICS.sessionizer_state, PARTITION)
    assert [record.key() for record in changelog] == [RULES_KEY, b"b", PARTITION_KEY]


def test_the_process_stops_when_too_many_of_the_last_clicks_were_refused(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    pairs = RECENT_CLICKS // 2
    sessionizer.process(*[click("a", 10), FakeRecord(b"{")] * pairs)
    with pytest.raises(AderError, match=rf"{pairs + 1} of the last .* at offset 4711 "):
        sessionizer.process(FakeRecord(b"{", offset=4711))
    assert not kafka.records(TOPICS.dead_letters, PARTITION)


def test_a_process_that_is_started_again_does_not_restart_its_count(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    run = RefusalRule().run
    sessionizer.process(*[FakeRecord(b"{")] * run)
    metadata = sessionizer.commit()
    successor = Sessionizer(kafka, CollectorRegistry()).restore(
        1, metadata=metadata, is_committed=True
    )
    with pytest.raises(AderError, match=f"{run + 1} clicks in a row of partition {PARTITION}"):
        successor.process(FakeRecord(b"{"))


def test_metrics_show_where_the_partition_stands(
    registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(
        click("a", 10), click("b", 1500), click("a", 20), click("c", 1550), FakeRecord(b"{")
    )
    sessionizer.commit()
    at = {"partition": PARTITION}
    assert sample(registry, "ader_sessions_total", **at) == 1
    assert sample(registry, "ader_block_ends_total", **at) == 2
    assert sample(registry, "ader_late_clicks_total", **at) == 1
    assert sample(registry, "ader_open_sessions", **at) == 3
    assert sample(registry, "ader_open_block", **at) == 1
    assert sample(registry, "ader_block_seconds", **at) == 1
    assert sample(registry, "ader_open_block_due_seconds", **at) == 2
    assert sample(registry, "ader_watermark_seconds", **at) == 1.55
    assert sample(registry, "ader_dead_letters_total", reason="malformed") == 1


def test_there_is_nothing_to_write_without_a_record(sessionizer: Sessionizer) -> None:
    sessionizer.commit()
    sessionizer.task.tick(is_at_end=True)
    assert not sessionizer.task.is_dirty()


def test_where_reading_begins_is_written_before_the_first_record_comes(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    beginning = Sessionizer(kafka, CollectorRegistry()).restore(17)
    assert beginning.task.is_dirty()
    beginning.commit()
    assert not beginning.task.is_dirty()
    assert Sessionizer(kafka, CollectorRegistry()).restore(99).next_offset == 17


def test_a_changelog_that_cannot_be_read_is_not_passed_over(kafka: FakeKafka) -> None:
    value, _ = encode("PartitionState", {"watermark": 1, "open_block": 1, "counts": []})
    kafka.append(TOPICS.sessionizer_state, value, PARTITION_KEY, [], PARTITION)
    with pytest.raises(AderError, match="ader-type"):
        Sessionizer(kafka, CollectorRegistry()).restore()


# --- where reading continues


def last_state(kafka: FakeKafka) -> tuple[bytes | None, Any]:
    """Value and headers of the partition's own record."""
    records = kafka.records(TOPICS.sessionizer_state, PARTITION)
    record = [record for record in records if record.key() == PARTITION_KEY][-1]
    return record.value(), record.headers()


def test_an_offset_that_the_group_has_lost_is_known_to_the_changelog(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10, offset=6))
    sessionizer.commit()
    successor = Sessionizer(kafka, CollectorRegistry()).restore(0)
    assert successor.next_offset == 7
    assert successor.task.is_dirty()  # the group is to know it again


def test_an_offset_that_somebody_has_moved_is_named(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10, offset=6))
    sessionizer.commit()
    with pytest.raises(OffsetError, match=r"clicks/2: the group continues at offset 3, .* at 7"):
        Sessionizer(kafka, CollectorRegistry()).restore(3, is_committed=True)


def test_an_offset_that_somebody_has_moved_behind_records_that_are_lost_is_a_loss(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10, offset=6))
    sessionizer.commit()
    task = Sessionizer(kafka, CollectorRegistry()).task
    with pytest.raises(OffsetError, match=r"clicks/2: 8 records, offsets 7 to 14, were deleted"):
        task.place(Committed(15), Extent(15, 20))


def test_records_that_were_skipped_are_shown_by_the_worker_that_has_the_partition(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    _, value, headers = encode_partition(WindowState(), 0, 150, TOPICS.clicks, skipped=50)
    kafka.append(TOPICS.sessionizer_state, value, PARTITION_KEY, headers, PARTITION)
    registry = CollectorRegistry()
    successor = Sessionizer(kafka, registry).restore(150, is_committed=True)
    assert sample(registry, "ader_skipped_records_total", partition=PARTITION) == 50
    successor.process(click("a", 10, offset=150))
    successor.commit()
    _, state = decode(*last_state(kafka))
    assert (state["next_offset"], state["skipped"]) == (151, 50)


def test_a_topic_that_was_deleted_and_made_again_is_named(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10, offset=6))
    sessionizer.commit()
    kafka.topic_ids[TOPICS.clicks] = "another"
    with pytest.raises(TopicError, match=r"deleted and created again.*ader-stream reset --yes"):
        Sessionizer(kafka, CollectorRegistry()).restore(7, is_committed=True)


# --- idle partitions


@pytest.fixture
def hints(kafka: FakeKafka, clock: Clock) -> WatermarkHints:
    return WatermarkHints(kafka, TOPICS, clock)


@pytest.fixture
def idler(kafka: FakeKafka, clock: Clock, hints: WatermarkHints) -> Sessionizer:
    return Sessionizer(kafka, CollectorRegistry(), Idling(60_000, hints, clock)).restore()


def publish(kafka: FakeKafka, hints: WatermarkHints, stream_time: int) -> None:
    other = WatermarkHints(kafka, TOPICS)
    other.publish(0, stream_time)
    other._producer.flush(1)
    hints.follow()


def test_a_window_closes_on_an_idle_partition(
    kafka: FakeKafka, clock: Clock, hints: WatermarkHints, idler: Sessionizer
) -> None:
    idler.process(click("a", 10, offset=4))
    idler.commit()
    publish(kafka, hints, 1500)
    clock.seconds = 60.0
    idler.task.tick(is_at_end=True)
    assert idler.task.is_dirty()
    idler.commit()
    assert not idler.task.is_dirty()
    records = written(kafka, TOPICS.sessions)[1:]
    assert [name for _, name, _ in records] == ["IdleAdvance", "SessionBatch", "BlockEnd"]
    assert records[0][2] == {"partition": PARTITION, "next_offset": 5, "watermark": 1500}


def test_an_empty_partition_ends_the_blocks_that_the_others_have_ended(
    kafka: FakeKafka, clock: Clock, hints: WatermarkHints, idler: Sessionizer
) -> None:
    publish(kafka, hints, 1500)
    clock.seconds = 60.0
    idler.task.tick(is_at_end=True)
    idler.commit()
    assert [value.get("block") for _, _, value in written(kafka, TOPICS.sessions)] == [None, 0]


@pytest.mark.parametrize(("seconds", "is_at_end"), [(59.0, True), (61.0, False)])
def test_a_partition_that_is_not_idle_follows_nobody(
    kafka: FakeKafka,
    clock: Clock,
    hints: WatermarkHints,
    idler: Sessionizer,
    seconds: float,
    is_at_end: bool,
) -> None:
    clock.seconds = 10.0
    idler.process(click("a", 10))
    idler.commit()
    publish(kafka, hints, 1500)
    clock.seconds = 10.0 + seconds
    idler.task.tick(is_at_end=is_at_end)
    assert not idler.task.is_dirty()


def test_a_partition_of_nothing_but_ignored_records_is_idle(
    kafka: FakeKafka, clock: Clock, hints: WatermarkHints, registry: CollectorRegistry
) -> None:
    idling = Idling(60_000, hints, clock)
    filtering = Sessionizer(kafka, registry, idling, format_=VIEWS).restore()
    filtering.process(click("a", 10, kind="view"))
    filtering.commit()
    publish(kafka, hints, 1500)
    clock.seconds = 50.0
    filtering.process(click("a", 900, 1, kind="cart"), FakeRecord(None, offset=2))
    clock.seconds = 60.0
    filtering.task.tick(is_at_end=True)
    assert filtering.task.window.watermark == 1500


def test_an_idle_partition_never_goes_back(
    kafka: FakeKafka, clock: Clock, hints: WatermarkHints, idler: Sessionizer
) -> None:
    idler.process(click("a", 2000))
    idler.commit()
    publish(kafka, hints, 1500)
    clock.seconds = 60.0
    idler.task.tick(is_at_end=True)
    assert not idler.task.is_dirty()


def test_an_advance_is_made_once_a_second(
    kafka: FakeKafka, clock: Clock, hints: WatermarkHints, idler: Sessionizer
) -> None:
    for now, stream_time in [(60.0, 100), (60.5, 200), (61.0, 300)]:
        publish(kafka, hints, stream_time)
        clock.seconds = now
        idler.task.tick(is_at_end=True)
    idler.commit()
    advances = [v for _, name, v in written(kafka, TOPICS.sessions) if name == "IdleAdvance"]
    assert [advance["watermark"] for advance in advances] == [100, 300]


def test_a_partition_tells_the_others_how_far_it_has_come(
    kafka: FakeKafka, clock: Clock, hints: WatermarkHints, idler: Sessionizer
) -> None:
    for now, time in [(10.0, 1230), (10.1, 1234), (11.0, 0)]:
        clock.seconds = now
        if time:
            idler.process(click("a", time))
            idler.commit()
        idler.task.tick(is_at_end=True)
    hints._producer.flush(1)
    hints.follow()
    assert hints.highest(limit=2000) == 1234


def test_quarantined_clicks_are_taken_where_the_log_has_come_to_rest(
    kafka: FakeKafka, clock: Clock, idler: Sessionizer
) -> None:
    idler.process(click("a", 10), click("b", FAR, offset=1))
    idler.commit()
    clock.seconds = 60.0
    idler.task.tick(is_at_end=True)
    idler.commit()
    assert keys_of(kafka) == [["a"]]
    assert not Sessionizer(kafka, CollectorRegistry()).restore().task._intake.held


def test_a_hint_that_is_ahead_of_the_clock_is_not_followed(
    kafka: FakeKafka, clock: Clock, hints: WatermarkHints, idler: Sessionizer
) -> None:
    idler.process(click("a", 10))
    idler.commit()
    publish(kafka, hints, NOW + INTAKE.max_ahead + 1)
    clock.seconds = 60.0
    idler.task.tick(is_at_end=True)
    assert not idler.task.is_dirty()


def test_a_partition_that_waits_for_event_time_says_so_once(
    clock: Clock, idler: Sessionizer
) -> None:
    idler.process(click("a", 10))
    with capture_logs() as lines:
        for clock.seconds in (60.0, 70.0):
            idler.task.tick(is_at_end=True)
    assert [line["open_sessions"] for line in lines] == [1]


@pytest.mark.parametrize(("late", "reason"), [("carry", "future"), ("dead-letter", "late")])
def test_clicks_of_many_wrong_clocks_stop_the_worker(
    kafka: FakeKafka, late: str, reason: str
) -> None:
    sessionizer = Sessionizer(kafka, CollectorRegistry(), late=late).restore()
    sessionizer.process(click("a", 5_000, offset=0))
    time = NOW if reason == "future" else 10
    wrong = [click(f"k{n}", time, offset=n) for n in range(1, 1_001)]
    with pytest.raises(AderError, match=r"501 clicks in a row .*check clicks\.time_format"):
        sessionizer.process(*wrong)


def test_that_most_clicks_are_late_is_said_once_in_a_while(kafka: FakeKafka) -> None:
    sessionizer = Sessionizer(kafka, CollectorRegistry()).restore()
    sessionizer.process(click("ahead", 5_000))
    late = [click(f"k{n}", 10, offset=n) for n in range(1, 3_001)]
    with capture_logs() as lines:
        for start in range(0, 3_000, 500):
            sessionizer.process(*late[start : start + 500])
    said = [line for line in lines if line["event"].startswith("most clicks are late")]
    assert [(line["partition"], line["clicks"], line["late"]) for line in said] == [
        (PARTITION, 1_001, 1_000)
    ]


def test_that_most_clicks_lie_ahead_of_this_machines_clock_is_said_before_they_stop_the_worker(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    sessionizer = Sessionizer(kafka, registry).restore()
    ahead = NOW + 10 * INTAKE.max_ahead
    live = [written_click(f"k{n}", ahead + n, n, timestamp=ahead + n + 1) for n in range(40)]
    with capture_logs() as lines:
        sessionizer.process(*live)
    [said] = [line for line in lines if "check the clock of this machine" in line["event"]]
    assert (said["clicks"], said["future"], said["clock"]) == (40, 40, NOW)


@pytest.mark.parametrize("is_committed", [False, True])
def test_sessions_without_the_state_they_were_written_with_are_refused(
    kafka: FakeKafka, is_committed: bool
) -> None:
    before = Sessionizer(kafka, CollectorRegistry()).restore()
    before.process(click("a", 10))
    before.commit()
    kafka.log[TOPICS.sessionizer_state, PARTITION].clear()
    after = Sessionizer(kafka, CollectorRegistry())
    with pytest.raises(OffsetError, match=r"topic was deleted.*ader-stream reset --yes"):
        after.restore(before.next_offset, is_committed=is_committed)


def test_a_place_that_a_worker_has_committed_without_anything_beside_it_is_refused(
    kafka: FakeKafka,
) -> None:
    before = Sessionizer(kafka, CollectorRegistry()).restore()
    before.process(click("a", 10))
    metadata = before.commit()
    kafka.log[TOPICS.sessionizer_state, PARTITION].clear()
    kafka.log[TOPICS.sessions, PARTITION].clear()
    after = Sessionizer(kafka, CollectorRegistry())
    with pytest.raises(OffsetError, match=r"is empty, although the group's offset is not"):
        after.restore(before.next_offset, is_committed=True, metadata=metadata)
    after.restore(before.next_offset, is_committed=True)  # a first place, or one that was set


def test_a_state_that_was_deleted_in_part_is_refused(kafka: FakeKafka) -> None:
    before = Sessionizer(kafka, CollectorRegistry()).restore()
    before.process(click("a", 10), click("b", 11, offset=1))
    before.commit()
    state = kafka.log[TOPICS.sessionizer_state, PARTITION]
    lost = next(n for n, record in enumerate(state) if record and record.key() == b"a")
    state[lost] = None
    after = Sessionizer(kafka, CollectorRegistry())
    with pytest.raises(OffsetError, match=r"holds 1 of 2 open sessions.*ader-stream reset --yes"):
        after.restore(before.next_offset, is_committed=True)


def test_an_open_session_that_our_topics_take_no_more_is_refused_at_the_start(
    kafka: FakeKafka,
) -> None:
    before = Sessionizer(kafka, CollectorRegistry()).restore()
    before.process(*[click("a", 10 + n, offset=n) for n in range(30)])
    before.commit()
    smaller = Sessionizer(kafka, CollectorRegistry(), max_session=100)
    with pytest.raises(
        TopicError, match=r"open session of partition .* `ader-stream topics alter`"
    ):
        smaller.restore(before.next_offset, is_committed=True)


# --- clocks


def written_click(key: str, time: int, offset: int, timestamp: int) -> FakeRecord:
    value = {"session": key, "item": "x", "time": time, "id": f"{offset}"}
    return FakeRecord(
        json.dumps(value).encode(), partition=PARTITION, offset=offset, timestamp=timestamp
    )


@pytest.mark.parametrize("count", [1, 40])
def test_clicks_ahead_of_their_records_are_refused_among_any_number_of_others(
    kafka: FakeKafka, sessionizer: Sessionizer, count: int
) -> None:
    good = [written_click(f"v{n}", NOW + n, n, NOW) for n in range(count)]
    bad = written_click("bad", NOW + INTAKE.max_ahead + 1, count, NOW)
    sessionizer.process(*good, bad, written_click("w", NOW + count, count + 1, NOW))
    sessionizer.commit()
    assert [v["offset"] for _, _, v in written(kafka, TOPICS.dead_letters)] == [count]
    assert sessionizer.task._window.watermark == NOW + count


def test_what_the_clock_refuses_is_logged_with_the_sessions(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    future = NOW + INTAKE.max_ahead + 1
    sessionizer.process(written_click("a", NOW, 0, NOW), written_click("b", future, 1, future))
    sessionizer.commit()
    assert [v["reason"] for _, _, v in written(kafka, TOPICS.dead_letters)] == ["future"]
    refusals = [v for _, name, v in written(kafka, TOPICS.sessions) if name == "ClockRefusal"]
    assert refusals == [{"partition": PARTITION, "offset": 1, "element": 0}]


def test_a_heartbeat_ahead_of_its_record_is_believed_in_part_and_counted(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    headers = [(WATERMARK_HEADER, str(2 * NOW).encode())]
    beat = FakeRecord(headers=headers, partition=PARTITION, offset=1, timestamp=NOW)
    sessionizer.process(written_click("a", NOW, 0, NOW), beat)
    assert sessionizer.task._window.watermark == NOW + INTAKE.max_ahead
    capped = sample(registry, "ader_heartbeats_capped_total", partition=PARTITION)
    assert capped == 1


# --- sizes


def test_no_number_of_clicks_that_are_too_large_stops_the_worker(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    large = [click("bot", 10 + n, offset=n, price="x" * 70_000) for n in range(RECENT_CLICKS + 1)]
    sessionizer.process(*large, click("a", 20, offset=5_000))
    sessionizer.commit()
    letters = written(kafka, TOPICS.dead_letters)
    assert {letter["reason"] for _, _, letter in letters} == {"too-large"}
    assert sample(registry, "ader_dead_letters_total", reason="too-large") == len(letters)
    assert open_keys(sessionizer.task) == {"a"}


def test_a_letter_that_is_too_large_is_truncated_and_counted(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(FakeRecord(b"{" * 5_000_000, b"k" * 2_000, partition=PARTITION, offset=3))
    sessionizer.commit()
    [(key, _, letter)] = written(kafka, TOPICS.dead_letters)
    assert key == b"k" * 1_024
    assert letter["value"] == b"{" * 65_536
    assert letter["truncated"]["value_bytes"] == 5_000_000
    assert sample(registry, "ader_dead_letters_truncated_total", partition=PARTITION) == 1


def test_full_sessions_that_wait_for_their_block_have_records_of_their_own(
    kafka: FakeKafka,
) -> None:
    rule = {"lateness": 500, "max_clicks": 2}
    first = Sessionizer(kafka, CollectorRegistry(), **rule).restore()
    first.process(click("z", 900), *[click("bot", 1_000 + n, offset=1 + n) for n in range(5)])
    first.commit()
    newest = {r.key(): r for r in kafka.records(TOPICS.sessionizer_state, PARTITION)}
    full = [key for key in newest if (key or b"").startswith(FULL_KEY)]
    assert len(full) == 2
    [growing] = decode(newest[b"bot"].value(), newest[b"bot"].headers())[1]["sessions"]
    assert growing["items"] == ["at 1004"]
    second = Sessionizer(kafka, CollectorRegistry(), **rule).restore(6, is_committed=True)
    second.process(heartbeat(5_000))
    second.commit()
    assert keys_of(kafka) == [["z"], ["bot", "bot", "bot"]]
    newest = {r.key(): r for r in kafka.records(TOPICS.sessionizer_state, PARTITION)}
    assert all(newest[key].value() is None for key in (*full, b"bot"))


def test_full_sessions_that_an_earlier_version_wrote_are_kept_once(kafka: FakeKafka) -> None:
    columns = {"items": ["x"], "carried": [], "extra": []}
    sessions = [
        columns | {"block": 1, "times": [1_010], "is_full": True},
        columns | {"block": 1, "times": [1_050], "is_full": False},
    ]
    value, headers = encode("OpenSessions", {"sessions": sessions, "capped_until": 1_010})
    kafka.append(TOPICS.sessionizer_state, value, "bot", headers, PARTITION)
    state = {"watermark": 500, "open_block": 0, "next_offset": 3}
    value, headers = encode("PartitionState", state)
    kafka.append(TOPICS.sessionizer_state, value, PARTITION_KEY, headers, PARTITION)
    rule = {"lateness": 600, "max_clicks": 2}
    first = Sessionizer(kafka, CollectorRegistry(), **rule).restore(3, is_committed=True)
    first.process(click("a", 1_000, offset=3))
    first.commit()
    second = Sessionizer(kafka, CollectorRegistry(), **rule).restore(4, is_committed=True)
    second.process(heartbeat(5_000))
    second.commit()
    assert sorted(key for batch in keys_of(kafka) for key in batch) == ["a", "bot", "bot"]


def test_a_letter_that_an_earlier_version_wrote_beside_a_held_click_is_read(
    kafka: FakeKafka,
) -> None:
    older = fastavro.parse_schema(
        json.loads(resource("schemas", "older", "DeadLetter.1.avsc").read_text("utf-8"))
    )
    letter = smallest(older) | {"topic": "shop.clicks", "offset": 7, "value": b"as it was"}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, older, letter)
    held = example("HeldClick") | {"session": "bad", "item": "x", "time": FAR, "offset": 7}
    value, headers = encode("HeldClick", held | {"letter": buffer.getvalue()})
    kafka.append(TOPICS.sessionizer_state, value, PARTITION_KEY + b"/held/7", headers, PARTITION)
    state = {"watermark": 10, "open_block": 0, "next_offset": 8}
    value, headers = encode("PartitionState", state)
    kafka.append(TOPICS.sessionizer_state, value, PARTITION_KEY, headers, PARTITION)
    task = Sessionizer(kafka, CollectorRegistry()).restore(8, is_committed=True).task
    added = {"truncated": None, "elements": [], "sessions": []}
    assert [*task._letters.values()] == [letter | added]
