"""The inference worker: clicks and models in; recommendations, scores and HTTP answers out.

It follows `models` in one thread and `clicks` in another, and answers HTTP in a third. Run it with
``python -m consumers.inference`` or ``ader-stream run inference``; start as many as there are
partitions to share them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

import structlog
import torch

from ader_stream import metrics as m
from ader_stream.ader.artifact import decode_serving
from ader_stream.errors import ArtifactError
from ader_stream.metrics import Metrics
from ader_stream.process import Process
from ader_stream.serve.recommending import Target, recommend, score_targets
from ader_stream.serve.routes import RecommendRoutes
from ader_stream.serve.score_metrics import ScoreMetrics
from ader_stream.serve.versions import Version, Versions
from ader_stream.settings import Settings
from ader_stream.stream.clicks import ClickDecoder
from ader_stream.stream.codec import Headers, encode
from ader_stream.stream.exactly_once import ExactlyOnceLoop, LoopConfig, Transaction
from ader_stream.stream.manifest_follower import ManifestFollower
from ader_stream.stream.model_log import Manifest, ModelReader
from ader_stream.stream.prefixes import PrefixFollower
from ader_stream.stream.records import Record
from ader_stream.stream.score_log import Score, ScoreKey, encode_score, read_scores
from ader_stream.stream.serving_log import ServingLog
from ader_stream.stream.topics import check_topics
from ader_stream.types import Counts

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Follow clicks and models, score and answer, until SIGTERM.

    Raises
    ------
    AderError
        If Kafka or the topics are not as the settings say.
    """
    clients, topics = settings.clients, settings.topics
    clients.check_reachable()
    check_topics(clients.admin(), topics)
    torch.set_num_threads(settings.inference.threads)
    with Process("inference", settings) as process:
        _Worker(settings, process).run()


class _Models:
    """Follows the model log; swaps in every new version that can be loaded."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        clients, topics = settings.clients, settings.topics
        self._metrics = metrics
        self._reader = ModelReader(clients, topics)
        self._manifests: dict[int, Manifest] = {}
        self.versions = Versions(self._load)
        self.live_at: int | None = None
        self.publish_to_live: float | None = None
        self.follower = ManifestFollower(clients, topics.models, self._take)

    def _take(self, manifests: list[Manifest]) -> None:
        """Serve the newest of these that can be loaded; all of them exist for scoring."""
        is_fresh = len(manifests) == 1
        for manifest in manifests:
            self._manifests[manifest["version"]] = manifest
            self.versions.announce(manifest["version"], max(manifest["blocks"]))
        for manifest in reversed(manifests):
            if self._swap(manifest, is_fresh=is_fresh):
                return

    def _swap(self, manifest: Manifest, *, is_fresh: bool) -> bool:
        number, published_at = manifest["version"], manifest["run"]["published_at"]
        started = time.perf_counter()
        try:
            version = self._load(number)
        except ArtifactError as error:
            self._metrics[m.ARTIFACTS_REFUSED].inc()
            self.versions.withdraw(number)
            log.warning("version refused; the old one goes on", version=number, reason=str(error))
            return False
        self.versions.serve(version)
        self.live_at = time.time_ns() // 1_000_000
        self.publish_to_live = (self.live_at - published_at) / 1000 if is_fresh else None
        self._metrics[m.SWAP_SECONDS].observe(time.perf_counter() - started)
        self._metrics[m.VERSION_SERVED].set(number)
        if self.publish_to_live is not None:
            self._metrics[m.PUBLISH_TO_LIVE].set(self.publish_to_live)
        log.info("version live", version=number, publish_to_live=self.publish_to_live)
        return True

    def _load(self, number: int) -> Version:
        manifest = self._manifests[number]
        parts = self._reader.fetch(manifest, ("weights", "vocabulary"))
        model, vocabulary = decode_serving(parts["weights"], parts["vocabulary"])
        return Version(
            number,
            max(manifest["blocks"]),
            manifest["run"]["published_at"],
            model,
            vocabulary,
            tuple(manifest["frequent_items"]),
        )


class _Worker:
    """The partitions that this worker holds, and what others learn of it."""

    def __init__(self, settings: Settings, process: Process) -> None:
        self._settings = settings
        self._process = process
        self._models = _Models(settings, process.metrics)
        self._versions = self._models.versions
        self._score_metrics = ScoreMetrics(process.metrics)
        self._tasks: dict[int, _InferenceTask] = {}
        clients, topics = settings.clients, settings.topics
        self._loop = ExactlyOnceLoop(
            clients,
            LoopConfig(
                topics.clicks,
                topics.group("inference"),
                settings.clicks.start,
                settings.inference.commit_interval,
            ),
            self._open_task,
            lambda partition, lag: process.metrics[m.LAG].labels(partition=partition).set(lag),
        )
        routes = RecommendRoutes(
            self._versions, self._items_of, settings.inference.k, process.metrics
        )
        process.not_ready = self._not_ready
        process.serve(routes.routes())
        self._serving = ServingLog(clients, topics, process.address)

    def run(self) -> None:
        """Follow clicks until SIGTERM."""
        self._models.follower.start()
        try:
            self._loop.run(self._process.should_stop, self._after_round)
        finally:
            self._models.follower.stop()
            self._serving.withdraw()

    def _open_task(self, partition: int) -> _InferenceTask:
        task = _InferenceTask(partition, self._settings, self._versions, self._score_metrics)
        self._tasks[partition] = task
        return task

    def _after_round(self) -> None:
        self._models.follower.check()
        held = self._loop.partitions
        self._tasks = {partition: self._tasks[partition] for partition in held}
        blocks = {partition: task.open_block for partition, task in self._tasks.items()}
        self._versions.keep_for(block for block in blocks.values() if block is not None)
        served = self._versions.served
        self._serving.show(
            served.number if served else None,
            self._models.live_at,
            self._models.publish_to_live,
            blocks,
        )
        if served:
            age = time.time() - served.published_at / 1000
            self._process.metrics[m.MODEL_AGE].set(age)

    def _items_of(self, key: str) -> tuple[str, ...] | None:
        """Items of an open session; the first of our partitions that knows the key has it."""
        found = (task.items_of(key) for task in list(self._tasks.values()))
        return next((items for items in found if items is not None), None)

    def _not_ready(self) -> str:
        if not self._loop.has_joined:
            return "waiting for the group"
        return "" if self._versions.served else "no version has been published yet"


class _InferenceTask:
    """Prefixes and running scores of one input partition. Implements `PartitionTask`."""

    def __init__(
        self, partition: int, settings: Settings, versions: Versions, metrics: ScoreMetrics
    ) -> None:
        self._partition = partition
        self._settings = settings
        self._versions = versions
        self._metrics = metrics
        self._decoder = ClickDecoder(settings.click_format)
        self._follower = self._follow("")
        self._score_from = 0
        self._scores: dict[ScoreKey, Score] = {}
        self._uncommitted: dict[ScoreKey, Counts] = {}
        self._to_recommend: dict[str, tuple[tuple[str, ...], int]] = {}

    @property
    def open_block(self) -> int | None:
        """The first block that has not ended on this partition."""
        return self._follower.open_block

    def items_of(self, key: str) -> tuple[str, ...] | None:
        """Items of the key's open session."""
        return self._follower.items_of(key)

    def restore(self, next_offset: int, metadata: str) -> int:
        """Read the running scores; clicks below `next_offset` only rebuild prefixes."""
        self._score_from = next_offset
        self._follower = self._follow(metadata)
        topic = self._settings.topics.scores
        for key, score in read_scores(self._settings.clients, topic):
            if key.partition == self._partition:
                self._scores[key] = score
        read_from = self._follower.read_from
        return next_offset if read_from is None else min(read_from, next_offset)

    def process(self, records: list[Record]) -> None:
        """Score each click as the target of its prefix before it joins."""
        by_block: defaultdict[int, list[Target]] = defaultdict(list)
        for record, session, position in self._follower.observe(records):
            if record.offset() < self._score_from:
                continue
            items = tuple(click.item for click in session.clicks[: position + 1])
            by_block[session.block].append(Target(session.block, items[:-1], items[-1]))
            if self._settings.inference.recommendations:
                self._to_recommend[session.key] = (items, session.last)
        for block, targets in by_block.items():
            self._score(block, targets)

    def tick(self) -> None:
        """Nothing happens here without a record."""

    def is_dirty(self) -> bool:
        """Whether something waits to be written: never without a record."""
        return False

    def write(self, transaction: Transaction, next_offset: int) -> str:  # noqa: ARG002
        """Produce the scores that have changed, and recommendations where they are on."""
        topics = self._settings.topics
        for key in self._uncommitted:
            transaction.produce(topics.scores, *encode_score(key, self._scores[key]))
        for session, value, headers in self._recommendations():
            transaction.produce(topics.recommendations, session, value, headers, self._partition)
        return self._follower.metadata()

    def committed(self) -> None:
        """Show the counts; only now they are certain."""
        for key, counts in self._uncommitted.items():
            if key.version is not None:
                self._metrics.add(key.block, key.version, counts)
        self._uncommitted.clear()
        self._to_recommend.clear()

    def _follow(self, metadata: str) -> PrefixFollower:
        settings = self._settings
        return PrefixFollower(self._decoder, settings.block_rule, settings.session_rule, metadata)

    def _score(self, block: int, targets: list[Target]) -> None:
        version = self._versions.scoring(block)
        key = ScoreKey(block, version.number if version else None, self._partition)
        counts = score_targets(version, targets) if version else Counts()
        self._scores[key] = self._scores.get(key, Score()).plus(len(targets), counts)
        self._uncommitted[key] = self._uncommitted.get(key, Counts()) + counts

    def _recommendations(self) -> Iterator[tuple[str, bytes, Headers]]:
        version: Version | None = self._versions.served
        if version is None or not self._to_recommend:
            return
        sessions = [items for items, _ in self._to_recommend.values()]
        found = recommend(version, sessions, self._settings.inference.k)
        for (key, (_, last)), recommendation in zip(self._to_recommend.items(), found, strict=True):
            items = [{"item": item, "score": score} for item, score in recommendation.items]
            value = {
                "session": key,
                "version": recommendation.version,
                "time": last,
                "fallback": recommendation.fallback,
                "items": items,
            }
            yield key, *encode("Recommendation", value)


if __name__ == "__main__":
    from ader_stream.cli.main import run_worker

    run_worker(run)
