"""No content of a record ends a worker: whatever is made of it fits its topic, and comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.stream.avro.codec import decode
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.limits import SMALLEST, RecordLimits
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.sessions.byte_bounds import ByteBounds
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.stream.sessions.task import SessionizerRules, SessionizerTasks
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule, IntakeRule, SessionRule
from tests.fakes import FakeKafka, FakeProducer, FakeRecord

TOPICS = Topics("ader")
GAP, BLOCK = 1_000, 10_000
START = 1_764_450_000_000
START -= START % BLOCK

LIMITS = {
    TOPICS.sessions: SMALLEST,
    TOPICS.sessionizer_state: SMALLEST,
    TOPICS.dead_letters: SMALLEST,
}
BOUNDS = ByteBounds.of(RecordLimits(LIMITS), TOPICS, 64 * 1024, 512 * 1024)
FORMAT = ClickFormat(event_id="id", extra=("url", "ua"), max_bytes=BOUNDS.click)

KEYS = ["a", "a", "b", "é" * 500, "k" * 30_000]
SIZES = [1, 5, 5, 5, 250, 260, 3_000, 20_000, 30_000, 33_000, 500_000]
"""Of an item id, an event id or a field: a click may have some 32,000."""


@st.composite
def clicks(draw: st.DrawFn, time: int) -> bytes:
    size = st.sampled_from(SIZES)
    small = st.sampled_from([1, 5, 5, 40, 41, 900])
    click: dict[str, Any] = {
        "session": draw(st.sampled_from(KEYS)),
        "item": draw(st.sampled_from(["x", "é"])) * draw(size | small | small | small),
        "time": time,
    }
    if draw(st.booleans()):
        click["id"] = f"{time}-" + "i" * draw(small | small | small | size)
    if draw(st.booleans()):
        click |= {"url": "u" * draw(small | small | size), "ua": {"é": [1, "é" * draw(small)]}}
    return json.dumps(click, ensure_ascii=draw(st.booleans())).encode()


@st.composite
def logs(draw: st.DrawFn) -> list[FakeRecord]:
    """Clicks of a few keys, junk, heartbeats and tombstones, around a time that moves on."""
    log: list[FakeRecord] = []
    time = START
    steps = st.sampled_from([0, 1, 1, 10, 10, GAP, GAP + 1, -5, -GAP, 3 * GAP, BLOCK])
    kinds = st.sampled_from(["click"] * 12 + ["repeat"] * 3 + ["junk", "headers", "null", "beat"])
    for kind in draw(st.lists(kinds, max_size=12)):
        time += draw(steps)
        times = [time] if kind != "repeat" else range(time, time + 10)
        for at in times:
            offset = len(log)
            place = {"offset": offset, "timestamp": at, "topic": TOPICS.clicks}
            if kind in ("click", "repeat"):
                log.append(FakeRecord(draw(clicks(at)), b"k", **place))
            elif kind == "junk":
                junk = draw(st.sampled_from([b"", b"{", b"\0" * 3_000_000, b"[" * 30_000]))
                log.append(FakeRecord(junk, draw(st.sampled_from([None, b"j" * 600_000])), **place))
            elif kind == "headers":
                many = [("trace", b"x" * 100)] * draw(st.sampled_from([1, 5_000]))
                log.append(FakeRecord(b"{", b"k", headers=many, **place))
            elif kind == "null":
                log.append(FakeRecord(None, b"k" * draw(st.sampled_from([1, 600_000])), **place))
            else:
                beat = [(WATERMARK_HEADER, str(at).encode())]
                log.append(FakeRecord(headers=beat, **place))
    return log


class Worker:
    """A task that writes to topics which take as little as a topic may."""

    def __init__(self, kafka: FakeKafka, rule: SessionRule, next_offset: int = 0) -> None:
        rules = SessionizerRules(
            BlockRule(0, BLOCK), rule, IntakeRule(0, max_ahead=0), max_letter=BOUNDS.letter
        )
        metrics = Metrics(CollectorRegistry())
        self._kafka = kafka
        self.task = SessionizerTasks(
            kafka, TOPICS, ClickDecoder(FORMAT), rules, metrics, Erasures()
        )([0])[0]
        given = Committed(next_offset)
        place = self.task.place(given if next_offset else None, Extent(0, 1_000))
        self.next_offset = self.task.restore(place or given, 0)
        self.task.begin()

    def process(self, records: Sequence[FakeRecord]) -> None:
        if records:
            self.task.process([*records])
            self.next_offset = records[-1].offset() + 1

    def commit(self) -> None:
        transaction, producer = Transaction(), FakeProducer(self._kafka)
        self.task.write(transaction, self.next_offset)
        producer.begin_transaction()
        transaction.send(producer)
        producer.commit_transaction(1)
        self.task.committed()


def outcome(kafka: FakeKafka) -> tuple[list[Any], list[Any]]:
    """Sessions and letters that were written."""
    sessions, letters = [], []
    for record in kafka.records(TOPICS.sessions):
        type_name, value = decode(record.value(), record.headers())
        if type_name == "SessionBatch":
            sessions += [(value["block"], session) for session in decode_sessions(value)]
    for record in kafka.records(TOPICS.dead_letters):
        _, letter = decode(record.value(), record.headers())
        letters.append((letter["offset"], letter["reason"]))
    return sorted(sessions, key=repr), sorted(letters)


def run(
    log: Sequence[FakeRecord], rule: SessionRule, cuts: Sequence[tuple[int, bool]]
) -> FakeKafka:
    kafka = FakeKafka({name: 1 for name, *_ in TOPICS.specifications(1)})
    for topic, limit in LIMITS.items():
        kafka.configs[topic]["max.message.bytes"] = str(limit)
    worker = Worker(kafka, rule)
    for (begin, _), (end, restarts) in pairwise([(0, False), *sorted(cuts), (len(log), True)]):
        worker.process(log[begin:end])
        worker.commit()
        if restarts:
            worker = Worker(kafka, rule, end)
    end_of_all = [(WATERMARK_HEADER, str(START + 50 * BLOCK).encode())]
    worker.process([FakeRecord(headers=end_of_all, offset=len(log), timestamp=START + 50 * BLOCK)])
    worker.commit()
    return kafka


session_rules = st.builds(
    SessionRule,
    st.just(GAP),
    st.sampled_from([0, 0, 2_500, 3 * BLOCK]),
    st.sampled_from(["carry", "dead-letter"]),
    max_clicks=st.sampled_from([3, 1_000]),
    max_bytes=st.sampled_from([1_024, 20_000, BOUNDS.session, BOUNDS.session]),
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(log=logs(), rule=session_rules, data=st.data())
def test_whatever_is_written_of_a_log_fits_and_restarts_change_nothing(
    log: list[FakeRecord], rule: SessionRule, data: st.DataObject
) -> None:
    places = st.tuples(st.integers(0, len(log)), st.booleans())
    cuts = data.draw(st.lists(places, max_size=5))
    one_by_one = run(log, rule, [(at, False) for at in range(len(log))])
    at_once = run(log, rule, cuts)
    assert outcome(at_once) == outcome(one_by_one)
    taken = sum(len(session.items) for _, session in outcome(at_once)[0])
    reasons = {reason for _, reason in outcome(at_once)[1]}
    assert reasons <= {"malformed", "too-large", "late"}
    assert taken + len(outcome(at_once)[1]) <= len(log)
