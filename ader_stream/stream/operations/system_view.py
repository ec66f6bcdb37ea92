"""Show the state of the whole system from its topics: sessions, versions, serving, scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import structlog

from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.dead_letters.letters import is_letter
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.follower import Handler, LogFollower
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.scores.score_log import SCORE, Score, ScoreKey, decode_score
from ader_stream.stream.sessions.outputs import BlockCounts
from ader_stream.stream.topics.topics import Topics, partition_counts

log = structlog.get_logger(__name__)


class SystemView:
    """Follow our own topics from their first records; read committed, without a group.

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
        handlers: dict[str, Handler] = {
            topics.models: self._registry.take_manifest,
            topics.control: self._registry.take_command,
            topics.serving: self._take_serving,
        }
        if whole:
            handlers |= {
                topics.sessions: self._take_session_record,
                topics.scores: self._take_score,
                topics.dead_letters: self._take_dead_letter,
            }
        partitions = partition_counts(clients.admin())
        self._input_partitions = partitions[topics.clicks]
        self._follower = LogFollower(clients, handlers)
        for topic in handlers:
            self._follower.follow_from_first(topic, range(partitions[topic]))

    def poll(self, timeout: float) -> None:
        """Take what has arrived; wait up to `timeout` seconds for the first record."""
        self._follower.poll(timeout)

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()

    def served_block(self) -> int | None:
        """Return the last block that every input partition is served for; None before the first.

        That is the last block that its served version was trained on. If that is the version to be
        served, or if there is none to be served, blocks without a version are not waited for. A
        dead worker may still have a record here; for a partition, the newest version counts that
        one of its owners has reported to serve.
        """
        if self._registry.newest and self._registry.roles.served is None:
            return self._registry.newest.last_block
        newest: dict[int, int] = {}
        for record in self.serving.values():
            version = record["version"] or 0
            for held in record["partitions"] if version in self.manifests else ():
                newest[held["partition"]] = max(newest.get(held["partition"], 0), version)
        if len(newest) < self._input_partitions:
            return None
        oldest = min(newest.values())
        if oldest == self._registry.roles.served and self._registry.newest:
            oldest = self._registry.newest.version
        return self.manifests[oldest].last_block

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
