"""Report of one block: every signal with its state and the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ader_stream.drift.block_statistics import BlockStatistics, merged
from ader_stream.drift.history import History
from ader_stream.drift.measurements import (
    Knows,
    Measurement,
    Measurements,
    measure_knowledge,
    measure_shape,
    measure_shift,
)
from ader_stream.drift.quality import judge_versions, with_causes
from ader_stream.drift.signals import SIGNALS, Range, Signal, State, worst
from ader_stream.drift.thresholds import LEAST_VALUES, Thresholds, thresholds
from ader_stream.paired import PairedCounts


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Signals of a block, or of another span of event time."""

    signals: tuple[Signal, ...]

    @property
    def state(self) -> State:
        """Return the worst state of all signals."""
        return worst(self.signals)

    def signal(self, name: str) -> Signal | None:
        """Return a signal; None if it was not measured."""
        return next((signal for signal in self.signals if signal.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"state": self.state, "signals": [asdict(signal) for signal in self.signals]}


def measure(
    current: BlockStatistics,
    reference: BlockStatistics,
    known: Knows | None = None,
    exemplars: Knows | None = None,
) -> Measurements:
    """Measure a block against what the served version was trained on.

    Parameters
    ----------
    current
        Of the block, or of a shorter span.
    reference
        Of the last block (or blocks) that the version was trained on.
    known, exemplars
        Items that the version knows, and those that have exemplars; None: not measured.
    """
    return (
        measure_shape(current)
        | measure_shift(current, reference)
        | measure_knowledge(current, known, exemplars)
    )


def report(
    measured: Measurements, history: History, paired: PairedCounts | None = None
) -> DriftReport:
    """Judge measured values by the history of the blocks before; they are not added to it.

    Parameters
    ----------
    paired
        The served version beside the version before, on the same clicks; None: not compared.
    """
    signals = [_judge(name, measured[name], history) for name in SIGNALS if name in measured]
    if paired is not None:
        signals.append(judge_versions(paired))
    return DriftReport(with_causes(signals))


def compare(
    current: BlockStatistics,
    references: Sequence[BlockStatistics],
    known: Knows | None = None,
    exemplars: Knows | None = None,
) -> DriftReport:
    """Report a block against the blocks before it, oldest first, without a stored history.

    Each reference block is measured as the current one is: against the block before it, and against
    the items of all blocks before it.
    """
    measured = measure(current, merged(references[-1:]), known, exemplars)
    return report(measured, history_of(references))


def history_of(blocks: Sequence[BlockStatistics]) -> History:
    """Return the history of blocks, oldest first, of which each knows the items before it."""
    history, known = History(), set[str]()
    for number, block in enumerate(blocks):
        if number:
            history.append(measure(block, blocks[number - 1], known))
        known |= block.items.weights().keys()
    return history


def _judge(name: str, found: Measurement, history: History) -> Signal:
    side, _ = SIGNALS[name]
    earlier = history.of(name)
    usual = thresholds(name, side, earlier, found.noise_at)
    if usual is None:
        reason = f"{len(earlier)} earlier blocks; thresholds need {LEAST_VALUES} or more"
        return Signal(name, found.value, "insufficient data", reason, bounds=_bounds(found))
    state, reason = _state(found, usual, len(earlier))
    return Signal(name, found.value, state, reason, usual.watch, usual.act, _bounds(found))


def _bounds(found: Measurement) -> Range:
    reach = 1.96 * found.noise
    return Range(found.value - reach, found.value + reach)


def _state(found: Measurement, usual: Thresholds, blocks: int) -> tuple[State, str]:
    measured = f"{_number(found.value)} on {found.on}"
    before = f"the {blocks} blocks before suggest"
    if found.value not in usual.act:
        return "act", f"{measured}; {before} {_span(usual.act)}"
    if found.value not in usual.watch:
        return "watch", f"{measured}; {before} {_span(usual.watch)}"
    if usual.is_chance_larger:
        return (
            "insufficient data",
            f"{measured}: chance alone changes it by {_number(usual.chance)}",
        )
    return "fine", f"{measured}; {before} {_span(usual.watch)}"


def _span(usual: Range) -> str:
    if usual.low is None:
        return f"at most {_number(usual.high)}"
    if usual.high is None:
        return f"at least {_number(usual.low)}"
    return f"{_number(usual.low)} to {_number(usual.high)}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
