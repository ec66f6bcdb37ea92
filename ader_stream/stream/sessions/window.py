"""Session windows over one input partition: a pure function of its log and its idle advances.

Clicks are the input of `observe`, heartbeats and idle advances of `advance`. `take_output` returns
closed sessions and ended blocks in the order in which they must be published. It uses no clock and
no Kafka.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ader_stream.errors import ClickError, SettingsError
from ader_stream.stream.avro.encoding import SHORT_BYTES, text_bytes
from ader_stream.stream.control.rules import BLOCKS_REMEDY, as_text, blocks_as_written
from ader_stream.stream.sessions.open.capped_keys import CappedKeys
from ader_stream.stream.sessions.open.session import (
    NO_TIMES,
    NONE,
    Jump,
    OpenSession,
    ReplayPoint,
    fields_bytes,
)
from ader_stream.stream.sessions.open.sessions import KeySessions, OpenSessions
from ader_stream.stream.sessions.outputs import (
    BlockCounts,
    BlockEnd,
    ClockRefusal,
    IdleAdvance,
    Output,
)
from ader_stream.times import instant_text
from ader_stream.types import CLICK_BYTES, BlockRule, Click, SessionRule

AT_ONCE = -(2**63)
"""A watermark (ms) below every other one."""

ENDLESS = 2**63
"""More ms than any click can be ahead."""

BUCKETS_IN_GAP = 256
"""Number of buckets in a gap; the sessions of a bucket are checked together for their end."""

Covers = Callable[[str, int, int], bool]
"""Key, offset of the log and event time (ms) at which data of the key start → whether they are to
be erased."""

PlainClick = tuple[str, bytes, int, int]
"""Key, item (its `text_bytes`), event time (ms) and offset of a click without other fields."""


class Erased(NamedTuple):
    """Counts of a key's erased data: open sessions, quarantined clicks, other uses of its name."""

    sessions: int = 0
    quarantined: int = 0
    names: int = 0

    def plus(self, other: Erased) -> Erased:
        """Return the sum of both."""
        return Erased(*map(sum, zip(self, other, strict=True)))


@dataclass
class WindowState:
    """State of a window in addition to its open sessions.

    Parameters
    ----------
    watermark
        Highest event time minus the lateness, ms; None before the first record.
    open_block
        The first block that has not ended; None before the first record.
    evicted_until
        Last time (ms) of the newest session that was closed because too many were open.
    capped_until
        Key → last time (ms) of its newest session that was closed at a limit of its own, if clicks
        of that time may still arrive.
    counts
        Counts of blocks that have not ended.
    jumps
        The last jumps of the stream time.
    sole_key
        The key of all clicks so far, if there is only one.
    """

    watermark: int | None = None
    open_block: int | None = None
    evicted_until: int | None = None
    capped_until: dict[str, int] = field(default_factory=dict)
    counts: dict[int, BlockCounts] = field(default_factory=dict)
    jumps: tuple[Jump, ...] = ()
    sole_key: str | None = None

    def keep_closed(self, gap: int) -> None:
        """Keep clicks late that were late with a gap (ms), when another gap is used from now on.

        Otherwise sessions that the shorter gap has closed would start again at the same place.
        """
        if self.watermark is not None:
            closed_until = self.watermark - gap - 1
            before = self.evicted_until
            self.evicted_until = closed_until if before is None else max(before, closed_until)


class SessionWindow:
    """Turns the clicks of one input partition into sessions and blocks.

    A session closes early, and is counted in `early`, when it reaches a limit of its own, or when
    it is the oldest and too many are open. Clicks that would have joined it are late then: no two
    sessions of a key and block start at the same time.

    Sessions that the watermark has passed are finished. They are closed together, before any other
    click could change them or depend on them.

    Attributes
    ----------
    watermark
        Highest event time minus the lateness, ms; None before the first record.
    open_block
        The first block that has not ended; None before the first record.
    late_clicks
        Number of clicks moved to the watermark since this was made.
    early
        Limit (``clicks``, ``age``, ``bytes``, ``open``, ``rules``) → number of sessions closed by
        it since this was made.
    reads_from
        Where the log must be read from to restore what is observed now; None for the record itself.
    jumps, sole_key
        As in `WindowState`; the intake sets them.

    Raises
    ------
    SettingsError
        If the state was made by another block rule.

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
        _require_same_blocks(state, blocks)
        self.watermark = state.watermark
        self.open_block = state.open_block
        self.late_clicks = 0
        self.early: Counter[str] = Counter()
        self.reads_from: ReplayPoint | None = None
        self.jumps = state.jumps
        self.sole_key = state.sole_key
        self._blocks = blocks
        self._rule = rule
        self._counts = state.counts
        # Below this, short clicks of the fast path may join a session without a check of its size.
        self._unseen_bytes = rule.max_bytes // 2
        self._unseen_clicks = self._unseen_bytes // (SHORT_BYTES + CLICK_BYTES)
        given = list(open_sessions)
        self._open = OpenSessions(max(1, rule.gap // BUCKETS_IN_GAP), given)
        self._full = [session for session in given if session.is_full]
        for session in self._full:
            self._open.note_full(session)
        self._evicted_until = state.evicted_until
        self._capped = CappedKeys(state.capped_until)
        self._turn = AT_ONCE  # below this watermark (ms), no block ends and no key expires
        self._output: list[Output] = []
        if self._open.count > rule.max_open:  # the limit was higher before
            self._close_over()
            self._evict_surplus()

    @property
    def state(self) -> WindowState:
        """Return the state that must be stored in addition to the open sessions."""
        self._close_over()
        return WindowState(
            self.watermark,
            self.open_block,
            self._evicted_until,
            self._capped.until,
            self._counts,
            self.jumps,
            self.sole_key,
        )

    @property
    def open_count(self) -> int:
        """Return the number of open sessions."""
        self._close_over()
        return self._open.count

    def observe_plain(
        self,
        clicks: Iterator[PlainClick],
        max_lead: int,
        until: int = ENDLESS,
        go_on_until: Callable[[PlainClick], int] = lambda _: 0,
    ) -> PlainClick | None:
        """Take clicks while each joins its key's only session after the last click, or starts one.

        Nearly every click does. For those no other session must be checked, and only sessions that
        the watermark passes close, so one loop takes them all. Nor is the size of a session
        checked: `ends_at` is 0 where it could become too large.

        Parameters
        ----------
        clicks
            Drawn one by one; each has at most `SHORT_BYTES`.
        max_lead
            How far a click may be ahead of the watermark, ms.
        until
            From this event time (ms) on, `go_on_until` decides about a click that advances the
            watermark.
        go_on_until
            Returns the next such time; a click that is not before it ends the loop.

        Returns
        -------
        tuple or None
            The first click of another kind: it was drawn, but not taken. None: all were taken.
        """
        watermark, open_block = self.watermark, self.open_block
        if watermark is None or open_block is None or self.reads_from is not None:
            return next(clicks, None)
        rule, gap, lateness = self._rule, self._rule.gap, self._rule.lateness
        turn = min(self._turn, until - lateness)
        block_begins, block_ends = map(self._blocks.start, (open_block, open_block + 1))
        before_last = min(rule.max_clicks - 1, self._unseen_clicks)
        begins_after = block_begins - 1 if self._evicted_until is None else self._evicted_until
        most_open = rule.max_open if before_last > 0 and rule.max_age > 0 else 0
        opened, capped = self._open, self._capped.until
        session_of, several, changed = opened.alone.get, opened.several, opened.changed
        place: ReplayPoint | None = (
            None  # one for all sessions that start here: each takes 144 bytes
        )
        try:
            for click in clicks:
                key, text, time, offset = click
                lead = time - watermark
                if lead > lateness and (
                    lead > max_lead
                    or (
                        (ahead := time - lateness) >= turn
                        and ahead >= (turn := min(self._turn, go_on_until(click) - lateness))
                    )
                ):
                    return click
                session = session_of(key)
                if session is not None:
                    times = session.times
                    last = times[-1]
                    if not (
                        last <= time < session.ends_at
                        and time - last <= gap
                        and watermark - last <= gap
                        and len(times) < before_last
                    ):
                        return click
                    times.append(time)
                    session.texts += text
                elif (
                    -gap <= lead
                    and begins_after < time < block_ends
                    and block_begins <= time
                    and opened.count < most_open
                    and key not in several
                    and key not in capped
                ):
                    place = place or ReplayPoint(offset, watermark, open_block, self.jumps)
                    times = NO_TIMES.__copy__()
                    times.append(time)
                    session = OpenSession(key, open_block, times, text, NONE, NONE, place)
                    session.ends_at = min(block_ends, time + rule.max_age)
                    opened.add(session)
                else:
                    return click
                if not session.has_changed:
                    session.has_changed = True
                    changed.append(session)
                if lead > lateness:
                    watermark = time - lateness
        finally:
            self.watermark = watermark
        return None

    def observe(self, click: Click, offset: int) -> tuple[OpenSession, int]:
        """Add a click to its session, then advance the watermark.

        Returns
        -------
        tuple
            The session that it joined and its position there. Both are valid only until the next
            call.

        Raises
        ------
        ClickError
            If it is late and late clicks are refused. It does not advance the watermark.
        """
        key, item, time, _, extra = click
        text, extra_bytes = text_bytes(item), fields_bytes(extra) if extra else 0
        session = self._open.alone.get(key)
        size = len(text) + CLICK_BYTES + extra_bytes + (session.size if session else 0)
        if size >= self._unseen_bytes or self.observe_plain(
            iter([(key, text, time, offset)]), ENDLESS
        ):
            self._close_over()
            joined = self._join(click, offset)
            self.advance(time - self._rule.lateness)
            return joined
        session = self._open.alone[key]
        position = len(session.times) - 1
        if extra:
            session.add_extra(position, extra, extra_bytes)
        return session, position

    def advance(self, watermark: int) -> None:
        """Advance the watermark (ms), never back; end the blocks that it has passed."""
        if self.watermark is not None and watermark <= self.watermark:
            return
        if watermark < self._turn:
            self.watermark = watermark
            return
        self._close_over()
        self.watermark = watermark
        self._begin(self._blocks.block_of(watermark))
        self._end_blocks(watermark)
        self._close_over()
        self._evict_surplus()
        for key in self._capped.take_before(watermark - self._rule.gap):
            self._open.note_left(key, is_known=True)
        self._turn = self._next_turn()

    def keys(self) -> list[str]:
        """Return every key that is known here; some twice."""
        self._close_over()
        sole = () if self.sole_key is None else (self.sole_key,)
        return [*self._open.alone, *self._open.several, *self._capped.until, *sole]

    def erase(self, key: str, covers: Covers) -> Erased:
        """Erase the covered data of a key for good: its open sessions are never written."""
        self._close_over()
        sessions = [s for s in self._open.of(key) if covers(key, s.reads_from.offset, s.began)]
        for session in sessions:
            self._open.remove(session)
        is_capped = self._capped.erase(key, covers)
        if is_capped:
            self._open.note_left(key, is_known=True)
        is_sole = key == self.sole_key
        if is_sole:
            self.sole_key = None
        return Erased(len(sessions), names=is_capped + is_sole)

    def close_all(self) -> None:
        """Close all open sessions: from here on, the same key means another visitor.

        Sessions of blocks that are not open yet accept no more clicks and wait for them.
        """
        growing = [session for session in self.open_sessions() if not session.is_full]
        for session in sorted(growing, key=_closing_order):
            self._cap(session, "rules")

    def reset(self, watermark: int) -> None:
        """Move the watermark (ms) back to an earlier time, and open its block.

        Sessions stay open: those of later blocks wait for them again.
        """
        self._close_over()
        self.watermark = watermark
        self.open_block = self._blocks.block_of(watermark)
        self.jumps = ()
        if self._evicted_until is not None and self._evicted_until > watermark:
            self._evicted_until = None
        self._turn = AT_ONCE

    def replay_point(self, offset: int) -> ReplayPoint:
        """Return an offset of the log with the current state of the window."""
        return ReplayPoint(offset, self.watermark, self.open_block, self.jumps, self.sole_key)

    def note(self, decision: IdleAdvance | ClockRefusal) -> None:
        """Write a decision that is not in the log, before all outputs that depend on it."""
        self._close_over()
        self._output.append(decision)

    def take_output(self) -> list[Output]:
        """Return closed sessions, ended blocks and advances since the last call, in order."""
        self._close_over()
        output, self._output = self._output, []
        return output

    def take_changed(self) -> Iterator[KeySessions]:
        """Yield the keys with changed sessions or `capped_until` since the last call.

        Each comes with its open sessions, without `full_sessions`. A key that appeared and
        disappeared meanwhile is left out. Draw all of them before the next click.
        """
        self._close_over()
        return self._open.take_changed(self._capped.until)

    def drop_changes(self) -> None:
        """Discard the changes that `take_changed` would yield, if there is no changelog."""
        for _ in self.take_changed():
            pass

    def sessions_of(self, key: str) -> list[OpenSession]:
        """Return the open sessions of a key, in order of their first clicks.

        Thread-safe.
        """
        sessions, watermark = self._open.of(key), self.watermark
        open_ = [s for s in sessions if watermark is None or s.last + self._rule.gap >= watermark]
        if len(open_) > 1:
            open_.sort(key=lambda s: s.first)
        return open_

    def open_sessions(self) -> Iterator[OpenSession]:
        """Yield every open session."""
        self._close_over()
        yield from self._open

    def full_sessions(self) -> list[OpenSession]:
        """Return open sessions that accept no more clicks and wait for their block."""
        self._full = [session for session in self._full if not session.is_closed]
        return self._full

    def needed_from(self) -> ReplayPoint | None:
        """Return where the log must be read from to restore open or capped data; None: nowhere."""
        places = [session.reads_from for session in self.open_sessions()]
        places += self._capped.places
        return min(places, key=lambda place: place.offset, default=None)

    # --- a click joins

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
            for other in others:  # the click connects them
                session.append(other)
                self._open.remove(other)
        else:
            session = self._begin_session(click.key, time, offset)
        position = session.insert(time, click.item, original, click.extra)
        if not touching:
            self._open.add(session)
        self._open.note_change(session)
        session.ends_at = min(
            self._blocks.start(session.block + 1), session.times[0] + self._rule.max_age
        )
        if session.size >= self._unseen_bytes:
            session.ends_at = 0
        self._close_at_bounds(session)
        return session, position

    def _begin(self, block: int) -> None:
        """Start at the partition's first record: blocks before the watermark's have ended."""
        if self.open_block is None:
            self.open_block = block
            self._output.append(BlockEnd(block - 1, BlockCounts()))

    def _effective_time(self, click: Click) -> int:
        """Return the click's own time, or the time to which a late click is moved."""
        watermark, open_block = self.watermark, self.open_block
        assert open_block is not None
        time = max(click.time, self._blocks.start(open_block))
        closed_until = self._closed_early_until(click.key)
        is_behind = watermark is not None and time + self._rule.gap < watermark
        if not is_behind and (closed_until is None or time > closed_until):
            return time
        # A session of this click alone would be closed, so only an open session around it can take
        # it. An open session after it cannot: the gap before it may contain a closed session, and
        # two sessions of one key and block must never start at the same time.
        if any(session.first <= time for session in self._touching(click.key, time)):
            return time
        return max(
            time if watermark is None else watermark,
            time if closed_until is None else closed_until + 1,
        )

    def _closed_early_until(self, key: str) -> int | None:
        """Return the time (ms) up to which sessions of the key may have closed early."""
        evicted, capped = self._evicted_until, self._capped.until.get(key)
        return capped if evicted is None else evicted if capped is None else max(evicted, capped)

    def _touching(self, key: str, time: int) -> list[OpenSession]:
        """Return the key's open sessions that a click at this time belongs to, earliest first."""
        block, gap = self._blocks.block_of(time), self._rule.gap
        return [
            session
            for session in self.sessions_of(key)
            if session.block == block
            and not session.is_full
            and session.first - gap <= time <= session.last + gap
        ]

    def _begin_session(self, key: str, time: int, offset: int) -> OpenSession:
        """Return a new session without clicks."""
        place = self.reads_from or self.replay_point(offset)
        session = OpenSession(key, self._blocks.block_of(time), array("q"), b"", reads_from=place)
        for other in self.sessions_of(key):
            session.read_from(other.reads_from)
        self._capped.carry_over(session)
        return session

    # --- limits

    def _close_at_bounds(self, session: OpenSession) -> None:
        rule = self._rule
        if len(session.times) >= rule.max_clicks:
            self._cap(session, "clicks")
        elif session.last - session.first >= rule.max_age:
            self._cap(session, "age")
        else:
            self._cap_surplus_bytes(session.key)
        self._evict_surplus()

    def _cap_surplus_bytes(self, key: str) -> None:
        """Close the earliest sessions of a key that have too many bytes together."""
        growing = [session for session in self.sessions_of(key) if not session.is_full]
        size = sum(session.size for session in growing)
        for session in growing:
            if size < self._rule.max_bytes:
                return
            size -= session.size
            self._cap(session, "bytes")

    def _cap(self, session: OpenSession, bound: str) -> None:
        """Close a session that has reached a limit of its own."""
        self.early[bound] += 1
        self._capped.add(session)
        self._turn = AT_ONCE
        if session.block == self.open_block:
            self._close([session])
        else:
            session.is_full = True
            session.ends_at = 0
            self._full.append(session)
            self._open.note_full(session)

    def _evict_surplus(self) -> None:
        """Close the oldest sessions. Those of a block that is not open yet must wait for it."""
        while self._open.count > self._rule.max_open:
            session = self._open.oldest()
            if session is None or session.block != self.open_block:
                return
            self.early["open"] += 1
            self._evicted_until = session.last
            self._close([session])

    # --- sessions close

    def _close_over(self) -> None:
        """Close the sessions with their last click more than the gap behind the watermark."""
        if self.watermark is not None and (
            over := self._open.last_before(self.watermark - self._rule.gap)
        ):
            self._close(over)

    def _next_turn(self) -> int:
        assert self.open_block is not None
        turn = self._blocks.start(self.open_block + 1)
        if (capped := self._capped.first) is not None:
            turn = min(turn, capped + self._rule.gap + 1)
        return turn

    def _end_blocks(self, watermark: int) -> None:
        """End the blocks that the watermark has passed; end empty blocks with the next or last one.

        A wrong clock may have started decades ago, and the cost must not grow with that.
        """
        assert self.open_block is not None
        until = self._blocks.block_of(watermark)
        while self.open_block < until:
            known = (block for block in (*self._open.blocks(), *self._counts) if block < until)
            ended = min(known, default=until - 1)
            if ended > self.open_block:
                self._open_block(ended)
            self._close(self._open.of_block(ended))
            self._output.append(BlockEnd(ended, self._counts.pop(ended, BlockCounts())))
            self._open_block(ended + 1)

    def _open_block(self, block: int) -> None:
        self.open_block = block
        self._close([s for s in self._open.of_block(block) if s.is_full])

    def _close(self, sessions: list[OpenSession]) -> None:
        if len(sessions) > 1:
            sessions.sort(key=_closing_order)
        for session in sessions:
            self._open.remove(session)
            counts = self._counts.get(session.block)
            if counts is None:
                counts = self._counts[session.block] = BlockCounts()
            counts.sessions += 1
            counts.clicks += len(session.times)
            counts.late += len(session.carried)
            self._output.append(session)


def _closing_order(session: OpenSession) -> tuple[int, str, int]:
    return session.last, session.key, session.first


def _require_same_blocks(state: WindowState, blocks: BlockRule) -> None:
    watermark, block = state.watermark, state.open_block
    if watermark is None or block is None or blocks.block_of(watermark) == block:
        return
    raise SettingsError(
        f"{as_text(blocks_as_written(blocks))}: watermark {instant_text(watermark)} is in block "
        f"{blocks.block_of(watermark)}, but block {block} is open, so the state was made with "
        f"others; set them back, or {BLOCKS_REMEDY}"
    )
