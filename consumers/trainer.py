"""The trainer: complete blocks in, one version of the model out for each.

One leads, others stand by; a leader on an empty machine goes on from the topics alone. Run it with
``python -m consumers.trainer`` or ``ader-stream run trainer``.
"""

from __future__ import annotations

import time

import structlog
import torch

from ader_stream import metrics as m
from ader_stream.ader.artifact import encode_parts
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import Recipe, overridden, recipe
from ader_stream.ader.training import Progress
from ader_stream.errors import FencedError, TrainingError
from ader_stream.process import Process, run_worker
from ader_stream.registry.describe import Making, describe_version
from ader_stream.registry.load import load_state
from ader_stream.settings import Settings
from ader_stream.stream.block_feed import BlockFeed, TrainingBlock
from ader_stream.stream.leadership import Leadership
from ader_stream.stream.manifest import Manifest
from ader_stream.stream.model_log import ModelPublisher
from ader_stream.stream.model_reader import ModelReader
from ader_stream.stream.topics import check_topics

log = structlog.get_logger(__name__)

METHOD = "ader"
POLL_SECONDS = 0.2


class _StopAskedError(Exception):
    """SIGTERM came while training."""


def run(settings: Settings) -> None:
    """Train a version for every complete block until SIGTERM.

    Raises
    ------
    AderError
        If Kafka, the topics or the recipe are not as the settings say.
    """
    chosen = overridden(recipe(settings.trainer.recipe), settings.trainer.overrides)
    clients, topics = settings.clients, settings.topics
    clients.check_reachable()
    check_topics(clients.admin(), topics)
    if settings.trainer.threads:
        torch.set_num_threads(settings.trainer.threads)
    with Process("trainer", settings) as process:
        process.not_ready = lambda: ""
        process.serve()
        leadership = Leadership(clients, topics.models, topics.group("trainer"))
        while not process.should_stop():
            leadership.poll(POLL_SECONDS)
            process.metrics[m.LEADER].set(leadership.holds)
            if leadership.holds:
                try:
                    _Leader(settings, chosen, process, leadership).lead()
                except FencedError as error:
                    log.warning("no longer leading", reason=str(error))
                except _StopAskedError:
                    log.info("stopped in mid-cycle; the block will be trained again")
        leadership.close()


class _Leader:
    """The trainer that leads, from the newest version on."""

    def __init__(
        self, settings: Settings, recipe_: Recipe, process: Process, leadership: Leadership
    ) -> None:
        self._settings = settings
        self._making = Making(METHOD, settings.trainer.recipe, recipe_, settings.trainer.seed)
        self._process = process
        self._metrics = process.metrics
        self._leadership = leadership
        clients, topics = settings.clients, settings.topics
        self._publisher = ModelPublisher(
            clients, topics, settings.trainer.chunk_size, settings.signer
        )
        reader = ModelReader(clients, topics, settings.trust)
        manifests = reader.manifests()
        self._last: Manifest | None = manifests[-1] if manifests else None
        self._state = load_state(reader, self._last) if self._last else None
        self._feed = BlockFeed(
            clients, topics.sessions, check_topics(clients.admin(), topics), _offsets(self._last)
        )
        self._last_poll = 0.0
        log.info("leading", version=self._last and self._last["version"])

    def lead(self) -> None:
        """Train and publish until SIGTERM or until another trainer leads."""
        try:
            while not self._process.should_stop():
                self._leadership.require()
                self._feed.poll(POLL_SECONDS)
                self._metrics[m.BLOCKS_WAITING].set(len(self._feed.waiting()))
                block = self._feed.next_block(self._settings.blocks.min_sessions)
                if block is not None:
                    self._train_and_publish(block)
        finally:
            self._feed.close()

    def _train_and_publish(self, block: TrainingBlock) -> None:
        log.info("update cycle", blocks=block.blocks, sessions=len(block.sessions))
        started = time.perf_counter()
        try:
            state, report = train_cycle(
                [session.items for session in block.sessions],
                self._state,
                self._making.recipe,
                self._making.seed,
                self._show,
            )
        except TrainingError as error:
            log.warning("blocks passed over", blocks=block.blocks, reason=str(error))
            return
        seconds = time.perf_counter() - started
        parts = encode_parts(state)
        previous = self._last["version"] if self._last else None
        manifest = describe_version(
            block, self._making, previous=previous, parent=previous, report=report, seconds=seconds
        )
        self._metrics[m.VERSION_TRAINED].set(manifest["version"])
        self._metrics[m.CYCLE_SECONDS].set(seconds)
        self._metrics[m.CYCLES].inc()
        self._leadership.require()
        publishing = time.perf_counter()
        self._last, self._state = self._publisher.publish(manifest, parts), state
        self._metrics[m.PUBLISH_SECONDS].set(time.perf_counter() - publishing)
        self._metrics[m.VERSION_PUBLISHED].set(manifest["version"])
        log.info(
            "version published",
            version=manifest["version"],
            blocks=block.blocks,
            epochs=report.epochs,
            seconds=round(seconds, 1),
            digest=self._last["digest"][:12],
        )

    def _show(self, progress: Progress) -> None:
        """Show progress, stay a member of the group, and stop where that is asked for."""
        if self._process.should_stop():
            raise _StopAskedError
        now = time.monotonic()
        if now - self._last_poll >= POLL_SECONDS or progress.ends_epoch:
            self._last_poll = now
            self._leadership.require()
            self._show_metrics(progress)
        if progress.ends_epoch:
            log.info(
                "epoch",
                epoch=progress.epoch,
                loss=round(progress.loss, 4),
                validation_recall20=progress.validation_recall20,
                samples_per_second=round(progress.samples_per_second),
            )

    def _show_metrics(self, progress: Progress) -> None:
        self._metrics[m.CYCLE_EPOCH].set(progress.epoch)
        self._metrics[m.CYCLE_PROGRESS].set(progress.step / max(1, progress.steps))
        self._metrics[m.CYCLE_LOSS].set(progress.loss)
        self._metrics[m.CYCLE_SPEED].set(progress.samples_per_second)
        if progress.validation_recall20 is not None:
            self._metrics[m.CYCLE_VALIDATION].set(progress.validation_recall20 / 100)


def _offsets(manifest: Manifest | None) -> dict[int, int]:
    offsets = manifest["run"]["offsets"] if manifest else []
    return {place["partition"]: place["next_offset"] for place in offsets}


if __name__ == "__main__":
    run_worker(run)
