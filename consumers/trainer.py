"""The trainer: complete blocks in, one version of the model out for each.

One leads, others stand by; a leader on an empty machine goes on from the topics alone. Run it with
``python -m consumers.trainer`` or ``ader-stream run trainer``.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from importlib.metadata import version as installed
from itertools import chain

import structlog
import torch

from ader_stream import metrics as m
from ader_stream.ader.artifact import content_digest, decode_state, encode_parts
from ader_stream.ader.cycle import CycleReport, train_cycle
from ader_stream.ader.recipes import Recipe, numbers_of, overridden, recipe
from ader_stream.ader.state import State
from ader_stream.ader.training import Progress
from ader_stream.errors import FencedError, TrainingError
from ader_stream.process import Process, run_worker
from ader_stream.settings import Settings
from ader_stream.stream.block_feed import BlockFeed, TrainingBlock
from ader_stream.stream.leadership import Leadership
from ader_stream.stream.model_log import KINDS, Manifest, ModelPublisher, ModelReader
from ader_stream.stream.topics import check_topics

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
FREQUENT_ITEMS = 100
"""Items kept in a manifest for sessions of which nothing is known."""


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
        self._recipe = recipe_
        self._process = process
        self._metrics = process.metrics
        self._leadership = leadership
        clients, topics = settings.clients, settings.topics
        self._publisher = ModelPublisher(clients, topics, settings.trainer.chunk_size)
        reader = ModelReader(clients, topics)
        manifests = reader.manifests()
        self._last: Manifest | None = manifests[-1] if manifests else None
        self._state: State | None = (
            decode_state(reader.fetch(self._last, KINDS)) if self._last else None
        )
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
                self._recipe,
                self._settings.trainer.seed,
                self._show,
            )
        except TrainingError as error:
            log.warning("blocks passed over", blocks=block.blocks, reason=str(error))
            return
        seconds = time.perf_counter() - started
        parts = encode_parts(state)
        manifest = self._manifest(block, report, seconds, content_digest(parts))
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
            digest=manifest["digest"][:12],
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

    def _manifest(
        self, block: TrainingBlock, report: CycleReport, seconds: float, digest: str
    ) -> Manifest:
        previous = self._last["version"] if self._last else None
        frequency = Counter(chain.from_iterable(session.items for session in block.sessions))
        return {
            "version": (previous or 0) + 1,
            "parent": previous,
            "predecessor": previous,
            "blocks": list(block.blocks),
            "method": "ader",
            "recipe": self._settings.trainer.recipe,
            "hyperparameters": numbers_of(self._recipe),
            "seed": self._settings.trainer.seed,
            "frequent_items": [item for item, _ in frequency.most_common(FREQUENT_ITEMS)],
            "digest": digest,
            "report": _report(report),
            "run": {
                "offsets": [
                    {"partition": partition, "next_offset": offset}
                    for partition, offset in sorted(block.next_offsets.items())
                ],
                "train_seconds": seconds,
                "samples_per_second": report.samples_per_second,
                "herding_seconds": report.herding_seconds,
                "code_version": installed("ader-stream"),
                "libraries": {name: installed(name) for name in ("torch", "numpy", "safetensors")},
                "device": f"cpu {platform.machine()}",
                "threads": torch.get_num_threads(),
            },
        }


def _report(report: CycleReport) -> dict[str, object]:
    return {
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "losses": report.losses,
        "validation_recall20": report.validation,
        "adaptive_weight": report.adaptive_weight,
        "exemplars": report.exemplars,
        "sessions": report.sessions,
        "clicks": report.clicks,
        "train_samples": report.train_samples,
        "items": report.items,
        "new_items": report.new_items,
    }


def _offsets(manifest: Manifest | None) -> dict[int, int]:
    offsets = manifest["run"]["offsets"] if manifest else []
    return {place["partition"]: place["next_offset"] for place in offsets}


if __name__ == "__main__":
    run_worker(run)
