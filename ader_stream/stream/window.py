"""Session windows over one input partition: a pure function of its log and its idle advances.

Clicks go in with `observe`, heartbeats and idle advances with `advance`; closed sessions and ended
blocks come out of `take_output` in the order in which they must be published. No clock, no Kafka.
"""

from __future__ import annotations

import heapq
from bisect import insort_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from operator import itemgetter
from typing import NamedTuple

from ader_stream.errors import ClickError
from ader_stream.types import BlockRule, Click, SessionRule


class SessionClick(NamedTuple):
    """A click in a session: effective time (ms), item, original time if it was late, extra."""

    time: int
    item: str
    original_time: int | None
    extra: dict[str, str]


@dataclass(slots=True, eq=False)
class OpenSession:
    """The clicks of one key in one block, so far, in the order (effective time, offset).

    Parameters
    ----------
    needs_offset, needs_watermark, needs_open_block
        Where the log must be read from to see the session again, and the partition's watermark
        (ms) and open block there: its first click, or that of an older session of the key that
        was open then and decided which clicks are this one's.
    """

    key: str
    block: int
    clicks: list[SessionClick]
    needs_offset: int = 0
    needs_watermark: int | None = None
    needs_open_block: int | None = None
    is_closed: bool = False

    @property
    def first(self) -> int:
        """Effective time (ms) of the first click."""
        return self.clicks[0].time

    @property
    def last(self) -> int:
        """Effective time (ms) of the last click."""
        return self.clicks[-1].time

    def need(self, other: OpenSession) -> None:
        """Need what another session of the key needs, where that lies further back."""
        if other.needs_offset < self.needs_offset:
            self.needs_offset = other.needs_offset
            self.needs_watermark = other.needs_watermark
            self.needs_open_block = other.needs_open_block


@dataclass(slots=True)
class BlockCounts:
    """Clicks and late ones taken into a block, and sessions of it closed, on one partition."""

    clicks: int = 0
    sessions: int = 0
    late: int = 0


class BlockEnd(NamedTuple):
    """Nothing of this block, or of one before, follows on this partition."""

    block: int
    counts: BlockCounts


@dataclass
class WindowState:
    """What a window knows beside its open sessions.

    Parameters
    ----------
    watermark
        Highest event time less the lateness, ms; None before the first record.
    open_block
        The first block that has not ended; None before the first record.
    counts
        By block, of those that have not ended.
    """

    watermark: int | None = None
    open_block: int | None = None
    counts: dict[int, BlockCounts] = field(default_factory=dict)


class SessionWindow:
    """Cuts the clicks of one input partition into sessions and blocks.

    `late_clicks` counts those carried to the watermark since it was made, `open_count` the open
    sessions.

    >>> window = SessionWindow(BlockRule(0, 1000), SessionRule(gap=100))
    >>> _ = window.observe(Click("a", "shoe", 10), offset=0)
    >>> _ = window.observe(Click("b", "hat", 1200), offset=1)
    >>> [type(output).__name__ for output in window.take_output()]
    ['BlockEnd', 'OpenSession', 'BlockEnd']
    """

    def __init__(
        self,
        blocks: BlockRule,
        rule: SessionRule,
        state: WindowState | None = None,
        open_sessions: Iterable[OpenSession] = (),
    ) -> None:
        self.state = state or WindowState()
        self.late_clicks = 0
        self.open_count = 0
        self._touched: set[str] = set()
        self._blocks = blocks
        self._rule = rule
        self._open: dict[str, list[OpenSession]] = {}
        self._expiry: list[tuple[int, int, OpenSession]] = []  # (deadline, tie breaker, session)
        self._tie = count()
        self._output: list[OpenSession | BlockEnd] = []
        for session in open_sessions:
            self._add(session)

    def observe(self, click: Click, offset: int) -> tuple[OpenSession, int]:
        """Take a click into its session, then move the watermark on.

        Returns
        -------
        tuple
            The session that it joined and its position there. Both are as they were when it
            joined only until the next call.

        Raises
        ------
        ClickError
            If it is late and late clicks are refused. It moves no watermark.
        """
        self._begin(self._blocks.block_of(click.time - self._rule.lateness))
        time = self._effective_time(click)
        is_late = time != click.time
        if is_late and self._rule.late == "dead-letter":
            raise ClickError(
                "late", f"time {click.time} is behind the watermark {self.state.watermark}"
            )
        taken = SessionClick(time, click.item, click.time if is_late else None, dict(click.extra))
        session, position = self._join(click.key, taken, offset)
        self._touched.add(click.key)
        counts = self._counts(session.block)
        counts.clicks += 1
        counts.late += is_late
        self.late_clicks += is_late
        self.advance(click.time - self._rule.lateness)
        return session, position

    def advance(self, watermark: int) -> None:
        """Move the watermark (ms) on, never back; close what it has passed."""
        state = self.state
        if state.watermark is not None and watermark <= state.watermark:
            return
        self._begin(self._blocks.block_of(watermark))
        state.watermark = watermark
        self._end_blocks(watermark)
        if self._expiry and self._expiry[0][0] < watermark:
            self._close(self._expired(watermark))

    def take_output(self) -> list[OpenSession | BlockEnd]:
        """Return closed sessions and ended blocks since the last call, in order of publishing."""
        output, self._output = self._output, []
        return output

    def take_touched(self) -> set[str]:
        """Return the keys whose open sessions have changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def sessions_of(self, key: str) -> list[OpenSession]:
        """Return the open sessions of a key, in order of their first clicks."""
        return sorted(self._open.get(key, ()), key=lambda session: session.first)

    def open_sessions(self) -> Iterator[OpenSession]:
        """Every open session."""
        for sessions in self._open.values():
            yield from sessions

    def _begin(self, block: int) -> None:
        """At the partition's first record: what comes before the watermark's block has ended."""
        if self.state.open_block is None:
            self.state.open_block = block
            self._output.append(BlockEnd(block - 1, BlockCounts()))

    def _effective_time(self, click: Click) -> int:
        """The click's own time, or the time that a late click is carried to."""
        block, open_block = self._blocks.block_of(click.time), self.state.open_block
        assert open_block is not None
        time = click.time if block >= open_block else self._blocks.start(open_block)
        watermark = self.state.watermark
        if watermark is None or time + self._rule.gap >= watermark:
            return time
        # A session of this click alone would have closed: only one that is open around it can take
        # it. One that is open behind it cannot: the gap before it may hold a session that has
        # closed, and two of one key and block must never begin at the same time.
        around = (session.first <= time for session in self._touching(click.key, time))
        return time if any(around) else watermark

    def _touching(self, key: str, time: int) -> list[OpenSession]:
        """The key's open sessions that a click at this time belongs to, earliest first."""
        if key not in self._open:
            return []
        block, gap = self._blocks.block_of(time), self._rule.gap
        return [
            session
            for session in self.sessions_of(key)
            if session.block == block and session.first - gap <= time <= session.last + gap
        ]

    def _join(self, key: str, click: SessionClick, offset: int) -> tuple[OpenSession, int]:
        touching = self._touching(key, click.time)
        if not touching:
            return self._begin_session(key, click, offset), 0
        first, *others = touching
        for other in others:  # the click bridges them
            self._merge(first, other)
        return first, _insert(first.clicks, click)

    def _begin_session(self, key: str, click: SessionClick, offset: int) -> OpenSession:
        block, state = self._blocks.block_of(click.time), self.state
        session = OpenSession(key, block, [click], offset, state.watermark, state.open_block)
        for other in self._open.get(key, ()):
            session.need(other)
        self._add(session)
        return session

    def _merge(self, into: OpenSession, other: OpenSession) -> None:
        into.clicks += other.clicks
        into.need(other)
        self._remove(other)

    def _add(self, session: OpenSession) -> None:
        self._open.setdefault(session.key, []).append(session)
        self.open_count += 1
        heapq.heappush(self._expiry, (session.last + self._rule.gap, next(self._tie), session))

    def _remove(self, session: OpenSession) -> None:
        session.is_closed = True
        self.open_count -= 1
        sessions = self._open[session.key]
        sessions.remove(session)
        if not sessions:
            del self._open[session.key]

    def _expired(self, watermark: int) -> list[OpenSession]:
        """Open sessions whose last click lies more than the gap behind the watermark.

        A deadline is set when a session opens and looked at again only when it has passed: most
        sessions have moved on by then, and touching the heap at every click would cost more.
        """
        expired = []
        while self._expiry and self._expiry[0][0] < watermark:
            session = heapq.heappop(self._expiry)[2]
            if session.is_closed:
                continue
            deadline = session.last + self._rule.gap
            if deadline < watermark:
                expired.append(session)
            else:
                heapq.heappush(self._expiry, (deadline, next(self._tie), session))
        return expired

    def _end_blocks(self, watermark: int) -> None:
        state = self.state
        assert state.open_block is not None
        while watermark >= self._blocks.start(state.open_block + 1):
            ended = state.open_block
            self._close([session for session in self.open_sessions() if session.block == ended])
            self._output.append(BlockEnd(ended, state.counts.pop(ended, BlockCounts())))
            state.open_block = ended + 1

    def _close(self, sessions: list[OpenSession]) -> None:
        for session in sorted(sessions, key=lambda closed: (closed.last, closed.key, closed.first)):
            self._remove(session)
            self._counts(session.block).sessions += 1
            self._touched.add(session.key)
            self._output.append(session)

    def _counts(self, block: int) -> BlockCounts:
        return self.state.counts.setdefault(block, BlockCounts())


def _insert(clicks: list[SessionClick], click: SessionClick) -> int:
    """Insert by time, behind clicks of the same time, and return the position."""
    if not clicks or click.time >= clicks[-1].time:
        clicks.append(click)
        return len(clicks) - 1
    insort_right(clicks, click, key=itemgetter(0))
    return next(i for i, other in enumerate(clicks) if other is click)
