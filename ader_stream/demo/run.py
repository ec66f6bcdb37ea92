"""The demo: a local Kafka, every worker as its own process, clicks block by block, a report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ader_stream.datasets import Block, Dataset
from ader_stream.demo.live_table import LiveRow, LiveView
from ader_stream.demo.report import BlockReport, DemoReport, KafkaReport, SeenItems, Update
from ader_stream.demo.workers import MONITOR, NAMES, Workers
from ader_stream.errors import DemoError
from ader_stream.local_kafka import Guard, LocalKafka
from ader_stream.settings import Settings
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.operations.replay import Replayer
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.topics.topics import create_topics
from ader_stream.types import Counts

POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""Seconds between two reads of the trainer's metrics."""

STALL_SECONDS = 1_800.0
"""Seconds without progress after which the demo fails."""


@dataclass(frozen=True)
class DemoPlan:
    """Parameters of a demo run.

    Parameters
    ----------
    dataset
        Clicks.
    blocks
        Number of its blocks to replay; None for all.
    out
        Folder for logs and the report.
    partitions
        Number of partitions of the clicks topic.
    worker_settings
        Group → name → value, in addition to address and prefix.
    with_monitor
        Also run the monitor.
    """

    dataset: Dataset
    blocks: int | None
    out: Path
    partitions: int
    worker_settings: Mapping[str, Mapping[str, str]]
    with_monitor: bool = False


def run_demo(plan: DemoPlan, settings: Settings, kafka: LocalKafka, workers: Workers) -> DemoReport:
    """Replay the data set through the whole system, and return a report.

    Raises
    ------
    DemoError
        If a worker ends early or there is no progress.
    """
    started = time.monotonic()
    clients, topics = settings.clients, settings.topics
    replayer = Replayer(clients, topics, settings.block_rule, settings.click_format, rate=None)
    view = SystemView(clients, topics)
    table = LiveView(plan.dataset.name, simulated=plan.dataset.simulated)
    with table as live:
        watch = _Watch(view, workers, live)
        for block in islice(plan.dataset.blocks(), plan.blocks):
            watch.add_block(block)
            replayer.send(block.clicks)
            replayer.end_block(block.number)
            watch.wait_until_done(block.number, replayer.clicks_sent)
    view.close()
    return DemoReport(
        dataset=plan.dataset.name,
        simulated=plan.dataset.simulated,
        kafka=KafkaReport(kafka.version, kafka.source),
        clicks_sent=replayer.clicks_sent,
        clicks_consumed=sum(c.clicks for c in view.blocks.values()) + view.dead_letters,
        sessions_published=sum(counts.sessions for counts in view.blocks.values()),
        dead_letters=view.dead_letters,
        seconds=time.monotonic() - started,
        blocks=watch.block_reports(),
    )


@contextmanager
def running_workers(plan: DemoPlan, settings: Settings, guard: Guard) -> Iterator[Workers]:
    """Create the topics, and run every worker on them until the context ends."""
    create_topics(settings.clients.admin(), settings.topics, plan.partitions)
    kafka = {
        "bootstrap_servers": settings.kafka.bootstrap_servers,
        "prefix": settings.kafka.prefix,
    }
    names = (*NAMES, MONITOR) if plan.with_monitor else NAMES
    workers = Workers(plan.out, guard, {**plan.worker_settings, "kafka": kafka}, names)
    try:
        yield workers
    finally:
        workers.stop()


class _Watch:
    """Reads the topics and the trainer's metrics, and shows the progress."""

    def __init__(self, view: SystemView, workers: Workers, live: LiveView) -> None:
        self._view = view
        self._workers = workers
        self._live = live
        self._seen_items = SeenItems()
        self._new_item_shares: dict[int, float | None] = {}
        self._cycles: dict[int, tuple[int, float | None]] = {}
        self._next_look = 0.0

    def add_block(self, block: Block) -> None:
        """Register a block before it is sent."""
        self._new_item_shares[block.number] = self._seen_items.new_share(block.clicks)

    def wait_until_done(self, block: int, clicks_sent: int) -> None:
        """Wait until every click so far is scored, and the version trained on the block serves.

        Raises
        ------
        DemoError
            If a worker ends, or there is no progress for `STALL_SECONDS`.
        """
        moved_at, seen = time.monotonic(), None
        while not self._is_done(block, clicks_sent):
            self._view.poll(POLL_SECONDS)
            self._look(block)
            now = (self._clicks_scored(), len(self._view.manifests), self._cycles.get(block))
            if now != seen:
                moved_at, seen = time.monotonic(), now
            if time.monotonic() - moved_at > STALL_SECONDS:
                raise DemoError(
                    f"nothing has moved for {STALL_SECONDS:g} s at block {block}; "
                    "see the workers' logs in the output folder"
                )
        self._look(block, at_once=True)

    def block_reports(self) -> tuple[BlockReport, ...]:
        """Return the results of each block."""
        return tuple(self._report(block) for block in self._new_item_shares)

    def _report(self, block: int) -> BlockReport:
        counts, version = self._score(block)
        ended = self._view.blocks[block]
        return BlockReport(
            block=block,
            clicks=ended.clicks,
            sessions=ended.sessions,
            new_item_share=self._new_item_shares[block],
            scored_by_version=version,
            prequential=counts if version is not None else None,
            update=self._update(block),
        )

    def _update(self, block: int) -> Update | None:
        manifest = self._manifest_of(block)
        if manifest is None:
            return None
        report, run = manifest.report, manifest.run
        curve = report.validation_recall20
        return Update(
            version=manifest.version,
            parent=manifest.parent,
            train_seconds=run.train_seconds,
            epochs=report.epochs,
            exemplars=report.exemplars,
            adaptive_weight=report.adaptive_weight,
            validation_recall=max(curve, default=None),
            publish_to_live_seconds=self._view.publish_to_live.get(manifest.version),
        )

    def _is_done(self, block: int, clicks_sent: int) -> bool:
        served = self._view.served_block()
        is_scored = self._clicks_scored() + self._view.dead_letters >= clicks_sent
        return is_scored and served is not None and served >= block

    def _clicks_scored(self) -> int:
        return sum(score.clicks for score in self._view.scores.values())

    def _score(self, block: int) -> tuple[Counts, int | None]:
        """Return the counts of a block, and the version that scored it (the newer one of two)."""
        scores = {key: score for key, score in self._view.scores.items() if key.block == block}
        versions = [key.version for key in scores if key.version is not None]
        counts = sum((score.counts for score in scores.values()), Counts())
        return counts, max(versions, default=None)

    def _manifest_of(self, block: int) -> Manifest | None:
        manifests = self._view.manifests.values()
        return next((found for found in manifests if block in found.blocks), None)

    def _look(self, block: int, *, at_once: bool = False) -> None:
        """Check the workers and redraw the table, if it is time to."""
        if time.monotonic() < self._next_look and not at_once:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._workers.check()
        if self._manifest_of(block) is None:
            self._look_at_the_trainer(block)
        self._live.show([self._row(shown) for shown in self._new_item_shares])

    def _look_at_the_trainer(self, block: int) -> None:
        values = self._workers.metrics("trainer")
        if values.get("ader_blocks_waiting") == 0 and "ader_cycle_epoch" in values:
            recall = values.get("ader_cycle_validation_recall20_ratio")
            epoch = int(values["ader_cycle_epoch"])
            self._cycles[block] = epoch, None if recall is None else 100 * recall

    def _row(self, block: int) -> LiveRow:
        report = self._report(block)
        update = report.update
        epoch, recall = self._cycles.get(block, (None, None))
        served = self._view.served_block()
        scored = sum(s.clicks for key, s in self._view.scores.items() if key.block == block)
        return LiveRow(
            block=block,
            clicks=report.clicks or scored,
            sessions=report.sessions or None,
            epoch=update.epochs if update else epoch,
            validation_recall=update.validation_recall if update else recall,
            published=update.version if update else None,
            served=update.version if update and served is not None and served >= block else None,
            prequential=report.prequential,
        )
