"""What stream processors are known to get wrong, one test for each, named for it.

Here are those that need no broker. On a real one: `test_takeover` (recovery that hangs, rebalances
that skip), `test_recorded_sessions` and `test_chaos` (the same under kills), `test_partitions`
(idle streams), `test_formats` and `test_dead_letters` (poison).
"""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from ader_stream.stream.avro.codec import decode
from ader_stream.stream.sessions.task import Idling
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from tests.fakes import Clock, FakeKafka, FakeRecord
from tests.unit.stream.sessions.test_task import (
    PARTITION,
    TOPICS,
    Sessionizer,
    UnreadableHeaders,
    click,
    heartbeat,
    keys_of,
    sample,
    written,
)

DAY_SECONDS = 86_400.0


def test_windows_close_on_an_idle_stream(kafka: FakeKafka) -> None:
    clock = Clock()
    hints = WatermarkHints(kafka, TOPICS, clock)
    sessionizer = Sessionizer(kafka, CollectorRegistry(), Idling(60_000, hints, clock)).restore()
    sessionizer.process(click("a", 10))
    sessionizer.commit()
    busy = WatermarkHints(kafka, TOPICS)
    busy.publish(PARTITION + 1, 1500)
    busy._producer.flush(1)
    hints.follow()
    clock.seconds = 60.0
    sessionizer.task.tick(is_at_end=True)
    sessionizer.commit()
    assert keys_of(kafka) == [["a"]]


@pytest.mark.parametrize("seconds_between", [0.0, DAY_SECONDS])
def test_no_wall_clock_closes_a_window_so_a_replay_cuts_what_the_live_run_did(
    kafka: FakeKafka, seconds_between: float
) -> None:
    clock = Clock()
    idling = Idling(60_000, WatermarkHints(kafka, TOPICS, clock), clock)
    sessionizer = Sessionizer(kafka, CollectorRegistry(), idling).restore()
    for offset, time in enumerate([10, 60, 110, 300, 1100]):
        sessionizer.process(click("a", time, offset))
        sessionizer.commit()
        clock.seconds += seconds_between
        sessionizer.task.tick(is_at_end=True)
    cut = [
        value["sessions"][0]["times"]
        for _, name, value in written(kafka, TOPICS.sessions)
        if name == "SessionBatch"
    ]
    assert cut == [[10, 60, 110], [300]]


def test_a_late_event_neither_joins_nor_creates_a_window_that_has_closed(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    sessionizer = Sessionizer(kafka, registry).restore()
    sessionizer.process(click("a", 10), click("b", 1500, 1), click("a", 20, 2), click("c", 30, 3))
    sessionizer.process(heartbeat(2000))
    sessionizer.commit()
    outputs = [(name, value) for _, name, value in written(kafka, TOPICS.sessions)]
    first_end = outputs.index(
        ("BlockEnd", {"partition": 2, "block": 0, "clicks": 1, "sessions": 1, "late": 0})
    )
    [(_, late)] = [one for one in outputs[first_end:] if one[0] == "SessionBatch"]
    assert late["block"] == 1
    carried = {s["key"]: (s["times"], s["carried"]) for s in late["sessions"]}
    assert carried["a"] == ([1500], [{"position": 0, "time": 20}])
    assert carried["c"] == ([1500], [{"position": 0, "time": 30}])


def test_a_rebalance_skips_and_repeats_no_message(kafka: FakeKafka) -> None:
    log = [click("a", 10 * offset, offset) for offset in range(6)]
    first = Sessionizer(kafka, CollectorRegistry()).restore()
    first.process(*log[:2])
    metadata, committed = first.commit(), first.next_offset
    first.process(*log[2:4])  # and it is gone: nobody has committed these
    second = Sessionizer(kafka, CollectorRegistry()).restore(
        committed, metadata=metadata, is_committed=True
    )
    second.process(*log[second.next_offset :])
    second.process(heartbeat(1000))
    second.commit()
    [batch] = [v for _, name, v in written(kafka, TOPICS.sessions) if name == "SessionBatch"]
    assert batch["sessions"][0]["times"] == [0, 10, 20, 30, 40, 50]


def test_dead_letters_do_not_break_the_consumer(kafka: FakeKafka) -> None:
    sessionizer = Sessionizer(kafka, CollectorRegistry()).restore()
    poison = [FakeRecord(b"{", b"k", partition=PARTITION, offset=at) for at in (1, 2)]
    sessionizer.process(click("a", 10), *poison, click("a", 20, 3), heartbeat(1000))
    sessionizer.commit()
    assert keys_of(kafka) == [["a"]]
    letters = kafka.records(TOPICS.dead_letters, PARTITION)
    assert [letter.key() for letter in letters] == [b"k", b"k"]


@pytest.mark.parametrize(
    "poison",
    [
        FakeRecord(b"[" * 200_000),
        FakeRecord(b'{"session": ' + b'{"session": ' * 200_000),
        FakeRecord(b'{"session": "a", "item": "x", "time": ' + b"9" * 5_000 + b"}"),
        FakeRecord(b'{"session": "\\ud800", "item": "x", "time": 1}'),
        FakeRecord(b"\xff" * 1_000),
        FakeRecord(b""),
        UnreadableHeaders(b"{", b"k"),
    ],
    ids=[
        "deep list",
        "deep object",
        "endless number",
        "half a pair",
        "no text",
        "empty",
        "headers that cannot be read",
    ],
)
def test_a_poison_message_is_counted_and_does_not_kill_the_process(
    kafka: FakeKafka, registry: CollectorRegistry, poison: FakeRecord
) -> None:
    sessionizer = Sessionizer(kafka, registry).restore()
    sessionizer.process(poison)
    sessionizer.commit()
    [record] = [*kafka.records(TOPICS.dead_letters, 0), *kafka.records(TOPICS.dead_letters, 2)]
    _, letter = decode(record.value(), record.headers())
    assert sample(registry, "ader_dead_letters_total", reason=letter["reason"]) == 1


@pytest.mark.parametrize("empty", [FakeRecord(None), UnreadableHeaders(None, b"k")])
def test_a_null_value_of_a_compacted_topic_is_passed_over_and_counted(
    kafka: FakeKafka, registry: CollectorRegistry, empty: FakeRecord
) -> None:
    sessionizer = Sessionizer(kafka, registry).restore()
    sessionizer.process(empty)
    sessionizer.commit()
    assert kafka.records(TOPICS.dead_letters, PARTITION) == []
    ignored = {"partition": PARTITION, "reason": "tombstone"}
    assert sample(registry, "ader_ignored_records_total", **ignored) == 1
