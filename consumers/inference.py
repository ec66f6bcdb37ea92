"""The inference worker: clicks and models in; recommendations, scores and HTTP answers out.

It follows `models` in one thread and `clicks` in another, and answers HTTP in a third. Run it with
``python -m consumers.inference`` or ``ader-stream run inference``; start as many as there are
partitions to share them.
"""

from __future__ import annotations

import time

import structlog
import torch

from ader_stream import metrics as m
from ader_stream.errors import ArtifactError
from ader_stream.metrics import Metrics
from ader_stream.process import Process, run_worker
from ader_stream.registry.load import load_serving
from ader_stream.serve.recommending import recommend, score_targets
from ader_stream.serve.routes import RecommendRoutes
from ader_stream.serve.score_metrics import ScoreMetrics
from ader_stream.serve.versions import Version, Versions
from ader_stream.settings import Settings
from ader_stream.stream.clicks import ClickDecoder
from ader_stream.stream.exactly_once import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.manifest import Manifest, decode_manifest
from ader_stream.stream.manifest_follower import ManifestFollower
from ader_stream.stream.model_reader import ModelReader
from ader_stream.stream.prefixes import PrefixFollower
from ader_stream.stream.prequential import Answers, PrequentialTask
from ader_stream.stream.records import Record
from ader_stream.stream.serving_log import ServingLog
from ader_stream.stream.topics import check_topics
from ader_stream.types import Counts, Recommendation, Target

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
        self._trust = settings.trust
        self._reader = ModelReader(clients, topics, self._trust)
        self._manifests: dict[int, Manifest] = {}
        self.versions = Versions(self._load)
        self.live_at: int | None = None
        self.publish_to_live: float | None = None
        self.follower = ManifestFollower(
            clients,
            topics.models,
            self._decode,
            lambda standing: self._take(standing, is_new=False),
            self._take,
        )

    def _decode(self, record: Record) -> Manifest | None:
        """Return the manifest in a record; one that cannot be used is counted."""
        if record.value() is None:
            return None
        try:
            return decode_manifest(record, self._trust)
        except ArtifactError as error:
            self._refuse(error, offset=record.offset())
            return None

    def _take(self, manifests: list[Manifest], *, is_new: bool = True) -> None:
        """Serve the newest of these that can be loaded; all of them exist for scoring."""
        for manifest in manifests:
            self._manifests[manifest["version"]] = manifest
            self.versions.announce(manifest["version"], max(manifest["blocks"]))
        for manifest in reversed(manifests):
            if self._swap(manifest, is_new=is_new):
                return

    def _swap(self, manifest: Manifest, *, is_new: bool) -> bool:
        number, published_at = manifest["version"], manifest["run"]["published_at"]
        started = time.perf_counter()
        try:
            version = self._load(number)
        except ArtifactError:
            self.versions.withdraw(number)
            return False
        self.versions.serve(version)
        self.live_at = time.time_ns() // 1_000_000
        self.publish_to_live = (self.live_at - published_at) / 1000 if is_new else None
        self._metrics[m.SWAP_SECONDS].observe(time.perf_counter() - started)
        self._metrics[m.VERSION_SERVED].set(number)
        if self.publish_to_live is not None:
            self._metrics[m.PUBLISH_TO_LIVE].set(self.publish_to_live)
        log.info("version live", version=number, publish_to_live=self.publish_to_live)
        return True

    def _load(self, number: int) -> Version:
        """Load a version; one that cannot be loaded is counted."""
        try:
            return self._fetch(self._manifests[number])
        except ArtifactError as error:
            self._refuse(error, version=number)
            raise

    def _fetch(self, manifest: Manifest) -> Version:
        model, vocabulary = load_serving(self._reader, manifest)
        return Version(
            manifest["version"],
            max(manifest["blocks"]),
            manifest["run"]["published_at"],
            model,
            vocabulary,
            tuple(manifest["frequent_items"]),
        )

    def _refuse(self, error: ArtifactError, **which: int) -> None:
        self._metrics[m.ARTIFACTS_REFUSED].labels(reason=error.reason).inc()
        log.warning("version refused; the old one goes on", **which, reason=str(error))


class _Worker:
    """The partitions that this worker holds, and what others learn of it."""

    def __init__(self, settings: Settings, process: Process) -> None:
        self._settings = settings
        self._process = process
        self._models = _Models(settings, process.metrics)
        self._versions = self._models.versions
        self._score_metrics = ScoreMetrics(process.metrics)
        self._tasks: dict[int, PrequentialTask] = {}
        self._decoder = ClickDecoder(settings.click_format)
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
            self._decoder.check_readable,
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

    def _open_task(self, partition: int) -> PrequentialTask:
        settings = self._settings
        recommend = self._recommend if settings.inference.recommendations else None
        task = PrequentialTask(
            partition,
            settings.clients,
            settings.topics,
            PrefixFollower(
                self._decoder, settings.block_rule, settings.session_rule, settings.intake_rule
            ),
            Answers(self._score, self._score_metrics.add, recommend),
        )
        self._tasks[partition] = task
        return task

    def _score(self, block: int, targets: list[Target]) -> tuple[int | None, Counts]:
        """Score clicks of a block by the version that the block is to be scored by."""
        version = self._versions.scoring(block)
        return (version.number, score_targets(version, targets)) if version else (None, Counts())

    def _recommend(self, sessions: list[tuple[str, ...]]) -> list[Recommendation]:
        version = self._versions.served
        return recommend(version, sessions, self._settings.inference.k) if version else []

    def _after_round(self) -> None:
        self._models.follower.check()
        self._process.metrics[m.WAITING].set(self._loop.waiting)
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


if __name__ == "__main__":
    run_worker(run)
