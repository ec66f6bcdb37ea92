"""Report the drift of a block from the topics: sessions, models, scores."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ader_stream.cli.drift.compared import last_of, require_blocks
from ader_stream.cli.drift.output import BlockReport
from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.drift.history import KEPT, History
from ader_stream.drift.measurements import Measurements
from ader_stream.drift.quality import measure_quality
from ader_stream.drift.report import measure, report
from ader_stream.errors import ArtifactError
from ader_stream.paired import Pair, PairedCounts
from ader_stream.settings import Settings
from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.registry import read_registry
from ader_stream.stream.scores.paired_log import read_paired
from ader_stream.stream.scores.score_log import ScoreKey, read_scores
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.types import Counts
from ader_stream.versions.item_names import ItemNames, read_item_names

LAST_BLOCKS = KEPT + 2
"""Blocks whose statistics are in memory: for a full history, and the block that is reported."""


@dataclass
class TopicBlocks:
    """Statistics of the last blocks in the topic of sessions; older ones are dropped.

    Parameters
    ----------
    partitions
        Of the topic.
    until
        Last block to read; None: all.
    """

    partitions: int
    until: int | None = None
    _counted: dict[int, BlockStatistics] = field(default_factory=dict)
    _ends: dict[int, int] = field(default_factory=dict)

    def read(self, settings: Settings) -> dict[int, BlockStatistics]:
        """Return the complete blocks that the topic has."""
        for partition in range(self.partitions):
            for record in read_to_end(settings.clients, settings.topics.sessions, partition):
                self._take(record)
        complete = min((self._ends.get(p, -1) for p in range(self.partitions)), default=-1)
        return {block: counted for block, counted in self._counted.items() if block <= complete}

    def _take(self, record: Record) -> None:
        kind = type_of(record.headers())
        if kind not in ("SessionBatch", "BlockEnd"):
            return
        _, value = decode(record.value(), record.headers())
        block, partition = value["block"], value["partition"]
        if kind == "BlockEnd":
            self._ends[partition] = max(block, self._ends.get(partition, -1))
        elif self.until is None or block <= self.until:
            counted = self._counted.setdefault(block, BlockStatistics())
            counted.add_sessions(list(decode_sessions(value)))
            if len(self._counted) > 2 * LAST_BLOCKS:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        for block in sorted(self._counted)[:-LAST_BLOCKS]:
            del self._counted[block]


class TopicReport:
    """Report of one block, by the newest version that was trained before it."""

    def __init__(self, settings: Settings, blocks: dict[int, BlockStatistics]) -> None:
        clients, topics = settings.clients, settings.topics
        self._blocks = blocks
        self._reader = ModelReader(clients, topics, settings.trust)
        self._registry = read_registry(clients, topics, settings.trust)
        self._scores: defaultdict[tuple[int, int], dict[ScoreKey, Counts]] = defaultdict(dict)
        for key, score in read_scores(clients, topics.scores):
            if key.version is not None:
                self._scores[key.block, key.version][key] = score.counts
        self._paired = read_paired(clients, topics.scores)

    def of(self, block: int | None) -> BlockReport:
        """Return the report of a block, by default the last complete one."""
        current = last_of(self._blocks) if block is None else block
        require_blocks(self._blocks, current)
        version = self._version_before(current)
        names = self._names(version)
        measured = self._measured(current, version, names)
        found = report(measured, self._history(current), self._compared(version))
        against = f"against block {self._reference(current, version)}"
        if version:
            against += f", version {version.version}"
        return BlockReport.of(current, self._blocks[current], against, found)

    def _history(self, until: int) -> History:
        """Return the history of the blocks before, each by the version before it.

        Of a version that was pruned, the items of the blocks so far stand for those it knew.
        """
        history, seen = History(), set[str]()
        for block in sorted(number for number in self._blocks if number < until):
            version = self._version_before(block)
            if seen:
                names = self._names(version) or ItemNames(seen, None)
                history.append(self._measured(block, version, names))
            seen |= self._blocks[block].items.weights().keys()
        return history

    def _measured(
        self, block: int, version: Manifest | None, names: ItemNames | None
    ) -> Measurements:
        statistics = self._blocks[block]
        reference = self._blocks.get(self._reference(block, version), BlockStatistics())
        known, exemplars = (names.known, names.exemplars) if names else (None, None)
        return measure(statistics, reference, known, exemplars) | self._quality(block, version)

    def _quality(self, block: int, version: Manifest | None) -> Measurements:
        if version is None:
            return {}
        statistics = self._blocks[block]
        counts = sum(self._scores[block, version.version].values(), Counts())
        per_session = statistics.targets / max(1, statistics.sessions)
        validation = version.gate.recall20 if version.gate else None
        return measure_quality(counts, per_session, validation)

    def _reference(self, block: int, version: Manifest | None) -> int:
        """Return the last block that the version was trained on, or else the one before."""
        earlier = [number for number in self._blocks if number < block]
        trained = [number for number in earlier if version and number <= max(version.blocks)]
        return max(trained or earlier, default=block - 1)

    def _version_before(self, block: int) -> Manifest | None:
        """Return the newest accepted version that was trained on no click of the block."""
        fit = [
            manifest
            for manifest in self._registry.manifests.values()
            if manifest.is_accepted and manifest.blocks and max(manifest.blocks) < block
        ]
        return max(fit, key=lambda manifest: manifest.version, default=None)

    def _names(self, version: Manifest | None) -> ItemNames | None:
        if version is None or not version.parts:
            return None
        try:
            return read_item_names(self._reader, version)
        except ArtifactError as error:
            raise ArtifactError(
                f"{error}; `models verify` shows which versions can be used"
            ) from None

    def _compared(self, version: Manifest | None) -> PairedCounts | None:
        """Return the sums of a version beside the one before, if both scored the same clicks."""
        if version is None or version.parent is None:
            return None
        return self._paired.get(Pair(version.parent, version.version))
