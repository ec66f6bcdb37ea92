from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.artifact import KINDS
from ader_stream.errors import FencedError
from ader_stream.stream.model_registry import model_log
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.pruning import Pruner
from ader_stream.stream.model_registry.registry import Registry, read_registry
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka, example_manifest

TOPICS = Topics("ader")
CHUNK_SIZE = 4
FENCED = KafkaError(KafkaError._FENCED, "fenced by another", fatal=True)

Parts = dict[str, bytes]


class ChangedError(Exception):
    """A command has changed what a version is made of while it was sent."""


class Leader:
    """Publishes and prunes as the trainer does, in memory."""

    def __init__(self, kafka: FakeKafka, keep: int) -> None:
        self.publisher = ModelPublisher(kafka, TOPICS, CHUNK_SIZE)
        self.registry = read_registry(kafka, TOPICS, Trust())
        self.pruner = Pruner(kafka, TOPICS, self.registry, self.publisher, keep)
        self.producer = kafka.producers[-1]
        self.pruner.delete_orphans()
        self.pruner.prune()

    @property
    def next_version(self) -> int:
        return max(self.registry.manifests, default=0) + 1

    def publish(self, parts: Parts, *, times_changed: int) -> None:
        """Publish, after so many times that it was begun and given up."""
        changes = [ChangedError] * times_changed

        def last_look() -> None:
            if changes:
                raise changes.pop()

        while True:
            version = self.next_version
            manifest = example_manifest(version, parent=self.registry.roles.parent)
            try:
                published = self.publisher.publish(manifest, parts, last_look)
            except ChangedError:
                self.pruner.delete_orphans()
            else:
                self.registry.manifests[version] = published
                return self.pruner.prune()

    def die(self, parts: Parts, commits: int) -> bool:
        """Publish, and die with so many transactions committed; False where there are fewer."""
        self.producer.failures = {self.producer._commits + commits: FENCED}
        try:
            self.publish(parts, times_changed=0)
        except FencedError:
            return True
        self.producer.failures = {}
        return False


parts_of_any_size = st.fixed_dictionaries({kind: st.binary(max_size=30) for kind in KINDS})


@given(keep=st.sampled_from([0, 2, 3]), data=st.data())
def test_what_is_kept_can_be_read_and_nothing_else_is_held(keep: int, data: st.DataObject) -> None:
    kafka, sent = FakeKafka(), dict[int, Parts]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_log, "CHUNKS_A_TRANSACTION", 2)
        leader = Leader(kafka, keep)
        for _ in range(data.draw(st.integers(0, 8))):
            version, parts = leader.next_version, data.draw(parts_of_any_size)
            has_died = data.draw(st.booleans()) and leader.die(parts, data.draw(st.integers(0, 9)))
            if not has_died and leader.next_version == version:
                leader.publish(parts, times_changed=data.draw(st.integers(0, 2)))
            if not has_died or version in manifests(kafka).manifests:
                sent[version] = parts
            if has_died or data.draw(st.integers(0, 3)) == 0:
                require_readable(kafka, sent)
                leader = Leader(kafka, keep)
            require_readable(kafka, sent)
            require_nothing_else(kafka)


def manifests(kafka: FakeKafka) -> Registry:
    return read_registry(kafka, TOPICS, Trust())


def require_readable(kafka: FakeKafka, sent: dict[int, Parts]) -> None:
    reader = ModelReader(kafka, TOPICS, pause=lambda _: None)
    for version, manifest in manifests(kafka).manifests.items():
        assert reader.fetch(manifest, KINDS) == sent[version]


def require_nothing_else(kafka: FakeKafka) -> None:
    last = {record.key(): record.value() for record in kafka.records(TOPICS.model_chunks)}
    named = {key for m in manifests(kafka).manifests.values() for key in m.chunk_keys()}
    assert {key.decode() for key, value in last.items() if value is not None} == named
