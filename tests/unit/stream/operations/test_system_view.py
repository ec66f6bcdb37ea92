from __future__ import annotations

from typing import Any

import pytest

from ader_stream.stream.avro.codec import encode
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.model_registry.manifest_record import encode_manifest
from ader_stream.stream.model_registry.serving_log import ServingLog
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.scores.score_log import Score, ScoreKey, encode_score
from ader_stream.stream.sessions.outputs import BlockCounts, BlockEnd
from ader_stream.stream.sessions.records.session_records import encode_outputs
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka, complete_manifest, example

TOPICS = Topics("ader")


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka({name: count for name, count, _ in TOPICS.specifications(2)})


def view(kafka: FakeKafka, *, whole: bool = True) -> SystemView:
    view = SystemView(kafka, TOPICS, whole=whole)
    view.poll(0)
    return view


def publish(kafka: FakeKafka, version: int, *blocks: int, status: str = "accepted") -> None:
    manifest = complete_manifest(version, blocks=list(blocks), status=status)
    value, headers = encode_manifest(manifest)
    kafka.append(TOPICS.models, value, str(version), headers)


def serve(
    kafka: FakeKafka,
    worker: str,
    version: int | None,
    *partitions: int,
    publish_to_live: float | None = None,
) -> None:
    log = ServingLog(kafka, TOPICS, worker)
    log.show(version, 5, publish_to_live, dict.fromkeys(partitions, 0))
    kafka.producers[-1].flush(0)


def record(name: str, value: dict[str, Any], key: str) -> tuple[bytes, str, Any]:
    data, headers = encode(name, value)
    return data, key, headers


def test_no_block_is_served_while_a_partition_has_no_version(kafka: FakeKafka) -> None:
    publish(kafka, 1, 0)
    serve(kafka, "one", 1, 0)
    assert view(kafka).served_block() is None
    serve(kafka, "two", None, 1)
    assert view(kafka).served_block() is None
    serve(kafka, "two", 1, 1)
    assert view(kafka).served_block() == 0


def test_no_block_is_waited_for_while_none_has_come_to_a_version(kafka: FakeKafka) -> None:
    publish(kafka, 1, 0, status="rejected")
    serve(kafka, "one", None, 0, 1)
    assert view(kafka).served_block() == 0


def test_the_oldest_version_that_a_partition_is_served_by_counts(kafka: FakeKafka) -> None:
    publish(kafka, 1, 0)
    publish(kafka, 2, 1, 2)
    serve(kafka, "one", 2, 0)
    serve(kafka, "two", 1, 1)
    assert view(kafka).served_block() == 0
    serve(kafka, "two", 2, 1)
    assert view(kafka).served_block() == 2


def test_what_a_dead_worker_said_last_does_not_hold_its_partitions_back(kafka: FakeKafka) -> None:
    publish(kafka, 1, 0)
    publish(kafka, 2, 1)
    serve(kafka, "dead", 1, 0, 1)
    serve(kafka, "alive", 2, 0, 1)
    assert view(kafka).served_block() == 1


def test_a_version_whose_manifest_has_not_come_serves_nothing_yet(kafka: FakeKafka) -> None:
    serve(kafka, "one", 1, 0, 1)
    assert view(kafka).served_block() is None


def test_a_worker_that_withdraws_serves_no_more(kafka: FakeKafka) -> None:
    publish(kafka, 1, 0)
    serve(kafka, "one", 1, 0, 1)
    watching = view(kafka)
    ServingLog(kafka, TOPICS, "one").withdraw()
    watching.poll(0)
    assert watching.serving == {}
    assert watching.served_block() is None


def test_publish_to_live_is_that_of_the_last_worker(kafka: FakeKafka) -> None:
    for worker, seconds in (("one", 0.5), ("two", 0.75), ("three", 0.25), ("late", None)):
        serve(kafka, worker, 1, publish_to_live=seconds)
    assert view(kafka).publish_to_live == {1: 0.75}


def test_blocks_are_summed_over_partitions(kafka: FakeKafka) -> None:
    for partition, counts in enumerate((BlockCounts(5, 2, 1), BlockCounts(7, 3, 0))):
        for value, headers in encode_outputs(partition, [BlockEnd(4, counts)]):
            kafka.append(TOPICS.sessions, value, str(partition), headers, partition)
    assert view(kafka).blocks == {4: BlockCounts(12, 5, 1)}


def test_scores_are_running_counts_the_newest_of_which_stands(kafka: FakeKafka) -> None:
    for clicks in (3, 9):
        key, value, headers = encode_score(ScoreKey(1, 1, 0), Score(clicks))
        kafka.append(TOPICS.scores, value, key, headers)
    assert view(kafka).scores == {ScoreKey(1, 1, 0): Score(9)}


def test_dead_letters_are_counted_over_partitions(kafka: FakeKafka) -> None:
    for type_name, partition in (("DeadLetter", 0), ("DeadLetter", 1), ("Replayed", 1)):
        value, headers = encode(type_name, example(type_name))
        kafka.append(TOPICS.dead_letters, value, None, headers, partition)
    assert view(kafka).dead_letters == 2


def test_a_view_of_versions_and_serving_alone_reads_nothing_else(kafka: FakeKafka) -> None:
    publish(kafka, 1, 0)
    kafka.append(TOPICS.sessions, b"not even read")
    kafka.append(TOPICS.dead_letters, b"")
    watching = view(kafka, whole=False)
    assert list(watching.manifests) == [1]
    assert (watching.blocks, watching.dead_letters) == ({}, 0)


def test_a_serving_record_is_written_when_something_in_it_is_new(kafka: FakeKafka) -> None:
    log = ServingLog(kafka, TOPICS, "one")
    for version in (1, 1, 2, 2):
        log.show(version, 5, None, {0: 3})
    kafka.producers[-1].flush(0)
    assert len(kafka.records(TOPICS.serving)) == 2


def reject(kafka: FakeKafka, version: int, block: int) -> None:
    lost = complete_manifest(version, blocks=[block], status="rejected", parent=version - 1)
    value, headers = encode_manifest(lost)
    kafka.append(TOPICS.models, value, str(version), headers)


def test_a_block_that_came_to_nothing_is_not_waited_for(kafka: FakeKafka) -> None:
    publish(kafka, 1, 0)
    reject(kafka, 2, 1)
    serve(kafka, "one", 1, 0, 1)
    assert view(kafka).served_block() == 1


def test_a_pinned_version_is_all_that_is_waited_for(kafka: FakeKafka) -> None:
    for version in (1, 2, 3):
        publish(kafka, version, version - 1)
    serve(kafka, "one", 2, 0, 1)
    assert view(kafka).served_block() == 1
    ask(kafka, TOPICS, Command("pin", 2))
    assert view(kafka).served_block() == 2
