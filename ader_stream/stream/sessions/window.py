"""Session windows over one input partition: a pure function of its log and its idle advances.

Clicks go in with `observe`, heartbeats and idle advances with `advance`; closed sessions and ended
blocks come out of `take_output` in the order in which they must be published. No clock, no Kafka.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, KeysView
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from ader_stream.errors import ClickError
from ader_stream.stream.sessions.open_session import OpenSession, Place
from ader_stream.types import BlockRule, Click, SessionRule

AT_ONCE = -(2**63)
"""A watermark (ms) that every other one has passed."""


@dataclass(slots=True)
class BlockCounts:
    """Sessions of a block that have closed on one partition, their clicks, the late ones of them.

    When the block ends, its sessions are closed: then these are all.
    """

    clicks: int = 0
    sessions: int = 0
    late: int = 0


class BlockEnd(NamedTuple):
    """Nothing of this block, or of one before, follows on this partition."""

    block: int
    counts: BlockCounts


class IdleAdvance(NamedTuple):
    """The watermark (ms) has followed other partitions' before the click at `next_offset`."""

    next_offset: int
    watermark: int


Output = OpenSession | BlockEnd | IdleAdvance


@dataclass
class WindowState:
    """What a window knows beside its open sessions.

    Parameters
    ----------
    watermark
        Highest event time less the lateness, ms; None before the first record.
    open_block
        The first block that has not ended; None before the first record.
    evicted_until
        Last time (ms) of the newest session that has closed because too many were open.
    capped_until
        Key → last time (ms) of its newest session that has closed at a bound of its own, where
        clicks of that time may still come.
    counts
        By block, of those that have not ended.
    """

    watermark: int | None = None
    open_block: int | None = None
    evicted_until: int | None = None
    capped_until: dict[str, int] = field(default_factory=dict)
    counts: dict[int, BlockCounts] = field(default_factory=dict)


class SessionWindow:
    """Cuts the clicks of one input partition into sessions and blocks.

    A session closes early, and is counted in `early`, when it reaches a bound of its own, or when
    it is the oldest and too many are open. Clicks that would have joined it are late then: no two
    sessions of a key and block begin at the same time.

    Attributes
    ----------
    watermark
        Highest event time less the lateness, ms; None before the first record.
    open_block
        The first block that has not ended; None before the first record.
    open_count
        The open sessions.
    late_clicks
        Those carried to the watermark since it was made.
    early
        Bound (``clicks``, ``age``, ``open``) → sessions that it has closed since.
    reads_from
        Where the log must be read from to see what is observed now; None for the record itself.

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
        state = state or WindowState()
        self.watermark = state.watermark
        self.open_block = state.open_block
        self.late_clicks = 0
        self.open_count = 0
        self.early: Counter[str] = Counter()
        self.reads_from: Place | None = None
        self._blocks = blocks
        self._rule = rule
        self._counts = state.counts
        self._touched: dict[str, None] = {}  # a set that keeps the order
        self._open: dict[str, tuple[OpenSession, ...]] = {}
        self._open_in: Counter[int] = Counter()  # by block
        self._oldest: list[tuple[int, str, int, OpenSession]] = []  # heap by (last, key)
        self._tie = count()
        self._evicted_until = state.evicted_until
        self._capped_until = state.capped_until
        self._capped = [(until, key) for key, until in self._capped_until.items()]  # heap
        self._capped_from: dict[str, Place] = {}
        self._turn = AT_ONCE  # below this watermark (ms), nothing closes and no block ends
        self._output: list[Output] = []
        heapq.heapify(self._capped)
        for session in open_sessions:
            self._add(session)

    @property
    def state(self) -> WindowState:
        """What must be kept beside the open sessions."""
        return WindowState(
            self.watermark, self.open_block, self._evicted_until, self._capped_until, self._counts
        )

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
        key, item, time, _, extra = click
        sessions = self._open.get(key)
        if sessions is None or len(sessions) > 1:
            return self._observe_elsewhere(click, offset)
        # Nearly every click joins the key's only session behind its last click. Then it is not
        # late, and what else follows is seen without a search.
        rule, session = self._rule, sessions[0]
        times = session.times
        if not (
            0 <= time - times[-1] <= rule.gap
            and time < session.ends_at
            and len(times) < rule.max_clicks - 1
        ):
            return self._observe_elsewhere(click, offset)
        if extra:
            session.extra[len(times)] = extra
        times.append(time)
        session.items.append(item)
        self._touched[key] = None
        reached, watermark = time - rule.lateness, self.watermark
        if watermark is not None and reached > watermark:
            if reached < self._turn:
                self.watermark = reached
            else:
                self.advance(reached)
        return session, len(times) - 1

    def advance(self, watermark: int) -> None:
        """Move the watermark (ms) on, never back; close what it has passed."""
        if self.watermark is not None and watermark <= self.watermark:
            return
        self.watermark = watermark
        if watermark >= self._turn:
            self._begin(self._blocks.block_of(watermark))
            self._end_blocks(watermark)
            if expired := self._expired(watermark):
                self._close(expired)
            self._evict_surplus()
            self._forget_capped(watermark)
            self._turn = self._next_turn()

    def forget(self, covers: Callable[[str, int], bool]) -> list[str]:
        """Drop open sessions for good: they never come out. Return their keys.

        `covers` is asked with key and first effective time (ms) of each.
        """
        dropped = [s for s in self.open_sessions() if covers(s.key, s.first)]
        for session in dropped:
            self._remove(session)
            self._touched[session.key] = None
        return sorted({session.key for session in dropped})

    def note(self, advance: IdleAdvance) -> None:
        """Put out, before all that comes of it, that the watermark is about to follow others."""
        self._output.append(advance)

    def take_output(self) -> list[Output]:
        """Return closed sessions, ended blocks and advances since the last call, in order."""
        output, self._output = self._output, []
        return output

    def take_touched(self) -> KeysView[str]:
        """Return the keys of which sessions or `capped_until` have changed since the last call."""
        touched, self._touched = self._touched, {}
        return touched.keys()

    def sessions_of(self, key: str) -> list[OpenSession]:
        """Return the open sessions of a key, in order of their first clicks."""
        sessions = self._open.get(key, ())
        if len(sessions) < 2:
            return list(sessions)
        return sorted(sessions, key=lambda session: session.first)

    def open_sessions(self) -> Iterator[OpenSession]:
        """Every open session."""
        for sessions in self._open.values():
            yield from sessions

    def needed_from(self) -> Place | None:
        """Where the log must be read from to see again what is open or capped; None: nowhere."""
        places = [session.reads_from for session in self.open_sessions()]
        places += self._capped_from.values()
        return min(places, key=lambda place: place.offset, default=None)

    # --- a click joins

    def _observe_elsewhere(self, click: Click, offset: int) -> tuple[OpenSession, int]:
        """Take a click that does not simply join its key's only session behind the last one."""
        joined = self._join(click, offset)
        self._touched[click.key] = None
        self.advance(click.time - self._rule.lateness)
        return joined

    def _join(self, click: Click, offset: int) -> tuple[OpenSession, int]:
        self._begin(self._blocks.block_of(click.time - self._rule.lateness))
        time, original = self._effective_time(click), None
        if time != click.time:
            if self._rule.late == "dead-letter":
                raise ClickError(
                    "late",
                    f"time {click.time} is behind the watermark {self.watermark}, or its "
                    "session has closed",
                )
            original = click.time
            self.late_clicks += 1
        touching = self._touching(click.key, time)
        if touching:
            session, *others = touching
            for other in others:  # the click bridges them
                session.append(other)
                self._remove(other)
        else:
            session = self._begin_session(click.key, time, offset)
        position = session.insert(time, click.item, original, click.extra)
        if not touching:
            self._add(session)
        session.ends_at = min(
            self._blocks.start(session.block + 1), session.times[0] + self._rule.max_age
        )
        self._close_at_bounds(session)
        return session, position

    def _begin(self, block: int) -> None:
        """At the partition's first record: what comes before the watermark's block has ended."""
        if self.open_block is None:
            self.open_block = block
            self._output.append(BlockEnd(block - 1, BlockCounts()))

    def _effective_time(self, click: Click) -> int:
        """The click's own time, or the time that a late click is carried to."""
        watermark, open_block = self.watermark, self.open_block
        assert open_block is not None
        time = max(click.time, self._blocks.start(open_block))
        closed_until = self._closed_early_until(click.key)
        is_behind = watermark is not None and time + self._rule.gap < watermark
        if not is_behind and (closed_until is None or time > closed_until):
            return time
        # A session of this click alone would have closed: only one that is open around it can take
        # it. One that is open behind it cannot: the gap before it may hold a session that has
        # closed, and two of one key and block must never begin at the same time.
        if any(session.first <= time for session in self._touching(click.key, time)):
            return time
        return max(
            time if watermark is None else watermark,
            time if closed_until is None else closed_until + 1,
        )

    def _closed_early_until(self, key: str) -> int | None:
        """Up to this time (ms), sessions of the key may have closed before the watermark came."""
        evicted, capped = self._evicted_until, self._capped_until.get(key)
        return capped if evicted is None else evicted if capped is None else max(evicted, capped)

    def _touching(self, key: str, time: int) -> list[OpenSession]:
        """The key's open sessions that a click at this time belongs to, earliest first."""
        if key not in self._open:
            return []
        block, gap = self._blocks.block_of(time), self._rule.gap
        return [
            session
            for session in self.sessions_of(key)
            if session.block == block
            and not session.is_full
            and session.first - gap <= time <= session.last + gap
        ]

    def _begin_session(self, key: str, time: int, offset: int) -> OpenSession:
        """A session without a click yet."""
        place = self.reads_from or Place(offset, self.watermark, self.open_block)
        session = OpenSession(key, self._blocks.block_of(time), [], [], reads_from=place)
        for other in self._open.get(key, ()):
            session.read_from(other.reads_from)
        if key in self._capped_from:
            session.read_from(self._capped_from[key])
        return session

    # --- bounds

    def _close_at_bounds(self, session: OpenSession) -> None:
        rule = self._rule
        if len(session.times) >= rule.max_clicks:
            self._cap(session, "clicks")
        elif session.last - session.first >= rule.max_age:
            self._cap(session, "age")
        self._evict_surplus()

    def _cap(self, session: OpenSession, bound: str) -> None:
        """Close a session that has reached a bound of its own."""
        self.early[bound] += 1
        key, until = session.key, self._capped_until
        until[key] = max(session.last, until.get(key, session.last))
        session.read_from(self._capped_from.get(key, session.reads_from))
        self._capped_from[key] = session.reads_from
        heapq.heappush(self._capped, (until[key], key))
        self._turn = AT_ONCE
        if session.block == self.open_block:
            self._close([session])
        else:
            session.is_full = True
            session.ends_at = 0

    def _evict_surplus(self) -> None:
        """Close the oldest sessions. Those of a block that is not open yet must wait for it."""
        while self.open_count > self._rule.max_open:
            session = self._find_oldest()
            if session is None or session.block != self.open_block:
                return
            self.early["open"] += 1
            self._evicted_until = session.last
            self._close([session])

    def _forget_capped(self, watermark: int) -> None:
        """Forget what the watermark has passed: clicks of that time are late as they are."""
        while self._capped and self._capped[0][0] + self._rule.gap < watermark:
            until, key = heapq.heappop(self._capped)
            if self._capped_until.get(key) == until:
                del self._capped_until[key]
                self._capped_from.pop(key, None)
                self._touched[key] = None

    # --- sessions close

    def _add(self, session: OpenSession) -> None:
        key, last = session.key, session.times[-1]
        self._open[key] = (*self._open.get(key, ()), session)
        self.open_count += 1
        self._open_in[session.block] += 1
        heapq.heappush(self._oldest, (last, key, next(self._tie), session))
        self._turn = min(self._turn, last + self._rule.gap + 1)

    def _remove(self, session: OpenSession) -> None:
        session.is_closed = True
        self.open_count -= 1
        self._open_in[session.block] -= 1
        left = tuple(other for other in self._open[session.key] if other is not session)
        if left:
            self._open[session.key] = left
        else:
            del self._open[session.key]

    def _find_oldest(self) -> OpenSession | None:
        """The open session that comes first by (last time, key).

        Its place in the heap is looked at again only when it has come to the front: most sessions
        have moved on by then, and touching the heap at every click would cost more.
        """
        heap = self._oldest
        while heap:
            last, key, tie, session = heap[0]
            if session.is_closed:
                heapq.heappop(heap)
            elif session.last != last:
                heapq.heapreplace(heap, (session.last, key, tie, session))
            else:
                return session
        return None

    def _expired(self, watermark: int) -> list[OpenSession]:
        """Take open sessions whose last click lies more than the gap behind the watermark."""
        heap, before = self._oldest, watermark - self._rule.gap
        expired = []
        while heap and heap[0][0] < before:
            last, key, tie, session = heap[0]
            if session.is_closed or session.last == last:
                heapq.heappop(heap)
                if not session.is_closed:
                    expired.append(session)
            else:
                heapq.heapreplace(heap, (session.last, key, tie, session))
        return expired

    def _next_turn(self) -> int:
        assert self.open_block is not None
        turn = self._blocks.start(self.open_block + 1)
        for heap in (self._oldest, self._capped):
            if heap:
                turn = min(turn, heap[0][0] + self._rule.gap + 1)
        return turn

    def _end_blocks(self, watermark: int) -> None:
        assert self.open_block is not None
        while watermark >= self._blocks.start(self.open_block + 1):
            ended = self.open_block
            self._close(self._open_of(ended))
            del self._open_in[ended]
            self._output.append(BlockEnd(ended, self._counts.pop(ended, BlockCounts())))
            self.open_block = ended + 1
            self._close([session for session in self._open_of(ended + 1) if session.is_full])

    def _open_of(self, block: int) -> list[OpenSession]:
        if not self._open_in[block]:
            return []
        return [session for session in self.open_sessions() if session.block == block]

    def _close(self, sessions: list[OpenSession]) -> None:
        if len(sessions) > 1:
            sessions.sort(key=lambda closed: (closed.last, closed.key, closed.first))
        for session in sessions:
            self._remove(session)
            counts = self._counts.get(session.block)
            if counts is None:
                counts = self._counts[session.block] = BlockCounts()
            counts.sessions += 1
            counts.clicks += len(session.times)
            counts.late += len(session.carried)
            self._touched[session.key] = None
            self._output.append(session)
