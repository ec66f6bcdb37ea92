"""Show a status as metrics; what is no longer in it disappears from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from prometheus_client import Gauge

from ader_stream import metrics as m
from ader_stream.drift.signals import STATES, Signal
from ader_stream.metrics import Metric, Metrics
from ader_stream.monitor.status.blocks import COMPLETE, OPEN, BlocksStatus
from ader_stream.monitor.status.lag import StageLag
from ader_stream.monitor.status.quality import Estimate, VersionsStatus
from ader_stream.monitor.status.refusals import RefusalsStatus
from ader_stream.monitor.status.whole import ReadingStatus, Status

Values = dict[tuple[object, ...], float]
"""Label values → value of a gauge."""

BY_LEADER: tuple[Metric[Any], ...] = (
    m.MONITOR_CAUGHT_UP,
    m.MONITOR_UNREADABLE,
    m.MONITOR_SKIPPED,
    m.MONITOR_LOST,
    m.DRIFT_SIGNAL,
    m.DRIFT_THRESHOLD,
    m.DRIFT_STATE,
    m.DRIFT_BLOCKS,
    m.DRIFT_BLOCK,
    m.DRIFT_CLICKS,
    m.DRIFT_SESSIONS,
    m.MONITORED_VERSION,
    m.MONITORED_TARGETS,
    m.MONITORED_UNKNOWN,
    m.MONITORED_RECALL,
    m.MONITORED_MRR,
    m.MONITORED_RECALL_DIFFERENCE,
    m.MONITORED_MRR_DIFFERENCE,
    m.EVENT_TIME,
    m.EVENT_TIME_LAG,
    m.SERVED_AGE_BLOCKS,
    m.VERSION_SKEW,
    m.SERVING_WORKERS,
    m.REFUSED_RATIO,
    m.LATE_RATIO,
)
"""Only the leader shows these: a standby would show outdated values."""


class StatusMetrics:
    """Exports a leader's status."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def show(self, status: Status) -> None:
        """Show a status."""
        self._show_reading(status.reading)
        self._show_blocks(status.blocks)
        self._show_signals(status.blocks)
        self._show_versions(status.versions)
        self._show_lags(status.lags)
        self._show_refusals(status.refusals)
        self._set(m.SERVED_AGE_BLOCKS, status.age_blocks)

    def clear(self) -> None:
        """Show nothing that only a leader knows."""
        self._metrics.drop(*BY_LEADER)

    def _show_reading(self, reading: ReadingStatus) -> None:
        self._metrics[m.MONITOR_CAUGHT_UP].set(reading.is_at_end)
        self._metrics[m.MONITOR_UNREADABLE].set(len(reading.unreadable))
        for counter, counts in (
            (m.MONITOR_SKIPPED, reading.skipped),
            (m.MONITOR_LOST, reading.lost),
        ):
            for topic, count in counts.items():
                self._metrics.show(counter, count, what=topic)

    def _show_blocks(self, blocks: BlocksStatus) -> None:
        found = {COMPLETE: blocks.last_complete, OPEN: blocks.open}
        shown = {(scope,): block for scope, block in found.items() if block}
        replace = self._metrics.replace
        replace(m.DRIFT_BLOCK, {scope: block.block for scope, block in shown.items()})
        replace(m.DRIFT_CLICKS, {scope: block.clicks for scope, block in shown.items()})
        replace(m.DRIFT_SESSIONS, {scope: block.sessions for scope, block in shown.items()})
        self._metrics[m.DRIFT_BLOCKS].set(sum(block.is_complete for block in blocks.blocks))

    def _show_signals(self, blocks: BlocksStatus) -> None:
        values, states, bounds = Values(), Values(), Values()
        for report in blocks.reports:
            for signal in report.drift.signals:
                of = signal.name, report.scope
                states |= {(*of, state): float(state == signal.state) for state in STATES}
                bounds |= {(*of, *where): bound for where, bound in _thresholds(signal)}
                if signal.value is not None:
                    values[of] = signal.value
        self._metrics.replace(m.DRIFT_SIGNAL, values)
        self._metrics.replace(m.DRIFT_STATE, states)
        self._metrics.replace(m.DRIFT_THRESHOLD, bounds)

    def _show_versions(self, versions: VersionsStatus) -> None:
        quality, replace = versions.quality, self._metrics.replace
        replace(m.MONITORED_VERSION, {(each.role,): each.version for each in quality})
        replace(m.MONITORED_TARGETS, {(each.role,): each.targets for each in quality})
        replace(m.MONITORED_UNKNOWN, {(each.role,): each.unknown for each in quality})
        recall, mrr = Values(), Values()
        for each in quality:
            recall |= _bounds((each.role,), each.recall20)
            mrr |= _bounds((each.role,), each.mrr20)
        replace(m.MONITORED_RECALL, recall)
        replace(m.MONITORED_MRR, mrr)
        self._show_pairs(versions)
        self._set(m.VERSION_SKEW, versions.skew)
        self._metrics[m.SERVING_WORKERS].set(len(versions.workers))

    def _show_pairs(self, versions: VersionsStatus) -> None:
        roles = {each.version: each.role for each in versions.quality}
        recall, mrr = Values(), Values()
        for pair in versions.pairs:
            of = roles[pair.newer], roles[pair.older]
            recall |= _bounds(of, pair.recall20)
            mrr |= _bounds(of, pair.mrr20)
        self._metrics.replace(m.MONITORED_RECALL_DIFFERENCE, recall)
        self._metrics.replace(m.MONITORED_MRR_DIFFERENCE, mrr)

    def _show_lags(self, lags: tuple[StageLag, ...]) -> None:
        reached = {(lag.stage,): lag.reached / 1000 for lag in lags}
        self._metrics.replace(m.EVENT_TIME, reached)
        self._metrics.replace(m.EVENT_TIME_LAG, {(lag.stage,): lag.lag_seconds for lag in lags})

    def _show_refusals(self, refusals: RefusalsStatus) -> None:
        ratios = {(reason,): ratio for reason, ratio in refusals.ratios.items()}
        self._metrics.replace(m.REFUSED_RATIO, ratios)
        self._set(m.LATE_RATIO, refusals.late_ratio)

    def _set(self, gauge: Metric[Gauge], value: float | None) -> None:
        """Set a gauge without labels, or remove it."""
        if value is None:
            self._metrics.drop(gauge)
        else:
            self._metrics[gauge].set(value)


def _thresholds(signal: Signal) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield level and bound of each threshold, with its value."""
    for level, usual in (("watch", signal.watch), ("act", signal.act)):
        for bound in ("low", "high"):
            value = getattr(usual, bound) if usual else None
            if value is not None:
                yield (level, bound), value


def _bounds(labels: tuple[object, ...], estimate: Estimate | None) -> Values:
    """Return the estimate and its bounds, each by its name; empty without one."""
    named = asdict(estimate) if estimate else {}
    return {(*labels, name): value for name, value in named.items()}
