"""Our topics get new types of records; a reader that does not know one passes over it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from ader_stream.cli.operate import sessions as sessions_command
from ader_stream.stream.avro.codec import SCHEMA_HEADER, TYPE_HEADER
from ader_stream.stream.blocks.feed import BlockFeed
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.operations.erasure_report import KeyData, look_for
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.scores.paired_log import read_paired
from ader_stream.stream.scores.score_log import read_scores
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka

TOPICS = Topics("ader")
NEWER = [(TYPE_HEADER, b"Newer"), (SCHEMA_HEADER, b"0" * 16)]


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka({name: count for name, count, _ in TOPICS.specifications(1)})
    for topic in (TOPICS.sessions, TOPICS.scores):
        kafka.append(topic, b"bytes of a schema that is not here", "0", NEWER)
    return kafka


def blocks(kafka: FakeKafka) -> list[int]:
    feed = BlockFeed(kafka, TOPICS.sessions, 1, {})
    feed.poll(0)
    return feed.waiting()


def viewed(kafka: FakeKafka) -> list[object]:
    view = SystemView(kafka, TOPICS)
    view.poll(0)
    return [*view.scores, *view.blocks]


def dumped(kafka: FakeKafka) -> list[object]:
    return [*sessions_command._read(SimpleNamespace(clients=kafka, topics=TOPICS))]


def held(kafka: FakeKafka) -> list[object]:
    found = look_for(kafka, TOPICS, 1, Registry(Trust()), "a")
    return [] if found == KeyData() else [found]


READERS = {
    "blocks": blocks,
    "view": viewed,
    "dump": dumped,
    "forget": held,
    "scores": lambda kafka: [*read_scores(kafka, TOPICS.scores)],
    "compared": lambda kafka: [*read_paired(kafka, TOPICS.scores)],
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_record_of_a_type_that_is_not_known_here_is_passed_over(
    kafka: FakeKafka, read: Callable[[FakeKafka], list[object]]
) -> None:
    assert read(kafka) == []
