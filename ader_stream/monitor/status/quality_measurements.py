"""Prequential quality of each block, by the version that was to score it."""

from __future__ import annotations

from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.measurements import Measurements
from ader_stream.drift.quality import measure_quality
from ader_stream.monitor.views import TopicViews
from ader_stream.paired import Pair, PairedCounts
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.scores.paired_log import sum_of
from ader_stream.types import Counts


class QualityMeasurements:
    """Measure recall and MRR of a block from the running scores."""

    def __init__(self, views: TopicViews) -> None:
        self._views = views
        self._roles = views.registry.roles

    def measure(self, block: int, statistics: BlockStatistics) -> Measurements:
        """Return the quality signals of a block; empty if no version has scored it."""
        version = self._version_before(block)
        scores = self._views.scores.get(block)
        if version is None or not scores:
            return {}
        of_version = (at.counts for key, at in scores.items() if key.version == version.version)
        per_session = statistics.targets / max(1, statistics.sessions)
        validation = version.gate.recall20 if version.gate else None
        return measure_quality(sum(of_version, Counts()), per_session, validation)

    def pair(self) -> PairedCounts | None:
        """Return the served version beside the one before, if both have scored the same clicks."""
        serving = self._roles.serving[:2]
        if len(serving) < 2:
            return None
        pair = Pair(serving[1], serving[0])
        sums = (sum_of(running, pair) for running in self._views.paired.values())
        total = sum(sums, PairedCounts())
        return total if total.clicks else None

    def _version_before(self, block: int) -> Manifest | None:
        """Return the newest accepted version that was trained on no click of the block."""
        manifests = self._views.registry.manifests.values()
        fit = [m for m in manifests if m.is_accepted and m.last_block < block]
        return max(fit, key=lambda manifest: manifest.version, default=None)
