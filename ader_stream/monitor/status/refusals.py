"""Share of refused and of late clicks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ader_stream.monitor.counts.counting import CLICKS
from ader_stream.monitor.counts.places import HOURS
from ader_stream.monitor.counts.state import MonitorState
from ader_stream.monitor.status.blocks import BlockSummary


@dataclass(frozen=True)
class RefusalsStatus:
    """Refused and late clicks.

    Parameters
    ----------
    clicks
        Clicks that came into sessions in the last day, by the records' own timestamps.
    refused
        Reason → clicks that became dead letters in the same time.
    late_ratio
        Late clicks among those of the last complete block, or of the open one; None without any.
    """

    clicks: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    late_ratio: float | None = None

    @property
    def ratios(self) -> dict[str, float]:
        """Return reason → share of all clicks that were refused for it."""
        total = self.clicks + sum(self.refused.values())
        return {reason: count / total for reason, count in self.refused.items()}


def refusals_status(state: MonitorState, block: BlockSummary | None) -> RefusalsStatus:
    """Return the refused clicks of the last day, and the late ones of a block."""
    hours = [place.hourly.newest for place in state.places if place.hourly.newest is not None]
    first = max(hours, default=0) - HOURS + 1
    counts = sum((place.hourly.since(first) for place in state.places), Counter[str]())
    clicks = counts.pop(CLICKS, 0)
    ratio = block.late / block.clicks if block and block.clicks else None
    return RefusalsStatus(clicks, dict(sorted(counts.items())), ratio)
