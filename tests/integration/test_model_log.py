"""Publishing is the commit: what a manifest does not name does not exist."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ader_stream.artifact import KINDS, sha256
from ader_stream.errors import ArtifactError, FencedError
from ader_stream.stream.clicks.decoder import encode_click
from ader_stream.stream.model_registry.model_log import (
    CHUNKS_A_TRANSACTION,
    ModelPublisher,
    UnsentChunk,
)
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.pruning import Pruner
from ader_stream.stream.model_registry.registry import read_registry
from ader_stream.types import Click
from tests.chaos.killed_publishers import kill_many
from tests.integration.artifacts import manifest_of, tiny_parts
from tests.integration.system import Kafka, RawRecord, System

CHUNK_SIZE = 300


class SpoilsChunks(ModelPublisher):
    """A publisher whose weights are damaged on their way."""

    def _produce_chunks(self, chunks: Sequence[UnsentChunk]) -> None:
        super()._produce_chunks([spoilt(chunk) for chunk in chunks])
        for chunk in chunks:
            self._sent[chunk.key].sha256 = sha256(chunk.data)


def spoilt(chunk: UnsentChunk) -> UnsentChunk:
    """Flip a bit of what is part of the weights."""
    if "/weights/" not in chunk.key:
        return chunk
    return UnsentChunk(chunk.key, memoryview(bytes([chunk.data[0] ^ 1]) + chunk.data[1:]))


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        yield system


@pytest.fixture
def reader(system: System) -> ModelReader:
    return ModelReader(system.clients, system.topics)


@pytest.fixture(scope="module")
def parts() -> dict[str, bytes]:
    return tiny_parts()


def publisher(system: System, kind: type[ModelPublisher] = ModelPublisher) -> ModelPublisher:
    return kind(system.clients, system.topics, CHUNK_SIZE)


def test_what_was_published_in_small_chunks_comes_back(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    published = publisher(system).publish(manifest_of(1, parts), parts)
    [found] = system.manifests()
    assert found == published
    assert len(found.parts[0].chunks) > CHUNKS_A_TRANSACTION
    assert reader.fetch(found, KINDS) == parts


@pytest.mark.parametrize(
    ("compression", "is_smaller"),
    [("none", False), *((codec, True) for codec in ("lz4", "zstd", "snappy", "gzip"))],
)
def test_chunks_are_compressed_on_their_way_as_the_setting_says(
    system: System, reader: ModelReader, compression: str, is_smaller: bool
) -> None:
    reported: dict[str, int] = {}
    statistics: dict[str, Any] = {
        "statistics.interval.ms": "50",
        "stats_cb": lambda text: reported.update(json.loads(text)),
    }
    clients = replace(system.clients, properties={**system.clients.properties, **statistics})
    parts = {kind: bytes(200_000) for kind in KINDS}
    sender = ModelPublisher(clients, system.topics, 100_000, compression=compression)
    sender.publish(manifest_of(1, tiny_parts()), parts)
    [found] = system.manifests()
    assert reader.fetch(found, KINDS) == parts
    system.wait_until(
        lambda: sender._client.poll(0) == 0 and reported.get("txmsgs", 0) > len(parts),
        "the producer tells what it has sent",
    )
    assert (reported["tx_bytes"] < reported["txmsg_bytes"] / 2) == is_smaller


def test_serving_fetches_its_parts_alone(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    publisher(system).publish(manifest_of(1, parts), parts)
    [found] = system.manifests()
    kinds = ("weights", "vocabulary")
    assert reader.fetch(found, kinds) == {kind: parts[kind] for kind in kinds}


def test_chunks_without_their_manifest_are_invisible_and_harmless(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    other = {kind: part[::-1] for kind, part in parts.items()}
    with pytest.raises(TypeError, match="seed"):
        publisher(system).publish(replace(manifest_of(1, parts), seed="unwritable"), other)
    assert len(system.records(system.topics.model_chunks)) > len(KINDS)
    assert system.manifests() == []
    publisher(system).publish(manifest_of(1, parts), parts)
    [found] = system.manifests()
    assert reader.fetch(found, KINDS) == parts


def test_a_damaged_chunk_is_refused(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    publisher(system, SpoilsChunks).publish(manifest_of(1, parts), parts)
    [found] = system.manifests()
    with pytest.raises(ArtifactError, match="chunk 0 of weights is not what the manifest says"):
        reader.fetch(found, KINDS)


def test_a_chunk_that_is_gone_is_refused(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    published = publisher(system).publish(manifest_of(1, parts), parts)
    late = [replace(place, first_offset=place.last_offset) for place in published.run.places]
    published = replace(published, run=replace(published.run, places=tuple(late)))
    with pytest.raises(ArtifactError, match="chunk 0 of optimizer is missing"):
        reader.fetch(published, KINDS)


def test_a_newer_format_is_refused(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    published = publisher(system).publish(manifest_of(1, parts), parts)
    with pytest.raises(ArtifactError, match=r"has format 99.*update it"):
        reader.fetch(replace(published, format=99), KINDS)


def test_an_older_publisher_is_fenced_and_nothing_of_it_is_seen(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    older = publisher(system)
    newer = publisher(system)
    with pytest.raises(FencedError):
        older.publish(manifest_of(1, parts), parts)
    newer.publish(manifest_of(1, parts), parts)
    with pytest.raises(FencedError):
        older.publish(manifest_of(2, parts), parts)
    assert [manifest.version for manifest in system.manifests()] == [1]
    keys = {record.key() for record in system.records(system.topics.model_chunks)}
    assert {key.split(b"/")[0] for key in keys if key} == {b"1"}


def test_a_fenced_leader_deletes_no_chunk_of_its_successor(
    system: System, reader: ModelReader, parts: dict[str, bytes]
) -> None:
    """What it takes for orphans are the keys of the version that the successor has published."""
    older = publisher(system)
    registry = read_registry(system.clients, system.topics, system.settings.trust)
    pruner = Pruner(system.clients, system.topics, registry, older)
    with pytest.raises(TypeError, match="seed"):
        older.publish(replace(manifest_of(1, parts), seed="unwritable"), parts)
    publisher(system).publish(manifest_of(1, parts), parts)
    with pytest.raises(FencedError):
        pruner.delete_orphans()
    [found] = system.manifests()
    assert reader.fetch(found, KINDS) == parts
    assert all(record.value() for record in system.records(system.topics.model_chunks))


def test_inference_keeps_the_old_version_where_the_new_one_is_damaged(
    system: System, parts: dict[str, bytes]
) -> None:
    publisher(system).publish(manifest_of(1, parts), parts)
    inference = system.start("inference")
    system.wait_until_ready(inference)
    publisher(system, SpoilsChunks).publish(manifest_of(2, parts), parts)
    system.wait_until(lambda: inference.metric("ader_artifacts_refused_total"), "2 is refused")
    assert inference.metric("ader_version_served") == 1
    assert inference.post("/recommend", {"items": ["item-1"]}).json()["version"] == 1
    publisher(system).publish(manifest_of(3, parts), parts)
    system.wait_until(lambda: inference.metric("ader_version_served") == 3, "3 is served")
    assert inference.metric("ader_artifacts_refused_total") == 1


def test_a_damaged_version_scores_nothing_and_stops_nobody(
    system: System, parts: dict[str, bytes]
) -> None:
    """Version 2 is not needed for serving when the worker starts, but would score block 2."""
    publisher(system).publish(manifest_of(1, parts), parts)
    publisher(system, SpoilsChunks).publish(manifest_of(2, parts), parts)
    publisher(system).publish(manifest_of(3, parts), parts)
    start = system.settings.block_rule.start(2)
    clicks = [Click("a", "item-1", start), Click("a", "item-2", start + 1)]
    written = system.settings.click_format
    system.send_raw(RawRecord(b"a", encode_click(c, written), timestamp=c.time + 1) for c in clicks)
    inference = system.start("inference")
    system.wait_until_scored(2)
    assert {key.version for key in system.scores()} == {1}
    assert inference.metric("ader_artifacts_refused_total") == 1


def test_killed_publishers_leave_whole_versions_and_no_hole(kafka: Kafka) -> None:
    outcome = kill_many(kafka.bootstrap_servers, kills=4, seed=5)
    assert outcome.versions >= 5
    assert outcome.orphans > 0, "killed too early or too late to prove anything"
