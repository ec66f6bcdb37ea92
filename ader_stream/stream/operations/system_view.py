"""What the topics say of the whole system: sessions, versions, who serves them, scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from confluent_kafka import TopicPartition

from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.dead_letters.letters import is_letter
from ader_stream.stream.kafka.changelog import checked, offset_range
from ader_stream.stream.kafka.clients import READ_MESSAGES, KafkaClients, close
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.scores.score_log import SCORE, Score, ScoreKey, decode_score
from ader_stream.stream.sessions.outputs import BlockCounts
from ader_stream.stream.topics.topics import Topics, partition_counts
from ader_stream.stream.versions.manifest import Trust
from ader_stream.stream.versions.registry import Registry

log = structlog.get_logger(__name__)


class SystemView:
    """Follows our own topics from their beginning; read committed, without a group.

    Parameters
    ----------
    whole
        Also follow sessions, scores and dead letters; without it, versions and serving only.

    Attributes
    ----------
    manifests
        By version.
    serving
        Worker → its Serving record.
    publish_to_live
        Version → seconds until the last worker that saw it come served it.
    scores
        Running counts.
    blocks
        Ended blocks' counts, summed over partitions.
    dead_letters
        Number of them.
    """

    def __init__(self, clients: KafkaClients, topics: Topics, *, whole: bool = True) -> None:
        self._registry = Registry(Trust(), lambda error: log.warning("refused", reason=str(error)))
        self.manifests = self._registry.manifests
        self.serving: dict[str, Mapping[str, Any]] = {}
        self.publish_to_live: dict[int, float] = {}
        self.scores: dict[ScoreKey, Score] = {}
        self.blocks: defaultdict[int, BlockCounts] = defaultdict(BlockCounts)
        self.dead_letters = 0
        self._take_by_topic: dict[str, Callable[[Record], None]] = {
            topics.models: self._registry.take_manifest,
            topics.control: self._registry.take_command,
            topics.serving: self._take_serving,
        }
        if whole:
            self._take_by_topic |= {
                topics.sessions: self._take_session_record,
                topics.scores: self._take_score,
                topics.dead_letters: self._take_dead_letter,
            }
        partitions = partition_counts(clients.admin())
        self._input_partitions = partitions[topics.clicks]
        self._reader = clients.reader()
        self._reader.assign(
            [
                TopicPartition(topic, partition, offset_range(clients, topic, partition)[0])
                for topic in self._take_by_topic
                for partition in range(partitions[topic])
            ]
        )

    def poll(self, timeout: float) -> None:
        """Take what has come, waiting up to `timeout` seconds for the first record."""
        for record in checked(self._reader.consume(READ_MESSAGES, timeout)):
            self._take_by_topic[record.topic()](record)

    def close(self) -> None:
        """Stop reading."""
        close(self._reader)

    def served_block(self) -> int | None:
        """The last block that every input partition is served for; None before the first.

        That is the last one that its version was trained on. Where it is the version that is to be
        served, or there is none to be served, no block that has come to nothing is waited for.
        A worker that died may still stand here; what counts for a partition is the newest version
        that a holder of it has said to serve.
        """
        if self._registry.newest and self._registry.standing.served is None:
            return int(max(self._registry.newest["blocks"]))
        newest: dict[int, int] = {}
        for record in self.serving.values():
            version = record["version"] or 0
            for held in record["partitions"] if version in self.manifests else ():
                newest[held["partition"]] = max(newest.get(held["partition"], 0), version)
        if len(newest) < self._input_partitions:
            return None
        oldest = min(newest.values())
        if oldest == self._registry.standing.served and self._registry.newest:
            oldest = self._registry.newest["version"]
        return int(max(self.manifests[oldest]["blocks"]))

    def _take_serving(self, record: Record) -> None:
        worker = (record.key() or b"").decode()
        if record.value() is None:
            self.serving.pop(worker, None)
            return
        value = decode(record.value(), record.headers())[1]
        self.serving[worker] = value
        seconds, version = value["publish_to_live_seconds"], value["version"]
        if seconds is not None:
            self.publish_to_live[version] = max(seconds, self.publish_to_live.get(version, 0.0))

    def _take_session_record(self, record: Record) -> None:
        if type_of(record.headers()) == "BlockEnd":
            _, value = decode(record.value(), record.headers())
            counts = self.blocks[value["block"]]
            counts.clicks += value["clicks"]
            counts.sessions += value["sessions"]
            counts.late += value["late"]

    def _take_score(self, record: Record) -> None:
        if type_of(record.headers()) == SCORE:
            key, score = decode_score(decode(record.value(), record.headers())[1])
            self.scores[key] = score

    def _take_dead_letter(self, record: Record) -> None:
        self.dead_letters += is_letter(record)
