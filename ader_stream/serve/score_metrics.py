"""Prequential counts as metrics, for the last few blocks only: labels must stay bounded."""

from __future__ import annotations

from ader_stream import metrics as m
from ader_stream.metrics import Metrics
from ader_stream.types import RECIPROCAL_UNIT, Counts

SHOWN = 8
"""Pairs of block and version that a worker shows: the newest ones."""


class ScoreMetrics:
    """Shows counts by block and version, and lets go of old pairs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pairs: list[tuple[int, int]] = []

    def add(self, block: int, version: int, counts: Counts) -> None:
        """Add counts to what is shown."""
        self._remember((block, version))
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

    def _remember(self, pair: tuple[int, int]) -> None:
        if pair in self._pairs:
            return
        self._pairs = sorted([*self._pairs, pair])
        if len(self._pairs) > SHOWN:
            block, version = self._pairs.pop(0)
            self._forget(str(block), str(version))

    def _forget(self, block: str, version: str) -> None:
        for metric in (m.PREQUENTIAL_TARGETS, m.PREQUENTIAL_UNKNOWN):
            self._metrics[metric].remove(block, version)
        for metric in (m.PREQUENTIAL_HITS, m.PREQUENTIAL_RECIPROCAL):
            for k in ("10", "20"):
                self._metrics[metric].remove(block, version, k)
