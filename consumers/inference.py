"""The inference worker: clicks and models in; recommendations, scores and HTTP answers out.

It follows `models` in one thread and `clicks` in another, and answers HTTP in a third. Run it with
``python -m consumers.inference`` or ``ader-stream run inference``; start as many as there are
partitions to share them.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

import structlog
import torch

from ader_stream import metrics as m
from ader_stream.errors import ArtifactError, NotYetError
from ader_stream.metrics import Metrics
from ader_stream.paired import Pair
from ader_stream.runtime.memory.allocator import give_back_large_blocks
from ader_stream.runtime.process import Process, run_worker
from ader_stream.runtime.tracing.spans import Tracing
from ader_stream.serve.comparing import compare
from ader_stream.serve.loaded_versions import LoadedVersions, Version
from ader_stream.serve.recommending import rank_clicks, recommend, score_targets
from ader_stream.serve.routes import RecommendRoutes
from ader_stream.serve.score_metrics import ScoreMetrics
from ader_stream.settings import Settings
from ader_stream.stream.clicks.decoder import ClickDecoder
from ader_stream.stream.clicks.start_check import StartCheck
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.control.rules_log import LoggedRules, RulesComparison, blocks_in_force
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.exactly_once.permission import Permission
from ader_stream.stream.kafka.limits import record_limits
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry.model_reader import PASSING, ModelReader
from ader_stream.stream.model_registry.registry import Registry, RegistryFollower
from ader_stream.stream.model_registry.serving_log import ServingLog
from ader_stream.stream.model_registry.version_roles import VersionRoles
from ader_stream.stream.operations.needed_rights import connect
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.scores.prequential import ModelFunctions, PrequentialTask, Scored
from ader_stream.stream.scores.recommendation_formats import recommendation_format
from ader_stream.stream.scores.score_log import read_partitions
from ader_stream.stream.scores.sessionizer_decisions import (
    SessionizerDecisions,
    place_of_sessionizer,
)
from ader_stream.stream.sessions.byte_bounds import fit_to_topics
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.stream.telemetry.client_statistics import ClientStatistics
from ader_stream.stream.topics.topics import check_topics, grow_topics, topic_id
from ader_stream.types import BlockRule, Recommendation, Target
from ader_stream.versions.canary import CanaryWatch
from ader_stream.versions.load import load_serving

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Follow clicks and models, score and answer, until SIGTERM.

    Raises
    ------
    AderError
        If Kafka or the topics are not as the settings say.
    """
    settings = settings.of_worker("inference")
    clients, topics = settings.clients, settings.topics
    rights = connect(clients, "inference", topics, settings.uses)
    partitions = check_topics(clients.admin(), topics)
    blocks_in_force(clients, topics, settings.block_rule)  # or it is refused here
    if settings.clicks.check_times:
        group, start, format_ = (
            topics.group("inference"),
            settings.clicks.start,
            settings.click_format,
        )
        check = StartCheck(clients, topics.clicks, group, start, ClickDecoder(format_), format_)
        check.require_plausible_times(partitions)
    torch.set_num_threads(settings.inference.threads)
    give_back_large_blocks()
    with Process("inference", settings) as process:
        permission = Permission(clients, "inference", rights, process.commits)
        _Worker(settings, process, permission).run()


class _VersionServer:
    """Follows the registry; serves what is to be served, as far as it can be loaded."""

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing) -> None:
        clients, topics = settings.clients, settings.topics
        self._metrics = metrics
        self._tracing = tracing
        self._jitter = settings.inference.jitter / 1000
        self._reader = ModelReader(clients, topics, settings.trust)
        self._registry = Registry(settings.trust, self._count_refusal)
        self._refused: dict[int, str] = {}
        self._seen: set[int] | None = None
        self._compared: LoggedRules | None = None
        self.versions = LoadedVersions(self._load)
        self.live_at: int | None = None
        self.publish_to_live: float | None = None
        self.follower = RegistryFollower(clients, topics, self._registry, self._follow)

    def _follow(self) -> None:
        """Bring what is served to what the registry says."""
        current, manifests = self._registry.roles, self._registry.manifests
        new = manifests.keys() - self._seen if self._seen is not None else set()
        self._seen = set(manifests)
        self._refused = {v: why for v, why in list(self._refused.items()) if why not in PASSING}
        self._set_scoring_versions(current)
        self._show_roles(current)
        for number in current.serving:
            if self._serve(number, is_new=number in new):
                break
        self._serve_canary(current)

    def compare_rules(self, comparison: RulesComparison, blocks: BlockRule) -> None:
        """Say where the settings differ from the sessionizer's.

        Raises
        ------
        SettingsError
            If blocks are cut in another way than ours (its newest grid): scores would be others'.
        """
        logged = self._registry.rules
        if logged is not self._compared:
            self._compared = logged
            logged.blocks_for(blocks)
            comparison.compare(logged)

    @property
    def erasures(self) -> Erasures:
        """Requests to erase keys."""
        return self._registry.erasures

    def _set_scoring_versions(self, current: VersionRoles) -> None:
        manifests = self._registry.manifests
        usable = {*current.line, *current.serving} - self._refused.keys()
        self.versions.set_last_blocks({number: manifests[number].last_block for number in usable})

    def _show_roles(self, current: VersionRoles) -> None:
        """Export what is to be served, and what would be without a pin or a rollback."""
        manifests = self._registry.manifests
        accepted = max((v for v in manifests if manifests[v].is_accepted), default=0)
        self._metrics[m.VERSION_CHOSEN].set(current.served or 0)
        self._metrics[m.VERSION_ACCEPTED].set(accepted)

    def _serve(self, number: int, *, is_new: bool) -> bool:
        """Serve a version, if it is not served yet; False if it cannot be loaded."""
        served = self.versions.served
        if served and served.number == number:
            return True
        if is_new and served:
            self.follower.stopping.wait(random.uniform(0, self._jitter))  # noqa: S311 - no secret
        started = time.perf_counter()
        published = self._registry.contexts.get(number, "")
        with self._tracing.span("swap", parent=published, version=number):
            version = self._loaded(number)
            if version is None:
                return False
            self.versions.serve(version)
        self.live_at = time.time_ns() // 1_000_000
        self.publish_to_live = (self.live_at - version.published_at) / 1000 if is_new else None
        self._metrics[m.SWAP_SECONDS].observe(time.perf_counter() - started)
        self._metrics[m.VERSION_SERVED].set(number)
        if self.publish_to_live is not None:
            self._metrics[m.PUBLISH_TO_LIVE].set(self.publish_to_live)
        log.info("version live", version=number, publish_to_live=self.publish_to_live)
        return True

    def _serve_canary(self, current: VersionRoles) -> None:
        version = self._loaded(current.candidate) if current.candidate else None
        self.versions.serve_canary(version, current.share)
        self._metrics[m.CANARY_VERSION].set(version.number if version else 0)
        self._metrics[m.CANARY_SHARE].set(current.share if version else 0.0)

    def _loaded(self, number: int) -> Version | None:
        """Return a version from memory or from the log; None if it cannot be used."""
        if number in self._refused:
            return None
        try:
            return self.versions.loaded(number) or self._load(number)
        except ArtifactError:
            self.versions.withdraw(number)
            return None

    def _load(self, number: int) -> Version:
        """Load a version; one that cannot be loaded is counted, and not tried again for nothing."""
        manifest = self._registry.manifests[number]
        try:
            model, vocabulary = load_serving(self._reader, manifest)
        except ArtifactError as error:
            self._refused[number] = error.reason
            self._count_refusal(error)
            raise
        return Version(
            number,
            manifest.last_block,
            manifest.run.published_at,
            model,
            vocabulary,
            manifest.frequent_items,
        )

    def _count_refusal(self, error: ArtifactError) -> None:
        self._metrics[m.ARTIFACTS_REFUSED].labels(reason=error.reason).inc()
        log.warning("version refused; the served one stays", reason=str(error))


def _decisions(settings: Settings) -> SessionizerDecisions:
    """Return what tells of the sessionizer's decisions."""
    idle, max_ahead = settings.sessionizer.idle_timeout, settings.clicks.max_ahead
    clients, topics = settings.clients, settings.topics
    pause = None if idle is None else idle // 2
    place = place_of_sessionizer(clients, topics)
    return SessionizerDecisions(clients, topics, pause, max_ahead, place)


class _Worker:
    """The partitions assigned to this worker, and what it reports of itself."""

    def __init__(self, settings: Settings, process: Process, permission: Permission) -> None:
        self._settings = settings
        self._process = process
        self._server = _VersionServer(settings, process.metrics, process.tracing)
        self._versions = self._server.versions
        self._score_metrics = ScoreMetrics(process.metrics)
        self._comparison = RulesComparison(settings.rules, process.metrics)
        topics = settings.topics
        self._limits = record_limits(settings.clients, topics.recommendations)
        self._fitted = fit_to_topics(
            self._limits.fitted(settings.clients),
            topics,
            settings.click_format,
            settings.session_rule,
        )
        self._recommendation_format = recommendation_format(
            settings.inference.recommendations_format,
            topics.recommendations,
            settings.click_format.registry,
        )
        clients, self._decoder = self._fitted.clients, ClickDecoder(self._fitted.clicks)
        self._decisions = _decisions(settings)
        self._loop = ExactlyOnceLoop(
            clients.observed(ClientStatistics(process.metrics)),
            LoopConfig(
                topics.clicks,
                topics.group("inference"),
                settings.clicks.start,
                settings.inference.commit_interval,
                topics.scores,
            ),
            self._open_tasks,
            process.metrics,
            self._check_readable,
            permission,
        )
        process.not_ready = self._not_ready
        process.serve(self._routes().routes())
        self._serving = ServingLog(clients, topics, process.address)
        self._canary = CanaryWatch(clients, topics, settings.fallback_rule, process.metrics)

    def _routes(self) -> RecommendRoutes:
        inference, process = self._settings.inference, self._process
        return RecommendRoutes(
            self._versions,
            self._items_of,
            inference.k,
            process.metrics,
            inference.max_requests,
            process.tracing,
        )

    def run(self) -> None:
        """Follow clicks until SIGTERM."""
        self._server.follower.start()
        try:
            self._loop.run(self._process.should_stop, self._after_round)
        finally:
            self._server.follower.stop()
            self._serving.withdraw()
            self._decisions.close()
            self._canary.close()

    def _open_tasks(
        self, partitions: Collection[int], stay: Callable[[], None]
    ) -> dict[int, PrequentialTask]:
        """Read the running scores; some of the partitions may be new ones of the clicks topic."""
        settings = self._settings
        clients, topics = settings.clients, settings.topics
        grow_topics(clients.admin(), topics)
        found = read_partitions(clients, topics.scores, stay)
        clicks_id = topic_id(clients.admin(), topics.clicks)
        recommend = self._recommend if settings.inference.recommendations else None
        blocks = blocks_in_force(clients, topics, settings.block_rule)  # may have been changed
        rules = blocks, self._fitted.sessions, settings.intake_rule
        room = self._limits.room(topics.recommendations)
        answers = ModelFunctions(
            self._score, self._score_metrics.add, recommend, room, self._recommendation_format
        )
        return {
            partition: PrequentialTask(
                partition,
                topics,
                found[partition],
                clicks_id,
                PrefixFollower(
                    self._decoder,
                    *rules,
                    PartitionErasures(self._server.erasures, partition, clicks_id),
                ),
                answers,
                self._process.metrics,
                self._decisions,
            )
            for partition in partitions
        }

    def _check_readable(self, batch: list[Record]) -> None:
        """Say whether the clicks can be decoded, and the sessionizer's decisions before are known.

        Raises
        ------
        NotYetError
            With the offset of the first click of which one of the two cannot be said yet.
        """
        try:
            self._decoder.check_readable(batch)
        except NotYetError as error:
            self._check_decisions([r for r in batch if r.offset() < error.offset])
            raise
        self._check_decisions(batch)

    def _check_decisions(self, batch: list[Record]) -> None:
        if batch:
            self._decisions.check_readable(batch)

    def _score(self, block: int, targets: list[Target]) -> Scored:
        """Score clicks of a block by the version that the block is to be scored by.

        Where a canary runs beside that version, both are scored.
        """
        version = self._versions.scoring(block)
        if version is None:
            return Scored()
        canary = self._versions.compared_with(version, block)
        if canary is None:
            return Scored(version.number, score_targets(version, targets))
        ranked, other = rank_clicks(version, targets), rank_clicks(canary, targets)
        paired = compare(ranked, other, targets)
        pair = Pair(version.number, canary.number)
        return Scored(version.number, ranked.counts, pair, paired)

    def _recommend(self, sessions: Mapping[str, tuple[str, ...]]) -> dict[str, Recommendation]:
        by_version: defaultdict[Version, list[str]] = defaultdict(list)
        for key in sessions:
            if version := self._versions.for_key(key):
                by_version[version].append(key)
        found: dict[str, Recommendation] = {}
        for version, keys in by_version.items():
            ranked = recommend(version, [sessions[key] for key in keys], self._settings.inference.k)
            found |= zip(keys, ranked, strict=True)
        return found

    def _after_round(self) -> None:
        self._server.follower.check()
        self._server.compare_rules(self._comparison, self._settings.block_rule)
        self._decisions.keep(self._loop.partitions)
        blocks = {partition: task.open_block for partition, task in self._loop.tasks.items()}
        self._versions.keep_for(block for block in blocks.values() if block is not None)
        served = self._versions.served
        self._serving.show(
            served.number if served else None,
            self._server.live_at,
            self._server.publish_to_live,
            blocks,
        )
        self._canary.look(self._versions.compared if 0 in self._loop.tasks else None)
        if served:
            age = time.time() - served.published_at / 1000
            self._process.metrics[m.MODEL_AGE].set(age)

    def _items_of(self, key: str) -> tuple[str, ...] | None:
        """Items of an open session; the first of our partitions that knows the key has it."""
        found = (task.items_of(key) for task in self._loop.tasks.values())
        return next((items for items in found if items is not None), None)

    def _not_ready(self) -> str:
        if reason := self._loop.not_ready():
            return reason
        return "" if self._versions.served else "no version has been published yet"


if __name__ == "__main__":
    run_worker(run)
