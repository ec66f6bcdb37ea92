"""The drift signals: names, meanings, and the state of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "watch", "act", "insufficient data"]

STATES: tuple[State, ...] = ("fine", "insufficient data", "watch", "act")
"""From best to worst."""

Side = Literal["high", "low", "both"]

SIGNALS: dict[str, tuple[Side, str]] = {
    "unknown_items": ("high", "Share of clicks on items that the version does not know."),
    "popularity_psi": ("high", "Shift between popular and rare items: PSI over popularity bins."),
    "top_items_psi": ("high", "Shift among the most clicked items: PSI over the top items."),
    "popularity_js": ("high", "Shift of the clicks by item: Jensen-Shannon divergence, bits."),
    "session_length": ("high", "Shift of the clicks of a session: Jensen-Shannon divergence."),
    "click_interval": ("high", "Shift of the time between clicks: Jensen-Shannon divergence."),
    "repeat_clicks": ("both", "Share of clicks on items that their session already holds."),
    "exemplar_coverage": ("low", "Share of clicks whose item has an exemplar."),
    "busiest_key": ("high", "Share of clicks of the busiest group of keys; a bot raises it."),
    "recommended_entropy": ("low", "Entropy of what is recommended: 0 (one item) to 1."),
    "recommended_coverage": ("low", "Share of the known items that are recommended at all."),
    "recall20": ("low", "Prequential Recall@20."),
    "mrr20": ("low", "Prequential MRR@20."),
    "recall_of_validation": ("low", "Recall@20 by that of the version's own validation."),
    "version_difference": ("low", "Recall@20 minus that of the version before, same clicks."),
}
"""Signal → the side on which it is unusual, and its meaning."""

UNBOUNDED = frozenset({"popularity_psi", "top_items_psi", "recall_of_validation"})
"""Signals that can exceed 1; all others are between 0 and 1, the difference between -1 and 1."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values that are usual; None: no bound on that side."""

    low: float | None = None
    high: float | None = None

    def __contains__(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of one block.

    Parameters
    ----------
    name
        One of `SIGNALS`.
    value
        What was measured; None if it could not be.
    state
        ``fine``, ``watch`` (outside `watch`), ``act`` (outside `act`) or ``insufficient data``.
    reason
        One sentence: what was measured, what was expected, and on how many clicks or blocks.
    watch, act
        Usual values; None if there are no thresholds yet.
    bounds
        Interval of the value at 95 %, by the number of clicks alone.
    cause
        For a fall of quality: ``data``, ``model`` or ``pipeline``; else empty.
    """

    name: str
    value: float | None
    state: State
    reason: str
    watch: Range | None = None
    act: Range | None = None
    bounds: Range | None = None
    cause: str = ""


def worst(signals: tuple[Signal, ...]) -> State:
    """Return the worst state; ``fine`` without signals."""
    return max((signal.state for signal in signals), key=STATES.index, default="fine")
