from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from confluent_kafka import KafkaError

from ader_stream.artifact import KINDS
from ader_stream.errors import FencedError
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.model_registry import model_log
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.pruning import Pruner, needed_offsets, prunable
from ader_stream.stream.model_registry.registry import Registry, read_registry
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka, changed, example_manifest

TOPICS = Topics("ader")
CHUNK_SIZE = 10
SHORT, LONG = ({kind: bytes(size) for kind in KINDS} for size in (15, 55))
FENCED = KafkaError(KafkaError._FENCED, "fenced by another", fatal=True)


class DeadError(Exception):
    """A publisher dies when all chunks but the last are committed."""


@pytest.fixture(autouse=True)
def few_chunks_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_log, "CHUNKS_A_TRANSACTION", 2)


def publish(kafka: FakeKafka, version: int, parts: Mapping[str, bytes] = SHORT) -> None:
    ModelPublisher(kafka, TOPICS, CHUNK_SIZE).publish(example_manifest(version), parts)


def publish_and_die(kafka: FakeKafka, version: int, parts: Mapping[str, bytes] = LONG) -> None:
    def die() -> None:
        raise DeadError

    with pytest.raises(DeadError):
        ModelPublisher(kafka, TOPICS, CHUNK_SIZE).publish(example_manifest(version), parts, die)


def leader(kafka: FakeKafka, keep: int = 0) -> Pruner:
    """What a new leader prunes with."""
    publisher = ModelPublisher(kafka, TOPICS, CHUNK_SIZE)
    return Pruner(kafka, TOPICS, read_registry(kafka, TOPICS, Trust()), publisher, keep)


def held(kafka: FakeKafka) -> list[str]:
    """Keys of the chunks that compaction leaves."""
    last = {record.key().decode(): record.value() for record in kafka.records(TOPICS.model_chunks)}
    return sorted(key for key, value in last.items() if value is not None)


def named(kafka: FakeKafka) -> list[str]:
    """Keys of the chunks that the versions name."""
    manifests = read_registry(kafka, TOPICS, Trust()).manifests.values()
    return sorted(key for manifest in manifests for key in manifest.chunk_keys())


def can_be_read(kafka: FakeKafka, parts: Mapping[int, Mapping[str, bytes]]) -> bool:
    """Whether the versions are there, each of its own parts."""
    manifests = read_registry(kafka, TOPICS, Trust()).manifests
    reader = ModelReader(kafka, TOPICS, pause=lambda _: None)
    return {v: reader.fetch(manifest, KINDS) for v, manifest in manifests.items()} == parts


# --- chunks that no version names


def test_chunks_of_a_dead_publisher_go_where_the_version_has_fewer_of_them(
    kafka: FakeKafka,
) -> None:
    publish(kafka, 1)
    publish_and_die(kafka, 2)
    publish(kafka, 2)
    publish(kafka, 3)
    assert len(held(kafka)) > len(named(kafka))
    leader(kafka).delete_orphans()
    assert held(kafka) == named(kafka)
    assert can_be_read(kafka, dict.fromkeys((1, 2, 3), SHORT))


def test_chunks_of_a_version_that_never_came_go(kafka: FakeKafka) -> None:
    publish_and_die(kafka, 1)
    assert held(kafka)
    leader(kafka).delete_orphans()
    assert held(kafka) == []
    publish(kafka, 1)
    publish_and_die(kafka, 2, SHORT)
    leader(kafka).delete_orphans()
    assert held(kafka) == named(kafka)
    assert can_be_read(kafka, {1: SHORT})


def test_nothing_is_written_where_every_chunk_has_its_version(kafka: FakeKafka) -> None:
    for version in (1, 2, 3):
        publish(kafka, version)
    leader(kafka, keep=2).prune()
    ends = [len(kafka.log[topic, 0]) for topic in (TOPICS.models, TOPICS.model_chunks)]
    leader(kafka).delete_orphans()
    assert [len(kafka.log[topic, 0]) for topic in (TOPICS.models, TOPICS.model_chunks)] == ends


def test_what_was_looked_through_is_not_read_again(kafka: FakeKafka) -> None:
    publish_and_die(kafka, 1)
    pruner, read = leader(kafka), 0

    def count() -> None:
        nonlocal read
        read += 1

    pruner.delete_orphans(count)
    orphaned = read
    assert orphaned > 20
    pruner.delete_orphans(count)
    assert read == 2 * orphaned  # their tombstones
    pruner.delete_orphans(count)
    assert read == 2 * orphaned


def test_who_leads_no_more_deletes_nothing(kafka: FakeKafka) -> None:
    publish_and_die(kafka, 1)
    before, pruner = held(kafka), leader(kafka)
    kafka.producers[-1].failures = {0: FENCED}
    with pytest.raises(FencedError):
        pruner.delete_orphans()
    assert held(kafka) == before


def test_looking_can_be_ended(kafka: FakeKafka) -> None:
    publish_and_die(kafka, 1)
    before = held(kafka)
    with pytest.raises(ZeroDivisionError):
        leader(kafka).delete_orphans(raises(ZeroDivisionError))
    assert held(kafka) == before


def raises(error: type[Exception]) -> Callable[[], None]:
    def stop() -> None:
        raise error

    return stop


# --- versions


def test_pruning_deletes_manifest_and_chunks_of_what_was_asked_or_is_too_much(
    kafka: FakeKafka,
) -> None:
    for version in range(1, 6):
        publish(kafka, version, LONG if version == 4 else SHORT)
    ask(kafka, TOPICS, Command("prune", versions=(2, 5)))
    leader(kafka).prune()
    assert can_be_read(kafka, {1: SHORT, 3: SHORT, 4: LONG, 5: SHORT})
    leader(kafka, keep=2).prune()
    assert can_be_read(kafka, {4: LONG, 5: SHORT})
    assert held(kafka) == named(kafka)


def registry_of(*versions: int, commands: tuple[Command, ...] = ()) -> Registry:
    registry = Registry(Trust())
    registry.manifests |= {v: example_manifest(v) for v in versions}
    registry.commands += commands
    return registry


def test_the_newest_versions_of_the_line_stay() -> None:
    assert prunable(registry_of(1, 2, 3, 4, 5), keep=3) == [1, 2]
    assert prunable(registry_of(1, 2, 3), keep=1) == [1]
    assert prunable(registry_of(), keep=2) == []


def test_what_is_pinned_or_rolled_back_to_stays_as_long_as_it_counts() -> None:
    pinned = registry_of(*range(1, 8), commands=(Command("pin", 2, share=0.1),))
    assert prunable(pinned, keep=2) == [1, 3, 4, 5]
    pinned.commands.append(Command("unpin"))
    assert prunable(pinned, keep=2) == [1, 2, 3, 4, 5]
    rolled_back = registry_of(*range(1, 8), commands=(Command("rollback", 3, newest=7),))
    assert prunable(rolled_back, keep=2) == [1, 4, 5, 6]
    for version, parent in ((8, 3), (9, 8), (10, 9)):
        rolled_back.manifests[version] = example_manifest(version, parent=parent)
    assert prunable(rolled_back, keep=2) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_rollback_counts_as_long_as_the_newest_version_is_one_that_it_has_passed_over() -> None:
    raced = registry_of(1, 2, 3, 4, commands=(Command("rollback", 1, newest=4),))
    raced.manifests[5] = example_manifest(5, parent=1)
    raced.manifests[6] = example_manifest(6, parent=5)
    raced.manifests[7] = example_manifest(7, parent=4)
    assert prunable(raced, keep=2) == [2, 3, 4]


def test_the_newest_version_stays_be_it_rejected() -> None:
    registry = registry_of(1, 2, 3)
    registry.manifests[4] = example_manifest(4, status="rejected")
    assert prunable(registry, keep=2) == [1]


def trained_on(registry: Registry, version: int, topic: str, *first: int | None) -> None:
    """Say where the sessions of a version begin, partition by partition."""
    places = [
        {"partition": p, "first_offset": offset, "next_offset": 99}
        for p, offset in enumerate(first)
    ]
    run = {"offsets": places, "sessions_topic_id": topic}
    registry.manifests[version] = changed(registry.manifests[version], run=run)


def test_sessions_are_needed_from_the_oldest_versions_first_one_on() -> None:
    registry = registry_of(2, 3)
    trained_on(registry, 2, "now", 10, 7)
    trained_on(registry, 3, "now", 20, None, 5)
    assert needed_offsets(registry, "now") == {0: 10, 2: 5}


def test_versions_of_an_earlier_sessions_topic_need_nothing_of_this_one() -> None:
    registry = registry_of(2, 3)
    trained_on(registry, 2, "before", 500, 600)
    assert needed_offsets(registry, "now") == {}
    trained_on(registry, 3, "now", 3, 7)
    assert needed_offsets(registry, "now") == {0: 3, 1: 7}


def test_where_a_version_does_not_name_its_sessions_topic_nothing_is_trimmed() -> None:
    registry = registry_of(2, 3)
    trained_on(registry, 2, "", 500)
    trained_on(registry, 3, "now", 3, 7)
    assert needed_offsets(registry, "now") == {1: 7}
