"""How far each stage is behind the clicks, in event time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ader_stream.monitor.counts.state import MonitorState
from ader_stream.monitor.status.blocks import complete_block
from ader_stream.monitor.status.quality import VersionsStatus
from ader_stream.monitor.views import TopicViews
from ader_stream.types import BlockRule

STAGES = ("clicks", "sessions", "block_end", "trained", "served")
"""From a click to the version that has learned from it."""


@dataclass(frozen=True)
class StageLag:
    """How far a stage has come.

    Parameters
    ----------
    stage
        One of `STAGES`.
    reached
        Event time up to which the stage has done its work, ms.
    lag_seconds
        Event time by which it is behind the newest click.
    """

    stage: str
    reached: int
    lag_seconds: float


def stage_lags(
    state: MonitorState, views: TopicViews, versions: VersionsStatus, rule: BlockRule
) -> tuple[StageLag, ...]:
    """Return the lag of every stage that has begun."""
    reached = dict(_reached(state, views, versions, rule))
    newest = reached.get("clicks", 0)
    return tuple(
        StageLag(stage, reached[stage], max(0, newest - reached[stage]) / 1000)
        for stage in STAGES
        if stage in reached
    )


def _reached(
    state: MonitorState, views: TopicViews, versions: VersionsStatus, rule: BlockRule
) -> Iterator[tuple[str, int]]:
    """Yield stage and event time.

    Without idle partitions' hints, the newest click is the newest one in a session.
    """
    in_sessions = [
        counted.place.reached
        for counted in state.sessions.values()
        if counted.place.reached is not None
    ]
    if in_sessions:
        yield "clicks", max(*in_sessions, *views.stream_times.values(), 0)
        yield "sessions", max(in_sessions)
    ends = {
        "block_end": complete_block(state),
        "trained": versions.trained_to,
        "served": versions.served_to,
    }
    for stage, block in ends.items():
        if block is not None:
            yield stage, rule.start(block + 1)
