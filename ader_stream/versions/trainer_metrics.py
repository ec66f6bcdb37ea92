"""What the leading trainer shows of itself: metrics, and a line of its log for each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from ader_stream import metrics as m
from ader_stream.ader.progress import Progress
from ader_stream.metrics import Metrics
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.model_registry.lineage import last_block_to_retrain
from ader_stream.stream.model_registry.manifest import Learning, Manifest
from ader_stream.types import BlockRule

log = structlog.get_logger(__name__)

SHOWN_BY_LEADER = (
    m.LAG,
    m.LAG_SECONDS,
    m.BLOCKS_WAITING,
    m.BACKLOG,
    m.CYCLE_EPOCH,
    m.CYCLE_PROGRESS,
    m.CYCLE_LOSS,
    m.CYCLE_SPEED,
    m.CYCLE_VALIDATION,
    m.CYCLE_SECONDS,
    m.VERSION_PARENT,
    m.VERSION_TRAINED,
    m.VERSION_PUBLISHED,
    m.VERSION_ITEMS,
    m.PUBLISH_SECONDS,
    m.VERSION_FORGETTING,
    m.VERSION_FORGETTING_MRR,
    m.VERSION_PLASTICITY,
    m.VERSION_DISTILLATION,
    m.VERSION_WEIGHT,
)
"""Gauges that would keep old values where a trainer no longer leads."""


TOLD_BY_EPOCH = ("train", "validate")
"""Stages that have a line of the log for every epoch."""


class TrainerMetrics:
    """Shows blocks that wait, the cycle that runs, and versions that were published.

    Parameters
    ----------
    clock
        Seconds, ever rising.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._waiting: Sequence[int] = ()
        self._stages: list[str] = []
        self._since = 0.0

    def clear(self) -> None:
        """Show nothing that only the leader can know: another trainer shows it now."""
        self._metrics.drop(*SHOWN_BY_LEADER)

    def show_backlog(self, waiting: Sequence[int], blocks: BlockRule) -> None:
        """Show which blocks wait to be trained; the log says so once, not at every look."""
        first, end = (min(waiting), max(waiting) + 1) if waiting else (0, 0)
        span = end - first
        self._metrics[m.BLOCKS_WAITING].set(len(waiting))
        self._metrics[m.BACKLOG].set((blocks.start(end) - blocks.start(first)) / 1000)
        if len(waiting) > 1 and waiting != self._waiting:
            log.info("blocks wait", blocks=len(waiting), backlog_blocks=span)
        self._waiting = waiting

    def show_passed(self, block: TrainingBlock) -> None:
        """Show which sessions of a block are left out, because a version was trained on them."""
        if block.trained_before:
            passed = sum(block.trained_before.values())
            self._metrics[m.TRAINED_BEFORE].inc(passed)
            log.info(
                "sessions passed over: versions were trained on them before the topic was reset",
                blocks=sorted(block.trained_before),
                sessions=passed,
                left=len(block.sessions),
            )

    def show_stage(self, stage: str) -> None:
        """Show what the trainer does for a version; the log says so when it begins."""
        now = self._clock()
        if self._stages:
            self._metrics[m.STAGE_SECONDS].labels(stage=self._stages[-1]).inc(now - self._since)
        self._since = now
        if stage not in self._stages and stage not in TOLD_BY_EPOCH:
            log.info("stage", stage=stage)
        if self._stages[-1:] != [stage]:
            self._stages = [*(each for each in self._stages if each != stage), stage]

    def show_idle(self) -> None:
        """Show that nothing more is done for a version."""
        if self._stages:
            self.show_stage(self._stages[-1])
        self._stages = []

    def show_progress(self, progress: Progress) -> None:
        """Show how far a cycle is."""
        self.show_stage(progress.stage)
        if not progress.epoch:
            return
        self._metrics[m.CYCLE_EPOCH].set(progress.epoch)
        self._metrics[m.CYCLE_PROGRESS].set(progress.step / max(1, progress.steps))
        self._metrics[m.CYCLE_LOSS].set(progress.loss)
        self._metrics[m.CYCLE_SPEED].set(progress.samples_per_second)
        if progress.validation_recall20 is not None:
            self._metrics[m.CYCLE_VALIDATION].set(progress.validation_recall20 / 100)
        if progress.ends_epoch:
            log.info(
                "epoch",
                epoch=progress.epoch,
                loss=round(progress.loss, 4),
                validation_recall20=progress.validation_recall20,
                samples_per_second=round(progress.samples_per_second),
            )

    def show_parent(self, version: int | None) -> None:
        """Show what the next version is trained from."""
        self._metrics[m.VERSION_PARENT].set(version or 0)

    def show_trained(self, seconds: float) -> None:
        """Show how long a cycle took."""
        self._metrics[m.CYCLE_SECONDS].set(seconds)
        self._metrics[m.CYCLES].inc()

    def show_publishing(self, version: int) -> None:
        """Show that a version is on its way."""
        self._metrics[m.VERSION_TRAINED].set(version)

    def show_published(self, manifest: Manifest, seconds: float) -> None:
        """Show a version that is in the log, and how long sending it took."""
        self._metrics[m.PUBLISH_SECONDS].set(seconds)
        self._metrics[m.VERSION_PUBLISHED].set(manifest.version)
        self._show_undecided(manifest)
        self._show_items(manifest)
        if not manifest.rejection:
            self.show_learning(manifest)
        if manifest.rejection:
            self._metrics[m.VERSIONS_REJECTED].inc()
            log.warning("version rejected", **log_fields(manifest), reason=manifest.rejection)
        else:
            log.info("version published", **log_fields(manifest))

    def show_learning(self, manifest: Manifest) -> None:
        """Show what an accepted version has forgotten and learned, as far as it was measured."""
        learning = manifest.run.learning or Learning()
        plasticity = learning.plasticity_recall20
        if plasticity is None:
            plasticity = learning.parent_plasticity_recall20
        self._metrics[m.VERSION_WEIGHT].set(manifest.report.adaptive_weight)
        for metric, percent in (
            (m.VERSION_FORGETTING, learning.forgetting_recall20),
            (m.VERSION_FORGETTING_MRR, learning.forgetting_mrr20),
            (m.VERSION_PLASTICITY, plasticity),
            (m.VERSION_DISTILLATION, learning.distillation_share),
        ):
            if percent is None:
                self._metrics.drop(metric)
            else:
                self._metrics[metric].set(percent / 100)

    def _show_items(self, manifest: Manifest) -> None:
        """Show how many items an accepted version knows, and how many it removed."""
        report = manifest.report
        if manifest.rejection:
            return
        self._metrics[m.VERSION_ITEMS].set(report.items)
        if report.left_items:
            self._metrics[m.ITEMS_LEFT].inc(report.left_items)
            log.info(
                "items left",
                version=manifest.version,
                items=report.left_items,
                known=report.items,
                recall_at_risk=report.recall_at_risk,
            )

    def _show_undecided(self, manifest: Manifest) -> None:
        reason = manifest.gate.undecided if manifest.gate else None
        if reason is None:
            return
        rejected = "joined" if last_block_to_retrain(manifest) is not None else "rejected"
        outcome = rejected if manifest.rejection else "accepted"
        self._metrics[m.VERSIONS_UNDECIDED].labels(outcome=outcome).inc()
        log.warning("version undecided", **log_fields(manifest), outcome=outcome, reason=reason)


def log_fields(manifest: Manifest) -> dict[str, object]:
    """What the log says of a version."""
    return {
        "version": manifest.version,
        "parent": manifest.parent,
        "blocks": manifest.blocks,
        "epochs": manifest.report.epochs,
        "seconds": round(manifest.run.train_seconds, 1),
        "digest": manifest.digest[:12],
    }
