"""Whatever clocks, reading, hearing, crashes: what is kept is what no request covers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.stream.avro.codec import decode
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.clicks.refusals import RefusalRule
from ader_stream.stream.control.commands import Command
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.sessions import partition_erasures
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.stream.sessions.task import SessionizerRules, SessionizerTasks
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule, IntakeRule, SessionRule
from tests.fakes import FakeKafka, FakeProducer, FakeRecord

TOPICS = Topics("ader")
RULES = BlockRule(0, 10_000), SessionRule(gap=100), IntakeRule(max_jump=0, max_ahead=0)
KEYS = "abc"
FAR_AHEAD = 100_000

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("click"),
            st.sampled_from(KEYS),
            st.sampled_from([0, 0, 1, 60, 150, 30_000, -150, -30_000]),
        ),
        st.tuples(st.just("ask"), st.sampled_from(KEYS)),
        st.tuples(st.just("read"), st.integers(1, 6)),
        *(st.tuples(st.just(name)) for name in ("follow", "commit", "die", "move")),
        st.tuples(st.just("tick"), st.integers(1, 5)),
    ),
    min_size=20,
    max_size=80,
)


@dataclass
class Shop:
    """A partition, its sessionizer and its follower; requests are heard of now or later."""

    hears_at_once: bool
    kafka: FakeKafka = field(default_factory=lambda: FakeKafka(partitions={TOPICS.clicks: 1}))
    erasures: Erasures = field(default_factory=Erasures)
    records: list[FakeRecord] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    asked: list[tuple[str, Command]] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    heard_at: dict[str, int] = field(default_factory=dict)
    now: int = 1_000
    next_offset: int = 0
    read_to: int = 0
    committed: int = 0
    followed: int = 0

    def __post_init__(self) -> None:
        self.producer = FakeProducer(self.kafka)
        self.follower = self._new_follower()
        self.die()

    # --- what the steps do

    def click(self, key: str, jump: int) -> None:
        offset = len(self.records)
        self.now += 1
        time = max(0, self.now + jump)
        value = json.dumps({"session": key, "item": f"{offset}", "time": time}).encode()
        self.records.append(FakeRecord(value, key.encode(), offset=offset, timestamp=time))
        self.keys.append(key)

    def ask(self, key: str) -> None:
        self.ends[key] = len(self.records)
        request = erasure_request(key, self.erasures, (len(self.records),), TOPICS.clicks, at=0)
        self.asked.append((key, request))
        if self.hears_at_once:
            self.follow()

    def follow(self) -> None:
        for key, request in self.asked:
            self.erasures.take(request, self.erasures.next_offset + 1)
            self.heard_at[key] = self.read_to
        self.asked.clear()

    def read(self, count: int) -> None:
        batch = self.records[self.next_offset : self.next_offset + count]
        if batch:
            self.task.process(batch)
            self.next_offset += len(batch)
            self.read_to = max(self.read_to, self.next_offset)

    def tick(self, count: int) -> None:
        for _ in range(count):
            self.task.tick(is_at_end=False)
            self.follower.erase()

    def commit(self) -> None:
        transaction = Transaction()
        self.task.write(transaction, self.next_offset)
        self.producer.begin_transaction()
        transaction.send(self.producer)
        self.producer.commit_transaction(1)
        self.task.committed()
        self.committed = self.next_offset
        self.follower.observe(self.records[self.followed : self.committed])
        self.followed = self.committed

    def die(self) -> None:
        rules = SessionizerRules(*RULES, RefusalRule(ratio=1.0, run=10**6))
        made_of = ClickDecoder(ClickFormat()), rules, Metrics(CollectorRegistry()), self.erasures
        [self.task] = SessionizerTasks(self.kafka, TOPICS, *made_of)([0]).values()
        place = self.task.place(Committed(self.committed), Extent(0, 10**6))
        self.next_offset = self.task.restore(place or Committed(self.committed), 0)
        self.task.begin()

    def move(self) -> None:
        """Let another worker follow."""
        metadata = self.follower.metadata()
        self.follower = self._new_follower()
        read_from = self.follower.resume(metadata, self.followed)
        self.follower.observe(self.records[read_from : self.followed])

    def _new_follower(self) -> PrefixFollower:
        erasures = PartitionErasures(self.erasures, 0, TOPICS.clicks)
        return PrefixFollower(ClickDecoder(ClickFormat()), *RULES, erasures)

    # --- how it ends

    def finish(self) -> None:
        """Read and apply all."""
        self.follow()
        self.read(len(self.records) + 1)
        self.commit()
        self.tick(len(self.records) + len(self.ends) + 2)
        self.commit()

    def close(self) -> None:
        """Close what is open."""
        headers = [(WATERMARK_HEADER, str(self.now + FAR_AHEAD).encode())]
        self.records.append(FakeRecord(headers=headers, offset=len(self.records), timestamp=0))
        self.read(1)
        self.commit()

    def open_clicks(self) -> tuple[list[str], list[str]]:
        """Clicks in open sessions, of the sessionizer and of the follower."""
        windows = self.task.window, self.follower._window
        first, second = ([*window.open_sessions()] for window in windows)
        return sorted(i for s in first for i in s.items), sorted(i for s in second for i in s.items)

    def kept(self) -> list[int]:
        """Clicks of the sessions that a trainer does not leave out."""
        kept = []
        for record in self.kafka.records(TOPICS.sessions, 0):
            name, value = decode(record.value(), record.headers())
            for session in decode_sessions(value) if name == "SessionBatch" else ():
                erasure = self.erasures.of(session.key)
                if not (erasure and erasure.covers_closed(session.erased_to, session.began)):
                    kept += map(int, session.items)
        return sorted(kept)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.booleans())
def test_what_is_kept_is_what_no_request_covers(
    steps: list[tuple[str, *tuple[str | int, ...]]], hears_at_once: bool
) -> None:
    """A click at or behind a request's end stays, unless it came before the request was heard of.

    Where requests are heard of at once, that is none: what is kept is exactly what is not covered.
    """
    with mock.patch.object(partition_erasures, "KEYS_AT_ONCE", 1):
        shop = Shop(hears_at_once)
        for name, *arguments in steps:
            getattr(shop, name)(*arguments)
        shop.finish()
        assert shop.task._erasures.waiting == 0
        opened = shop.open_clicks()
        assert not hears_at_once or opened[0] == opened[1]
        shop.close()
    clicks = [*enumerate(shop.keys)]
    allowed = {at for at, key in clicks if at >= shop.ends.get(key, 0)}
    certain = {at for at in allowed if at >= shop.heard_at.get(shop.keys[at], 0)}
    kept = shop.kept()
    assert len(kept) == len(set(kept)), "doubled"
    assert certain <= set(kept) <= allowed
