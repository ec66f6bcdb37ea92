"""Lead: count, commit, and show the status, until another monitor leads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ader_stream.metrics import Metrics
from ader_stream.monitor.leader import Leader
from ader_stream.monitor.status.exports import StatusMetrics
from ader_stream.monitor.status.whole import StatusBoard, StatusMaker, standby_status
from ader_stream.stream.groups.leadership import Leadership
from ader_stream.types import BlockRule

POLL_SECONDS = 0.2
SHOW_SECONDS = 1.0
"""Between two statuses; more where one takes long to make."""

SHOW_SHARE = 10
"""A status is made at most a tenth of the time."""


class Schedule:
    """Says when something is due: `interval` seconds after it was done last.

    What takes long is done less often: at most one part in `SHOW_SHARE` of the time.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._due_at = clock()

    def run_if_due(self, work: Callable[[], None]) -> None:
        """Do the work if it is due."""
        began = self._clock()
        if began < self._due_at:
            return
        work()
        ended = self._clock()
        self._due_at = ended + max(self._interval, (ended - began) * SHOW_SHARE)


@dataclass(frozen=True)
class Shown:
    """Where a monitor shows its status."""

    board: StatusBoard
    metrics: Metrics


def lead(
    leader: Leader,
    leadership: Leadership,
    shown: Shown,
    blocks: BlockRule,
    commit_seconds: float,
    should_stop: Callable[[], bool],
    after_round: Callable[[], None] = lambda: None,
) -> None:
    """Count, commit every `commit_seconds` and show the status, until SIGTERM.

    Raises
    ------
    FencedError
        If another monitor leads now.
    KafkaException, AderError
        If a client fails, a right is missing, or a topic is gone.
    """
    maker, exported = StatusMaker(leader, blocks), StatusMetrics(shown.metrics)
    showing, committing = Schedule(SHOW_SECONDS), Schedule(commit_seconds)

    def show() -> None:
        status = maker.make()
        shown.board.show(status)
        exported.show(status)

    try:
        while not should_stop():
            leadership.require()
            leader.poll(POLL_SECONDS)
            committing.run_if_due(leader.commit)
            showing.run_if_due(show)
            after_round()
        leader.commit()
    finally:
        exported.clear()
        shown.board.show(standby_status())
        leader.close()
