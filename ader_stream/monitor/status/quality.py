"""Prequential quality of the served version and of the one before, and which worker serves what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ader_stream.monitor.views import TopicViews
from ader_stream.paired import Pair, PairedCounts
from ader_stream.types import RECIPROCAL_UNIT, Counts

Z = 1.96
"""Of a two-sided interval at 95 %."""

SERVED, PREVIOUS, CANARY = "served", "previous", "canary"
"""Roles of the versions that are shown: however many versions there are, these have labels."""


@dataclass(frozen=True)
class Estimate:
    """A mean in 0 … 1, or a difference of two, with its bounds."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class VersionQuality:
    """Prequential quality of one version over the kept blocks.

    Parameters
    ----------
    targets, unknown
        Scored clicks; clicks on items that the version does not know.
    recall20, mrr20
        With bounds at 95 %, as if clicks were independent; None without targets.
    """

    role: str
    version: int
    targets: int
    unknown: int
    recall20: Estimate | None
    mrr20: Estimate | None


@dataclass(frozen=True)
class BlockQuality:
    """Prequential quality on one block, by the version that scored most of its clicks."""

    block: int
    version: int
    targets: int
    recall20: float
    mrr20: float


@dataclass(frozen=True)
class PairQuality:
    """Two versions on the same clicks: the newer minus the older.

    The bounds allow for clicks of one visitor being alike, and hold however often they are looked
    at.
    """

    older: int
    newer: int
    clicks: int
    recall20: Estimate
    mrr20: Estimate


@dataclass(frozen=True)
class ServingWorker:
    """An inference worker that is assigned partitions."""

    worker: str
    version: int | None
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class VersionsStatus:
    """Versions and their quality.

    Parameters
    ----------
    newest, served
        Newest version, and the one to be served; None before the first.
    trained_to, served_to
        Last block that the newest version, and the oldest one that a worker serves, was trained on.
    workers
        Inference workers that are assigned partitions.
    """

    newest: int | None = None
    served: int | None = None
    trained_to: int | None = None
    served_to: int | None = None
    quality: tuple[VersionQuality, ...] = ()
    pairs: tuple[PairQuality, ...] = ()
    by_block: tuple[BlockQuality, ...] = ()
    workers: tuple[ServingWorker, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return host:port of each worker that serves a version."""
        return tuple(worker.worker for worker in self.workers if worker.version is not None)

    @property
    def skew(self) -> int | None:
        """Return newest minus oldest version that workers serve; None where none serves."""
        serving = [worker.version for worker in self.workers if worker.version is not None]
        return max(serving) - min(serving) if serving else None


def versions_status(views: TopicViews) -> VersionsStatus:
    """Return versions, their quality, and the workers that serve them."""
    registry, roles = views.registry, views.registry.roles
    shown = dict(zip((SERVED, PREVIOUS), roles.serving, strict=False))
    if roles.candidate:
        shown[CANARY] = roles.candidate
    workers = tuple(serving_workers(views.serving))
    newest, served = registry.newest, registry.manifests.get(roles.served or 0)
    oldest = min((worker.version or 0 for worker in workers), default=roles.served or 0)
    oldest_served = registry.manifests.get(oldest)
    return VersionsStatus(
        newest.version if newest else None,
        served.version if served else None,
        newest.last_block if newest else None,
        oldest_served.last_block if oldest_served else None,
        tuple(_quality(views, role, version) for role, version in shown.items()),
        tuple(_pairs(views, set(shown.values()))),
        tuple(_by_block(views)),
        workers,
    )


def serving_workers(serving: Mapping[str, Mapping[str, Any]]) -> Iterable[ServingWorker]:
    """Yield the workers that are assigned partitions.

    A dead worker's record stays; others have claimed its partitions since. `serving` is in the
    order of the log.
    """
    owners = {
        each["partition"]: worker
        for worker, value in serving.items()
        for each in value["partitions"]
    }
    for worker in sorted(set(owners.values())):
        assigned = tuple(sorted(partition for partition, one in owners.items() if one == worker))
        yield ServingWorker(worker, serving[worker]["version"], assigned)


def mean_estimate(total: float, count: int) -> Estimate | None:
    """Return the mean of values in 0 … 1 with Wilson's score interval; None without values.

    For values between 0 and 1 it is wider than needed: none has a larger variance than zeros and
    ones of the same mean.

    >>> mean_estimate(50, 100)
    Estimate(estimate=0.5, lower=0.404, upper=0.596)
    """
    if not count:
        return None
    mean, z2 = total / count, Z * Z
    centre = (mean + z2 / (2 * count)) / (1 + z2 / count)
    variance = mean * (1 - mean) / count + z2 / (4 * count * count)
    half = Z / (1 + z2 / count) * math.sqrt(variance)
    return Estimate(round(mean, 6), round(centre - half, 3), round(centre + half, 3))


def _quality(views: TopicViews, role: str, version: int) -> VersionQuality:
    counts = sum(
        (
            score.counts
            for block in views.scores.values()
            for key, score in block.items()
            if key.version == version
        ),
        Counts(),
    )
    return VersionQuality(
        role,
        version,
        counts.targets,
        counts.unknown,
        mean_estimate(counts.hits20, counts.targets),
        mean_estimate(counts.reciprocal20 / RECIPROCAL_UNIT, counts.targets),
    )


def _by_block(views: TopicViews) -> Iterable[BlockQuality]:
    """Yield the quality on each kept block that was scored, oldest first."""
    for block, scores in sorted(views.scores.items()):
        by_version: dict[int, Counts] = {}
        for key, score in scores.items():
            if key.version is not None and score.counts.targets:
                by_version[key.version] = by_version.get(key.version, Counts()) + score.counts
        if by_version:
            version, counts = max(by_version.items(), key=lambda one: one[1].targets)
            targets = counts.targets
            mrr = counts.reciprocal20 / RECIPROCAL_UNIT / targets
            yield BlockQuality(block, version, targets, counts.hits20 / targets, mrr)


def _pairs(views: TopicViews, versions: set[int]) -> Iterable[PairQuality]:
    """Yield the comparisons among the shown versions: at most three."""
    sums: dict[Pair, PairedCounts] = {}
    for block in views.paired.values():
        for key, counts in block.items():
            if {*key.pair} <= versions:
                sums[key.pair] = sums.get(key.pair, PairedCounts()) + counts
    for pair, counts in sorted(sums.items()):
        recall, mrr = Estimate(*counts.recall20), Estimate(*counts.mrr20)
        yield PairQuality(pair.stable, pair.canary, counts.clicks, recall, mrr)
