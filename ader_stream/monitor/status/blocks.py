"""Drift of the last complete block, of the open one so far, and of the sliding time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ader_stream.drift.block_statistics import BlockStatistics, merged
from ader_stream.drift.history import KEPT, History
from ader_stream.drift.measurements import Measurement, Measurements
from ader_stream.drift.report import DriftReport, measure, report
from ader_stream.monitor.counts.counting import BLOCK, SLICE, SLICES, Span
from ader_stream.monitor.counts.state import MonitorState
from ader_stream.monitor.status.quality_measurements import QualityMeasurements
from ader_stream.paired import PairedCounts

COMPLETE, OPEN, SLIDING = "block", "open", "sliding"
"""Scopes of a report: the last complete block, the open block so far, the sliding time."""


@dataclass(frozen=True)
class BlockSummary:
    """Counts of one block over all partitions."""

    block: int
    clicks: int
    sessions: int
    late: int
    items: int
    repeat_clicks: int
    is_complete: bool


@dataclass(frozen=True)
class ScopeReport:
    """Drift in a span of event time.

    Parameters
    ----------
    scope
        `COMPLETE`, `OPEN` or `SLIDING`.
    block
        Number of the block; None for the sliding time.
    first_time, last_time
        Event times of the first and the last click, ms.
    against
        Blocks that it was compared with.
    earlier
        Signal → block and value, for those of these blocks that were measured in the same way.
    """

    scope: str
    block: int | None
    first_time: int | None
    last_time: int | None
    against: tuple[int, ...]
    drift: DriftReport
    earlier: dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class BlocksStatus:
    """The kept blocks, oldest first, and the reports; empty before the first block."""

    blocks: tuple[BlockSummary, ...] = ()
    reports: tuple[ScopeReport, ...] = ()

    @property
    def last_complete(self) -> BlockSummary | None:
        """Return the last complete block."""
        return next((block for block in reversed(self.blocks) if block.is_complete), None)

    @property
    def open(self) -> BlockSummary | None:
        """Return the newest block that is not complete."""
        last = self.blocks[-1:]
        return last[0] if last and not last[0].is_complete else None


@dataclass(frozen=True)
class _Reference:
    """What a block is compared with: blocks, the measurements of each, and their items."""

    numbers: tuple[int, ...]
    clicks: int
    quality: tuple[Measurement | None, ...]
    last: BlockStatistics | None
    measured: dict[int, Measurements]
    items: frozenset[str]

    @property
    def history(self) -> History:
        """Return the values of the blocks, for thresholds."""
        history = History()
        for measured in self.measured.values():
            history.append(measured)
        return history

    def earlier(self, name: str) -> list[tuple[int, float]]:
        """Return block and value of a signal, oldest first; not of blocks that have none."""
        return [(block, m[name].value) for block, m in self.measured.items() if name in m]


class BlockReports:
    """Make the reports; what was made of complete blocks is kept until they change."""

    def __init__(self) -> None:
        self._merged: dict[int, BlockStatistics] = {}
        self._quality: dict[int, Measurements] = {}
        self._pair: PairedCounts | None = None
        self._references: dict[tuple[int, ...], _Reference] = {}

    def status(
        self, state: MonitorState, quality: QualityMeasurements, trained_to: int | None
    ) -> BlocksStatus:
        """Return the counts and the reports.

        Parameters
        ----------
        quality
            Measures what versions have scored.
        trained_to
            Last block that the served version was trained on: it and those before are what others
            are compared with. None: all complete blocks before.
        """
        complete = complete_block(state)
        numbers = sorted({n for counted in state.sessions.values() for n in counted.numbers(BLOCK)})
        self._merge(state, numbers)
        self._quality = {n: quality.measure(n, self._merged[n]) for n in numbers}
        self._pair = quality.pair()
        summaries = tuple(self._summary(state, n, complete) for n in numbers)
        return BlocksStatus(summaries, tuple(self._reports(state, numbers, complete, trained_to)))

    def _merge(self, state: MonitorState, numbers: Sequence[int]) -> None:
        """Merge the partitions of each block again whose clicks have changed."""
        kept = {}
        for number in numbers:
            parts = _parts(state, Span(BLOCK, number))
            before = self._merged.get(number)
            is_same = before is not None and before.clicks == sum(part.clicks for part in parts)
            kept[number] = before if before and is_same else merged(parts, state.rule.max_items)
        self._merged = kept

    def _summary(self, state: MonitorState, number: int, complete: int | None) -> BlockSummary:
        counts = self._merged[number]
        span = Span(BLOCK, number)
        late = sum(
            counted.spans[span].late for counted in state.sessions.values() if span in counted.spans
        )
        return BlockSummary(
            number,
            counts.clicks,
            counts.sessions,
            late,
            counts.items.distinct,
            counts.repeat_clicks,
            complete is not None and number <= complete,
        )

    def _reports(
        self,
        state: MonitorState,
        numbers: Sequence[int],
        complete: int | None,
        trained_to: int | None,
    ) -> list[ScopeReport]:
        ended = [n for n in numbers if complete is not None and n <= complete]
        trained = [n for n in ended if trained_to is None or n <= trained_to]
        if not ended:
            return []
        last, newest, before = ended[-1], numbers[-1], ended[:-1]
        known = self._reference(trained or ended)
        earlier = self._reference([n for n in trained if n < last] or before)
        found = [self._report(COMPLETE, last, self._merged[last], earlier)]
        if newest > last:
            found.append(self._report(OPEN, newest, self._merged[newest], known))
        if sliding := sliding_statistics(state):
            found.append(self._report(SLIDING, None, sliding, known))
        self._references = {reference.numbers: reference for reference in (earlier, known)}
        return found

    def _reference(self, numbers: Sequence[int]) -> _Reference:
        """Return the history of blocks, made again if they have changed."""
        clicks = sum(self._merged[number].clicks for number in numbers)
        quality = tuple(self._quality[number].get("recall20") for number in numbers)
        kept = self._references.get(tuple(numbers))
        if kept and (kept.clicks, kept.quality) == (clicks, quality):
            return kept
        blocks = [self._merged[number] for number in numbers]
        items = frozenset(item for block in blocks for item in block.items.weights())
        measured = dict(self._measured(numbers[-KEPT - 1 :]))
        last = blocks[-1] if blocks else None
        return _Reference(tuple(numbers), clicks, quality, last, measured, items)

    def _measured(self, numbers: Sequence[int]) -> Iterator[tuple[int, Measurements]]:
        """Yield each block's measurements, against the one before and the items of all before."""
        known = set[str]()
        for before, number in pairwise(numbers):
            known |= self._merged[before].items.weights().keys()
            measured = measure(self._merged[number], self._merged[before], known)
            yield number, measured | self._quality[number]

    def _report(
        self, scope: str, block: int | None, current: BlockStatistics, reference: _Reference
    ) -> ScopeReport:
        """Report a span; the history of blocks is no history of shorter spans."""
        last, is_block = reference.last, scope == COMPLETE
        measured = measure(current, last or BlockStatistics(), reference.items if last else None)
        if block is not None:
            measured |= self._quality[block]
        history, pair = (reference.history, self._pair) if is_block else (History(), None)
        found = report(measured, history, pair)
        names = [signal.name for signal in found.signals] if block is not None else []
        return ScopeReport(
            scope,
            block,
            current.first_time,
            current.last_time,
            reference.numbers,
            found,
            {name: reference.earlier(name) for name in names},
        )


def complete_block(state: MonitorState) -> int | None:
    """Return the last block that every partition has ended; None before the first."""
    ended = [counted.place.ended_block for counted in state.sessions.values()]
    known = [block for block in ended if block is not None]
    return min(known) if known and len(known) == len(ended) else None


def sliding_statistics(state: MonitorState) -> BlockStatistics | None:
    """Return the statistics of the newest slices over all partitions; None before the first."""
    numbers = [n for counted in state.sessions.values() for n in counted.numbers(SLICE)]
    if not numbers:
        return None
    newest = max(numbers)
    spans = [Span(SLICE, number) for number in range(newest - SLICES + 1, newest + 1)]
    parts = [part for span in spans for part in _parts(state, span)]
    return merged(parts, state.rule.max_items)


def _parts(state: MonitorState, span: Span) -> list[BlockStatistics]:
    found = (counted.spans.get(span) for counted in state.sessions.values())
    return [counts.statistics for counts in found if counts]
