"""Export prequential counts as metrics, for the last few blocks only: labels must stay bounded."""

from __future__ import annotations

from ader_stream import metrics as m
from ader_stream.metrics import Metrics
from ader_stream.types import RECIPROCAL_UNIT, Counts

SHOWN = 8
"""Number of pairs of block and version that a worker exports: the newest ones."""


class ScoreMetrics:
    """Exports counts by block and version, and drops old pairs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pairs: list[tuple[int, int]] = []

    def add(self, block: int, version: int, counts: Counts) -> None:
        """Add counts to the exported ones; counts of a pair that is too old are ignored."""
        if not self._is_shown((block, version)):
            return
        labels = {"block": block, "version": version}
        metrics = self._metrics
        metrics[m.PREQUENTIAL_TARGETS].labels(**labels).inc(counts.targets)
        metrics[m.PREQUENTIAL_UNKNOWN].labels(**labels).inc(counts.unknown)
        for k, hits, units in (
            (10, counts.hits10, counts.reciprocal10),
            (20, counts.hits20, counts.reciprocal20),
        ):
            metrics[m.PREQUENTIAL_HITS].labels(**labels, k=k).inc(hits)
            metrics[m.PREQUENTIAL_RECIPROCAL].labels(**labels, k=k).inc(units / RECIPROCAL_UNIT)

    def _is_shown(self, pair: tuple[int, int]) -> bool:
        """Return whether a pair is among the newest ones; a new one replaces the oldest."""
        if pair in self._pairs:
            return True
        newest = sorted([*self._pairs, pair])[-SHOWN:]
        for block, version in set(self._pairs) - set(newest):
            self._forget(str(block), str(version))
        self._pairs = newest
        return pair in newest

    def _forget(self, block: str, version: str) -> None:
        for metric in (m.PREQUENTIAL_TARGETS, m.PREQUENTIAL_UNKNOWN):
            self._metrics[metric].remove(block, version)
        for metric in (m.PREQUENTIAL_HITS, m.PREQUENTIAL_RECIPROCAL):
            for k in ("10", "20"):
                self._metrics[metric].remove(block, version, k)
