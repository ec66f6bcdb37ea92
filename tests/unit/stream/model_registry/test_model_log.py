from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from confluent_kafka import KafkaError

from ader_stream.artifact import KINDS, sha256
from ader_stream.errors import ArtifactError, FencedError, TopicError
from ader_stream.stream.avro.codec import CHUNK_TYPE, TYPE_HEADER
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.kafka.limits import SMALLEST, RecordLimits
from ader_stream.stream.model_registry import model_log, model_reader
from ader_stream.stream.model_registry.manifest import FORMAT, Manifest, PartOffsets
from ader_stream.stream.model_registry.manifest_record import Trust, encode_manifest
from ader_stream.stream.model_registry.model_log import ATTEMPTS, ModelPublisher
from ader_stream.stream.model_registry.model_reader import FIRST_PAUSE_SECONDS, ModelReader
from ader_stream.stream.model_registry.registry import read_registry
from ader_stream.stream.topics.topics import Topics
from ader_stream.versions.describe import FREQUENT_ITEM_BYTES
from tests.fakes import FakeKafka, FakeRecord, example_manifest

TOPICS = Topics("ader")
CHUNK_SIZE = 10
PARTS = {
    "weights": b"w" * 25,
    "vocabulary": b"v" * 10,
    "exemplars": b"",
    "optimizer": bytes(range(31)),
}
ABORTED = KafkaError(KafkaError._TIMED_OUT, "commit timed out", txn_requires_abort=True)
RETRIABLE = KafkaError(KafkaError._TIMED_OUT, "commit timed out", retriable=True)
FENCED = KafkaError(KafkaError._FENCED, "fenced by another", fatal=True)


@pytest.fixture(autouse=True)
def few_chunks_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine chunks: four transactions, and a fifth with the last chunk and the manifest."""
    monkeypatch.setattr(model_log, "CHUNKS_A_TRANSACTION", 2)


def publisher(kafka: FakeKafka, **failures: KafkaError) -> ModelPublisher:
    """A publisher whose commits fail: `at_2=ERROR` for the third one."""
    publisher = ModelPublisher(kafka, TOPICS, CHUNK_SIZE)
    kafka.producers[-1].failures = {
        int(name.removeprefix("at_")): error for name, error in failures.items()
    }
    return publisher


def publish(kafka: FakeKafka, version: int = 1, **failures: KafkaError) -> Manifest:
    return publisher(kafka, **failures).publish(example_manifest(version), PARTS)


def reader(kafka: FakeKafka) -> ModelReader:
    return ModelReader(kafka, TOPICS, pause=lambda _: None)


def manifests(kafka: FakeKafka) -> list[Manifest]:
    """Every manifest that a reader finds, by version."""
    found = read_registry(kafka, TOPICS, Trust()).manifests
    return [found[version] for version in sorted(found)]


def chunk(kafka: FakeKafka, key: str) -> FakeRecord:
    [found] = [r for r in kafka.records(TOPICS.model_chunks) if r.key() == key.encode()]
    return found


def test_what_was_published_is_read_back(kafka: FakeKafka) -> None:
    published = publish(kafka)
    [found] = manifests(kafka)
    assert found == published
    assert reader(kafka).fetch(found, KINDS) == PARTS


def test_a_reader_may_ask_for_some_parts_alone(kafka: FakeKafka) -> None:
    found = reader(kafka).fetch(publish(kafka), ("weights", "vocabulary"))
    assert found == {kind: PARTS[kind] for kind in ("weights", "vocabulary")}


def test_chunks_have_readable_keys_and_say_what_they_are(kafka: FakeKafka) -> None:
    publish(kafka, version=7)
    chunks = kafka.records(TOPICS.model_chunks)
    assert [record.key() for record in chunks] == [
        *(f"7/optimizer/{number}".encode() for number in range(4)),
        b"7/exemplars/0",
        b"7/vocabulary/0",
        *(f"7/weights/{number}".encode() for number in range(3)),
    ]
    assert all(record.headers() == [(TYPE_HEADER, CHUNK_TYPE)] for record in chunks)
    assert max(len(record.value()) for record in chunks) == CHUNK_SIZE


def test_the_manifest_names_every_chunk_with_size_and_digest(kafka: FakeKafka) -> None:
    parts = {part.kind: part for part in publish(kafka).parts}
    assert parts["weights"].sha256 == sha256(PARTS["weights"])
    assert [chunk.size for chunk in parts["weights"].chunks] == [10, 10, 5]
    assert parts["weights"].chunks[2].sha256 == sha256(b"w" * 5)


def test_chunks_go_out_in_several_transactions_and_the_last_one_has_the_manifest(
    kafka: FakeKafka,
) -> None:
    publish(kafka)
    assert kafka.producers[-1].committed == [2, 2, 2, 2, 1 + 1]


def test_a_small_version_goes_out_in_one_transaction(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_log, "CHUNKS_A_TRANSACTION", 64)
    published = publish(kafka)
    assert kafka.producers[-1].committed == [9 + 1]
    assert reader(kafka).fetch(published, KINDS) == PARTS


def test_a_version_without_parts_is_its_manifest_alone(kafka: FakeKafka) -> None:
    rejected = example_manifest(status="rejected", rejection="nothing to learn from")
    published = publisher(kafka).publish(rejected, {})
    assert kafka.producers[-1].committed == [1]
    assert manifests(kafka) == [published]


def test_a_manifest_that_cannot_be_written_leaves_no_transaction_open(kafka: FakeKafka) -> None:
    publishing = publisher(kafka)
    with pytest.raises(TypeError, match="seed"):
        publishing.publish(example_manifest(seed="no number"), PARTS)
    published = publishing.publish(example_manifest(), PARTS)
    assert manifests(kafka) == [published]


def test_the_last_look_comes_when_all_chunks_are_sent_and_the_manifest_says_what_it_knew(
    kafka: FakeKafka,
) -> None:
    publishing = publisher(kafka)
    sent: list[int] = []

    def look() -> int:
        sent.append(sum(kafka.producers[-1].committed))
        assert not manifests(kafka)
        return 7

    published = publishing.publish(example_manifest(), PARTS, look)
    assert sent == [8]  # the ninth chunk goes with the manifest
    assert manifests(kafka) == [published]
    assert published.run.control_offset == 7


def test_what_the_last_look_finds_ends_the_publishing_and_nobody_sees_the_version(
    kafka: FakeKafka,
) -> None:
    publishing = publisher(kafka)

    def look() -> int:
        raise FencedError("a key is to be forgotten")

    with pytest.raises(FencedError, match="forgotten"):
        publishing.publish(example_manifest(), PARTS | {"weights": b"of the key" * 3}, look)
    assert manifests(kafka) == []
    published = publishing.publish(example_manifest(), PARTS)
    assert manifests(kafka) == [published]
    assert reader(kafka).fetch(published, KINDS) == PARTS


def test_a_chunk_that_is_not_delivered_is_sent_again(kafka: FakeKafka) -> None:
    publishing = publisher(kafka)
    kafka.producers[-1].undelivered = 3
    published = publishing.publish(example_manifest(), PARTS)
    assert reader(kafka).fetch(published, KINDS) == PARTS


def test_a_producer_with_room_for_a_few_chunks_is_enough(kafka: FakeKafka) -> None:
    publishing = publisher(kafka)
    kafka.producers[-1].room = 2
    assert reader(kafka).fetch(publishing.publish(example_manifest(), PARTS), KINDS) == PARTS


@pytest.mark.parametrize("commit", range(5))
def test_who_is_fenced_while_publishing_leaves_no_version(kafka: FakeKafka, commit: int) -> None:
    with pytest.raises(FencedError, match="fenced by another"):
        publish(kafka, **{f"at_{commit}": FENCED})
    assert manifests(kafka) == []
    assert kafka.producers[-1].is_settled


def test_the_next_leader_publishes_over_what_a_dead_one_left(kafka: FakeKafka) -> None:
    with pytest.raises(FencedError):
        publisher(kafka, at_3=FENCED).publish(
            example_manifest(), PARTS | {"optimizer": b"other" * 9}
        )
    assert reader(kafka).fetch(publish(kafka), KINDS) == PARTS


@pytest.mark.parametrize("error", [ABORTED, RETRIABLE])
@pytest.mark.parametrize("commit", range(5))
def test_a_broker_that_goes_away_for_a_moment_costs_no_version(
    kafka: FakeKafka, commit: int, error: KafkaError
) -> None:
    published = publish(kafka, **{f"at_{commit}": error})
    assert manifests(kafka) == [published]
    assert reader(kafka).fetch(published, KINDS) == PARTS


@pytest.mark.parametrize("commit", range(5))
def test_a_publisher_that_stays_cut_off_from_its_coordinator_stands_back(
    kafka: FakeKafka, commit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_log, "COMMIT_SECONDS", 0)
    with pytest.raises(FencedError, match="publishing"):
        publish(kafka, **{f"at_{commit}": RETRIABLE})
    assert manifests(kafka) == []
    assert kafka.producers[-1].is_settled
    published = publish(kafka)
    assert manifests(kafka) == [published]


def test_a_publisher_that_cannot_abort_stands_back(kafka: FakeKafka) -> None:
    publishing = publisher(kafka, at_0=ABORTED)
    kafka.producers[-1].abort_failure = ABORTED
    with pytest.raises(FencedError, match="publishing: commit timed out"):
        publishing.publish(example_manifest(), PARTS)
    assert kafka.producers[-1].is_settled


def test_who_leads_no_longer_aborts_nothing(kafka: FakeKafka) -> None:
    """An abort may ask for a new epoch, and so fence the new leader."""

    def require_leader() -> None:
        raise FencedError("another one leads")

    former = ModelPublisher(kafka, TOPICS, CHUNK_SIZE, require_leader=require_leader)
    producer = kafka.producers[-1]
    producer.failures, producer.abort_failure = {0: ABORTED}, ABORTED
    with pytest.raises(FencedError, match="another one leads"):
        former.publish(example_manifest(), PARTS)


def test_aborted_transactions_are_counted_by_reason(kafka: FakeKafka) -> None:
    aborts = list[str]()
    health = CommitHealth(on_abort=aborts.append)
    publishing = ModelPublisher(kafka, TOPICS, CHUNK_SIZE, commits=health)
    kafka.producers[-1].failures = {1: ABORTED}
    publishing.publish(example_manifest(), PARTS)
    with pytest.raises(FencedError):
        publishing.publish(example_manifest(2), PARTS, interrupted)
    assert aborts == ["_TIMED_OUT", "interrupted"]


def interrupted() -> int:
    raise FencedError("another trainer leads")


def test_a_broker_that_refuses_again_and_again_ends_publishing(kafka: FakeKafka) -> None:
    refused = {f"at_{commit}": ABORTED for commit in range(ATTEMPTS)}
    with pytest.raises(TopicError, match=f"failed {ATTEMPTS} times.*commit timed out"):
        publish(kafka, **refused)


@pytest.mark.parametrize("value", [b"W" + b"w" * 9, b"w" * 9, None])
def test_a_damaged_chunk_is_refused(kafka: FakeKafka, value: bytes | None) -> None:
    published = publish(kafka)
    kafka.replace(chunk(kafka, "1/weights/1"), value)
    with pytest.raises(
        ArtifactError, match="chunk 1 of weights is not what the manifest says"
    ) as refused:
        reader(kafka).fetch(published, KINDS)
    assert refused.value.reason == "damaged-chunk"
    assert reader(kafka).fetch(published, ("vocabulary",)) == {"vocabulary": PARTS["vocabulary"]}


def test_a_missing_chunk_is_refused(kafka: FakeKafka) -> None:
    published = publish(kafka)
    kafka.remove(chunk(kafka, "1/weights/2"))
    with pytest.raises(ArtifactError, match="version 1: chunk 2 of weights is missing"):
        reader(kafka).fetch(published, KINDS)


def test_chunks_that_the_log_no_longer_holds_are_refused(kafka: FakeKafka) -> None:
    published = publish(kafka)
    kafka.trimmed[TOPICS.model_chunks, 0] = 3
    with pytest.raises(ArtifactError, match="version 1: its chunks are gone"):
        reader(kafka).fetch(published, KINDS)


def test_swapped_chunks_are_refused(kafka: FakeKafka) -> None:
    published = publish(kafka)
    optimizer, *others = published.parts
    first, second, *rest = optimizer.chunks
    swapped = replace(optimizer, chunks=(second, first, *rest))
    published = replace(published, parts=(swapped, *others))
    with pytest.raises(ArtifactError, match="chunk 0 of optimizer"):
        reader(kafka).fetch(published, KINDS)


def test_a_part_that_is_not_what_its_chunks_make_is_refused(kafka: FakeKafka) -> None:
    published = publish(kafka)
    other = tuple(replace(part, sha256=sha256(b"other")) for part in published.parts)
    published = replace(published, parts=other)
    with pytest.raises(ArtifactError, match="version 1: the digest is not that of the parts"):
        reader(kafka).fetch(published, ("weights",))


def test_a_part_that_the_manifest_does_not_name_is_refused(kafka: FakeKafka) -> None:
    published = publish(kafka)
    published = replace(published, parts=published.parts[:1])
    with pytest.raises(ArtifactError, match=r"parts \['optimizer'\]; expected each of"):
        reader(kafka).fetch(published, ("vocabulary", "exemplars", "optimizer"))


def test_a_newer_format_is_refused(kafka: FakeKafka) -> None:
    published = replace(publish(kafka), format=FORMAT + 1)
    with pytest.raises(ArtifactError, match=f"reads up to {FORMAT}; update it"):
        reader(kafka).fetch(published, KINDS)


def test_manifests_come_by_version_without_those_deleted(kafka: FakeKafka) -> None:
    for version in (2, 1):
        publish(kafka, version)
    kafka.append(TOPICS.models, None, "9")
    assert [found.version for found in manifests(kafka)] == [1, 2]


def test_a_manifest_that_cannot_be_read_is_not_passed_over_by_who_continues_from_it(
    kafka: FakeKafka,
) -> None:
    publish(kafka)
    kafka.append(TOPICS.models, b"newer", "2", [(TYPE_HEADER, b"ModelManifest")])
    with pytest.raises(ArtifactError, match="update this process"):
        manifests(kafka)


def test_a_chunk_that_comes_late_is_waited_for(kafka: FakeKafka) -> None:
    published = publish(kafka)
    late = chunk(kafka, "1/weights/2")
    value = late.value()
    kafka.replace(late, b"not yet")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            kafka.replace(late, value)

    assert ModelReader(kafka, TOPICS, pause=pause).fetch(published, KINDS) == PARTS
    assert pauses == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS]


def test_what_no_waiting_mends_is_not_tried_again(kafka: FakeKafka) -> None:
    published = replace(publish(kafka), format=FORMAT + 1)
    pauses: list[float] = []
    with pytest.raises(ArtifactError):
        ModelReader(kafka, TOPICS, pause=pauses.append).fetch(published, KINDS)
    assert pauses == []


def test_a_place_behind_the_end_of_the_log_is_not_waited_for(kafka: FakeKafka) -> None:
    published = publish(kafka)
    late = tuple(PartOffsets(place.kind, 500, 10**12) for place in published.run.places)
    published = replace(published, run=replace(published.run, places=late))
    with pytest.raises(ArtifactError, match="is missing"):
        reader(kafka).fetch(published, KINDS)


def test_a_pruned_version_is_gone_with_all_its_chunks(kafka: FakeKafka) -> None:
    publishing = publisher(kafka)
    one, two = (publishing.publish(example_manifest(v), PARTS) for v in (1, 2))
    publishing.prune([one])
    assert manifests(kafka) == [two]
    assert reader(kafka).fetch(two, KINDS) == PARTS
    last = {record.key(): record.value() for record in kafka.records(TOPICS.model_chunks)}
    ours = {key: value for key, value in last.items() if key.startswith(b"1/")}
    assert len(ours) == sum(len(part.chunks) for part in one.parts)
    assert set(ours.values()) == {None}


def test_a_version_that_came_to_nothing_has_a_manifest_and_no_chunk(kafka: FakeKafka) -> None:
    rejected = example_manifest(status="rejected", rejection="nothing to train on")
    published = publisher(kafka).publish(rejected, {})
    assert manifests(kafka) == [published]
    assert kafka.records(TOPICS.model_chunks) == []


def test_a_version_says_where_its_chunks_lie_and_when_it_was_published(kafka: FakeKafka) -> None:
    publish(kafka, 1)
    run = publish(kafka, 2).run
    places = [(p.kind, p.first_offset, p.last_offset) for p in run.places]
    assert [kind for kind, _, _ in places] == list(KINDS)
    assert (places[0][1], places[-1][2]) == (9, 17)
    assert all(last < first for (_, _, last), (_, first, _) in pairwise(places))
    assert run.published_at > 1_700_000_000_000


def test_serving_reads_no_chunk_of_the_optimizer(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = publish(kafka, 1)
    asked: list[tuple[int, int]] = []
    whole = model_reader.read_range

    def watched(*arguments: Any) -> Any:
        asked.append(arguments[3:5])
        return whole(*arguments)

    monkeypatch.setattr(model_reader, "read_range", watched)
    reader(kafka).fetch(published, ("weights", "vocabulary"))

    [(first, _)] = asked
    [optimizer] = [p for p in published.run.places if p.kind == "optimizer"]
    assert first > optimizer.last_offset


@pytest.mark.parametrize(
    ("failures", "committed"), [(1, [10]), (3, [8, 2]), (5, [2] * 4 + [2]), (7, [1] * 8 + [2])]
)
def test_a_broker_that_slows_a_publisher_down_gets_smaller_transactions(
    kafka: FakeKafka, failures: int, committed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_log, "CHUNKS_A_TRANSACTION", 64)
    slow = {f"at_{attempt}": ABORTED for attempt in range(failures)}
    published = publish(kafka, **slow)
    assert kafka.producers[-1].committed == committed
    assert reader(kafka).fetch(published, KINDS) == PARTS


def test_chunks_and_the_largest_manifest_keep_to_what_their_topics_take(kafka: FakeKafka) -> None:
    for topic in (TOPICS.models, TOPICS.model_chunks):
        kafka.configs[topic]["max.message.bytes"] = str(SMALLEST)
    small = ModelPublisher(kafka, TOPICS, 1_000_000)
    parts = PARTS | {"weights": bytes(1_000_000)}
    published = small.publish(example_manifest(1), parts)
    assert reader(kafka).fetch(published, KINDS) == parts
    chunks = published.parts[-1].chunks
    assert len(chunks) == 4
    most = small.max_bytes // chunks[0].size
    part = replace(published.parts[-1], chunks=chunks[:1] * most)
    items = ("x" * FREQUENT_ITEM_BYTES,) * 100
    manifest = replace(published, parts=(part,), frequent_items=items)
    assert len(encode_manifest(manifest)[0]) < RecordLimits({"models": SMALLEST}).room("models")
