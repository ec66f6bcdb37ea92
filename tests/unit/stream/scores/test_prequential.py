from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ader_stream.errors import TopicError
from ader_stream.metrics import Metrics
from ader_stream.paired import GROUPS, NOTHING, Pair, PairedCounts, Sums, group_of
from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.limits import DEFAULT_ROOM
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.scores.paired_log import read_paired
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.scores.prequential import (
    ModelFunctions,
    PrequentialTask,
    Scored,
    fitting_items,
)
from ader_stream.stream.scores.score_log import (
    Score,
    ScoreKey,
    encode_score,
    read_partitions,
    read_scores,
)
from ader_stream.stream.scores.sessionizer_decisions import SessionizerDecisions
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.stream.topics.topics import Topics, topic_id
from ader_stream.types import (
    RECIPROCAL_UNIT,
    BlockRule,
    Counts,
    IntakeRule,
    Recommendation,
    SessionRule,
    Target,
)
from tests.fakes import FakeKafka, FakeProducer, FakeRecord, example

TOPICS = Topics("ader")
PARTITION = 1
GAP = 100


class Worker:
    """A task whose version 7 scores every click from block 1 on; it knows items but "new".

    `targets` are what it was asked to score, `told` what it was told after a commit.
    """

    def __init__(
        self, kafka: FakeKafka, *, recommends: bool = False, follows: bool = False
    ) -> None:
        self.targets: list[tuple[int, Target]] = []
        self.reported: list[tuple[int, int, Counts]] = []
        self.serves = True
        self.canary: int | None = None
        self.erasures = Erasures()
        self.registry = CollectorRegistry()
        self._producer = FakeProducer(kafka)
        self._kafka = kafka
        self._answers = ModelFunctions(
            self._score, self._tell, self._recommend if recommends else None
        )
        decisions = SessionizerDecisions(kafka, TOPICS, 500, 0, lambda _: 0) if follows else None
        self._decisions = decisions

    def start(self, next_offset: int = 0, metadata: str = "", first: int = 0) -> int:
        given = Committed(next_offset, metadata)
        place = self.place(given if metadata else None, Extent(first, 1_000))
        read_from = self.task.restore(place or given, first)
        self.task.begin()
        return read_from

    def place(self, committed: Committed | None, extent: Extent) -> Committed | None:
        """Make the task, and ask it where it continues."""
        rules = BlockRule(0, 1000), SessionRule(GAP), IntakeRule()
        applying = PartitionErasures(self.erasures, PARTITION, TOPICS.clicks)
        self.task = PrequentialTask(
            PARTITION,
            TOPICS,
            read_partitions(self._kafka, TOPICS.scores)[PARTITION],
            topic_id(self._kafka.admin(), TOPICS.clicks),
            PrefixFollower(ClickDecoder(ClickFormat()), *rules, applying),
            self._answers,
            Metrics(self.registry),
            self._decisions,
        )
        return self.task.place(committed, extent)

    def process(self, *records: FakeRecord) -> None:
        self.task.process([*records])

    def commit(self, next_offset: int = 0) -> tuple[int, str]:
        """Commit and return the offset with its metadata."""
        transaction = Transaction()
        metadata = self.task.write(transaction, next_offset)
        self._producer.begin_transaction()
        transaction.send(self._producer)
        self._producer.commit_transaction(1)
        self.task.committed()
        return next_offset, metadata

    def _score(self, block: int, targets: list[Target]) -> Scored:
        self.targets += [(block, target) for target in targets]
        if block == 0:
            return Scored()
        unknown = sum(target.item == "new" for target in targets)
        counts = Counts(targets=len(targets) - unknown, unknown=unknown)
        if self.canary is None:
            return Scored(7, counts)
        return Scored(7, counts, Pair(7, self.canary), better_by_one(targets))

    def _tell(self, block: int, version: int, counts: Counts) -> None:
        self.reported.append((block, version, counts))

    def _recommend(self, sessions: Mapping[str, tuple[str, ...]]) -> dict[str, Recommendation]:
        return {
            key: Recommendation(7, fallback=False, items=((f"after {items[-1]}", 0.5),))
            for key, items in sessions.items()
            if self.serves
        }


def better_by_one(targets: list[Target]) -> PairedCounts:
    """Sums of clicks that the stable version misses and the canary ranks first."""
    groups = [group_of(target.key) for target in targets]
    differences = tuple(Sums(n, n, n * RECIPROCAL_UNIT) for n in map(groups.count, range(GROUPS)))
    return PairedCounts(NOTHING._replace(clicks=len(targets)), differences)


@pytest.fixture
def worker(kafka: FakeKafka) -> Worker:
    worker = Worker(kafka)
    worker.start()
    return worker


def log(*clicks: tuple[str, str, int]) -> list[FakeRecord]:
    return [
        FakeRecord(
            json.dumps({"session": s, "item": i, "time": t}).encode(),
            partition=PARTITION,
            offset=offset,
        )
        for offset, (s, i, t) in enumerate(clicks)
    ]


def scores(kafka: FakeKafka) -> dict[ScoreKey, Score]:
    return dict(read_scores(kafka, TOPICS.scores))


def recommended(kafka: FakeKafka) -> list[tuple[bytes | None, int, list[str]]]:
    """Key, time and items of every recommendation."""
    found = []
    for record in kafka.records(TOPICS.recommendations, PARTITION):
        _, value = decode(record.value(), record.headers())
        found.append((record.key(), value["time"], [one["item"] for one in value["items"]]))
    return found


def test_each_click_is_the_target_of_its_prefix_before_it_joins(worker: Worker) -> None:
    worker.process(*log(("a", "x", 1010), ("b", "y", 1020), ("a", "z", 1030), ("a", "x", 1040)))
    assert worker.targets == [
        (1, Target((), "x", "a")),
        (1, Target((), "y", "b")),
        (1, Target(("x",), "z", "a")),
        (1, Target(("x", "z"), "x", "a")),
    ]


def test_clicks_are_scored_block_by_block(kafka: FakeKafka, worker: Worker) -> None:
    worker.process(*log(("a", "x", 10), ("a", "y", 1010), ("a", "new", 1020)))
    worker.commit()
    assert scores(kafka) == {
        ScoreKey(0, None, PARTITION): Score(1),
        ScoreKey(1, 7, PARTITION): Score(2, Counts(targets=1, unknown=1)),
    }


def test_counts_run_on_over_commits(kafka: FakeKafka, worker: Worker) -> None:
    first, second, third = log(("a", "x", 1010), ("a", "y", 1020), ("a", "z", 1030))
    worker.process(first, second)
    worker.commit()
    worker.process(third)
    worker.commit()
    worker.commit()
    written = [score.clicks for _, score in read_scores(kafka, TOPICS.scores)]
    assert written == [2, 3]


def test_counts_are_reported_once_they_are_committed(worker: Worker) -> None:
    worker.process(*log(("a", "x", 10), ("a", "y", 1010)))
    assert worker.reported == []
    worker.commit()
    worker.commit()
    assert worker.reported == [(1, 7, Counts(targets=1))]


def test_a_successor_scores_no_click_twice_and_knows_every_prefix(kafka: FakeKafka) -> None:
    records = log(("a", "x", 1010), ("b", "y", 1020), ("a", "z", 1030), ("a", "w", 1040))
    first, successor = Worker(kafka), Worker(kafka)
    first.start()
    first.process(*records[:3])
    place = first.commit(3)
    first.process(records[3])  # dies before its commit
    start = successor.start(*place)
    assert start == 0
    successor.process(*records[start:])
    assert successor.targets == [(1, Target(("x", "z"), "w", "a"))]
    successor.commit(4)
    assert scores(kafka) == {ScoreKey(1, 7, PARTITION): Score(4, Counts(targets=4))}


@pytest.mark.parametrize("commits", [[], [1], [1, 4], [2, 3, 6], list(range(8))])
def test_deaths_change_no_count(commits: list[int]) -> None:
    records = log(
        ("a", "x", 910),
        ("b", "y", 960),
        ("a", "new", 1005),
        ("b", "z", 1050),
        ("c", "x", 1100),
        ("b", "y", 1140),
        ("a", "z", 990),
        ("b", "w", 1200),
    )
    whole, broken = FakeKafka(), FakeKafka()
    worker = Worker(whole)
    worker.start()
    worker.process(*records)
    worker.commit(len(records))
    place = (0, "")
    for end in [*commits, len(records)]:
        worker = Worker(broken)
        worker.process(*records[worker.start(*place) : end])
        place = worker.commit(end)
        worker.process(*records[end:])
    assert scores(broken) == scores(whole)


def test_without_a_canary_nothing_is_compared(kafka: FakeKafka, worker: Worker) -> None:
    worker.process(*log(("a", "x", 1010)))
    worker.commit()
    assert read_paired(kafka, TOPICS.scores) == {}


@pytest.mark.parametrize("commits", [[], [1], [2, 3], list(range(6))])
def test_deaths_compare_no_click_twice(commits: list[int]) -> None:
    """The canary comes with the third click, and its successor with the fifth."""
    clicks = [("a", "x", 1010), ("b", "y", 1020), ("a", "z", 1030), ("c", "x", 1040)]
    records = log(*clicks, ("b", "w", 1050), ("a", "v", 2060))
    kafka, place = FakeKafka(), (0, "")
    ends = sorted({*commits, 2, 4, 6})
    for end in ends:
        worker = Worker(kafka)
        start = worker.start(*place)
        worker.canary = None if end <= 2 else 8 if end <= 4 else 9
        worker.process(*records[start:end])
        place = worker.commit(end)
        worker.process(*records[end:])  # and dies before its commit
    assert read_paired(kafka, TOPICS.scores) == {
        Pair(7, 8): better_by_one([Target((), "z", "a"), Target((), "x", "c")]),
        Pair(7, 9): better_by_one([Target((), "w", "b"), Target((), "v", "a")]),
    }


def test_scores_of_other_partitions_are_left_alone(kafka: FakeKafka) -> None:
    key, value, headers = encode_score(ScoreKey(1, 7, PARTITION + 1), Score(50))
    kafka.append(TOPICS.scores, value, key, headers)
    worker = Worker(kafka)
    worker.start()
    worker.process(*log(("a", "x", 1010)))
    worker.commit()
    assert {key.partition: score.clicks for key, score in scores(kafka).items()} == {1: 1, 2: 50}


def test_a_session_is_recommended_to_after_its_last_click(kafka: FakeKafka) -> None:
    worker = Worker(kafka, recommends=True)
    worker.start()
    worker.process(*log(("a", "x", 1010), ("b", "y", 1020), ("a", "z", 1030)))
    worker.commit()
    worker.commit()
    assert recommended(kafka) == [(b"a", 1030, ["after z"]), (b"b", 1020, ["after y"])]


def test_a_recommendation_keeps_as_many_items_as_its_record_has_room_for() -> None:
    items = tuple((f"{n}" + "é" * 30_000, 0.5) for n in range(20))
    kept = fitting_items(items, DEFAULT_ROOM)
    assert kept == items[:17]
    ranked = [{"item": item, "score": score} for item, score in kept]
    value = example("Recommendation") | {"session": "", "items": ranked}
    assert len(encode("Recommendation", value)[0]) <= DEFAULT_ROOM
    assert fitting_items(items, 100) == ()
    assert fitting_items(items[:3], DEFAULT_ROOM) == items[:3]


def test_nothing_is_recommended_before_a_version_serves(kafka: FakeKafka) -> None:
    worker = Worker(kafka, recommends=True)
    worker.serves = False
    worker.start()
    worker.process(*log(("a", "x", 1010)))
    worker.commit()
    assert recommended(kafka) == []


def test_a_heartbeat_ends_blocks_and_is_no_click(kafka: FakeKafka, worker: Worker) -> None:
    end = FakeRecord(headers=[(WATERMARK_HEADER, b"2000")], partition=PARTITION, offset=1)
    worker.process(*log(("a", "x", 1010)), end)
    worker.commit()
    assert (worker.task.open_block, worker.task.items_of("a")) == (2, None)
    assert scores(kafka)[ScoreKey(1, 7, PARTITION)].clicks == 1


def test_there_is_nothing_to_write_without_a_record(worker: Worker) -> None:
    worker.commit()
    worker.task.tick(is_at_end=True)
    assert not worker.task.is_dirty()


def test_what_the_sessionizer_closes_on_an_idle_partition_is_closed_without_a_record(
    kafka: FakeKafka,
) -> None:
    worker = Worker(kafka, follows=True)
    worker.start()
    worker.process(*log(("a", "x", 10)))
    advance = {"partition": PARTITION, "next_offset": 1, "watermark": 1500}
    value, headers = encode("IdleAdvance", advance)
    kafka.append(TOPICS.sessions, value, headers=headers, partition=PARTITION)
    worker.commit(1)
    worker.task.tick(is_at_end=True)
    assert (worker.task.items_of("a"), worker.task.open_block) == (None, 1)
    assert not worker.task.is_dirty()


def test_an_erased_session_is_gone_and_its_recommendation_is_deleted(kafka: FakeKafka) -> None:
    worker = Worker(kafka, recommends=True)
    worker.start()
    worker.process(*log(("a", "x", 1010), ("b", "y", 1020)))
    worker.commit()
    ends = {"clicks_end": (0, 2), "clicks_id": TOPICS.clicks}
    worker.erasures.take(erasure_request("a", worker.erasures, **ends), 0)
    worker.task.tick(is_at_end=True)
    assert (worker.task.items_of("a"), worker.task.items_of("b")) == (None, ("y",))
    assert worker.task.is_dirty()
    worker.commit()
    assert not worker.task.is_dirty()
    last = kafka.records(TOPICS.recommendations, PARTITION)[-1]
    assert (last.key(), last.value()) == (b"a", None)


def test_who_comes_back_before_the_session_is_erased_is_recommended_to_again(
    kafka: FakeKafka,
) -> None:
    worker = Worker(kafka, recommends=True)
    worker.start()
    records = log(("a", "x", 1010), ("a", "y", 1020))
    worker.process(records[0])
    ends = {"clicks_end": (0, 1), "clicks_id": TOPICS.clicks}
    worker.erasures.take(erasure_request("a", worker.erasures, **ends), 0)
    worker.process(records[1])
    worker.commit()
    keys = [(r.key(), r.value() is None) for r in kafka.records(TOPICS.recommendations, PARTITION)]
    assert keys == [(b"a", True), (b"a", False)]
    assert worker.task.items_of("a") == ("y",)


# --- where scores continue


def successor_of(worker: Worker, kafka: FakeKafka, *records: FakeRecord) -> Worker:
    """Another worker, after this one has committed the records."""
    worker.start()
    worker.process(*records)
    worker.commit(len(records))
    return Worker(kafka)


def test_an_offset_that_the_group_has_lost_is_known_to_the_scores(kafka: FakeKafka) -> None:
    records = log(("a", "x", 1010), ("b", "y", 1020), ("a", "z", 1030), ("a", "w", 1040))
    successor = successor_of(Worker(kafka), kafka, *records[:3])
    assert successor.start() == 0
    assert successor.task.is_dirty()  # the group is to know it again
    successor.process(*records)
    assert successor.targets == [(1, Target(("x", "z"), "w", "a"))]
    successor.commit(4)
    assert scores(kafka)[ScoreKey(1, 7, PARTITION)].clicks == 4


@pytest.mark.parametrize(("group", "expected"), [(1, 3), (3, 3), (4, 4)])
def test_scores_continue_where_both_they_and_the_group_have_been(
    kafka: FakeKafka, group: int, expected: int
) -> None:
    records = log(("a", "x", 1010), ("b", "y", 1020), ("c", "z", 1030))
    successor = successor_of(Worker(kafka), kafka, *records)
    place = successor.place(Committed(group), Extent(0, 9))
    assert place.offset == expected
    assert successor.task.is_dirty() == (group != 3)


def test_where_nobody_knows_up_to_where_scores_count_none_counts_twice(kafka: FakeKafka) -> None:
    kafka.append(TOPICS.scores, *as_written(ScoreKey(1, 7, PARTITION), Score(50)))
    worker = Worker(kafka)
    place = worker.place(None, Extent(20, 90))
    worker.task.restore(place, 20)
    worker.task.begin()
    assert place == Committed(90)
    assert sample(worker, "ader_skipped_records_total") == 70


def test_a_clicks_topic_that_was_made_again_is_not_that_of_the_scores(kafka: FakeKafka) -> None:
    successor = successor_of(Worker(kafka), kafka, *log(("a", "x", 1010)))
    kafka.topic_ids[TOPICS.clicks] = "another"
    with pytest.raises(TopicError, match=r"created again.*ader-stream reset --yes"):
        successor.start(1, "{}")


def test_records_to_read_again_that_are_gone_are_counted_and_stop_nobody(kafka: FakeKafka) -> None:
    records = log(("a", "x", 1010), ("b", "y", 1020), ("a", "z", 1030), ("c", "w", 1090))
    successor = successor_of(Worker(kafka), kafka, *records)
    assert successor.start(first=3) == 3
    assert sample(successor, "ader_reread_lost_records_total") == 3
    successor.process(*records[3:], *log(*[("c", "v", 1095)] * 5)[4:])
    assert successor.targets == [(1, Target(("w",), "v", "c"))]


def test_where_all_is_gone_the_watermark_is_still_known(kafka: FakeKafka) -> None:
    records = log(("a", "x", 1990), ("b", "y", 2030))
    successor = successor_of(Worker(kafka), kafka, *records)
    successor.start(first=2)
    successor.task.tick(is_at_end=True)
    late = log(*[("a", "z", 1995)] * 3)[2:]
    successor.process(*late)
    assert [block for block, _ in successor.targets] == [2]


def as_written(key: ScoreKey, score: Score) -> tuple[bytes, str, Any]:
    key_, value, headers = encode_score(key, score)
    return value, key_, headers


def sample(worker: Worker, name: str) -> float | None:
    return worker.registry.get_sample_value(name, {"partition": str(PARTITION)})
