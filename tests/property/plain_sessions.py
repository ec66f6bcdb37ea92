"""The sessions of one partition's log, slowly, straight from the words that define them.

Nothing is shared with `SessionWindow`: the open clicks lie in one list, and a session is what
stands between two gaps once the clicks of a key and block are laid out in time.
"""

from __future__ import annotations

from typing import NamedTuple

from ader_stream.types import BlockRule, Click, SessionRule

Log = list[Click | int]
"""Clicks, and heartbeats as their watermark (ms); the offset is the place in the list."""


class Placed(NamedTuple):
    """A click that was taken; sorts by effective time, then as it was taken.

    That is in the order of offsets, but for clicks that were released from quarantine.
    """

    time: int
    number: int
    key: str
    item: str
    original: int | None


class PlainSession(NamedTuple):
    """A closed session; sorts by its identity (block, key, first time)."""

    block: int
    key: str
    first: int
    clicks: tuple[tuple[int, str, int | None], ...]


def size(click: Placed) -> int:
    """What a click counts of its session's bytes: its item as Avro writes it, and 32."""
    item = click.item.encode()
    return len(item) + (1 if len(item) < 64 else 2 if len(item) < 8_192 else 3) + 32


class PlainSessions:
    """What a log comes to, record by record: closed sessions, ended blocks, refused offsets."""

    def __init__(self, blocks: BlockRule, rule: SessionRule) -> None:
        self.sessions: list[PlainSession] = []
        self.ended: list[int] = []
        self.refused: list[int] = []
        self._blocks = blocks
        self._rule = rule
        self._watermark: int | None = None
        self._taken = 0
        self._open: list[Placed] = []
        self._waiting: list[list[Placed]] = []  # full sessions of blocks that are not open yet
        self._closed_until: dict[str, int] = {}  # by key: sessions that closed at their own bound
        self._evicted_until: int | None = None

    def take(self, record: Click | int, offset: int) -> None:
        """Take a click or a heartbeat, then move the watermark on and close what it has passed."""
        watermark = record.time - self._rule.lateness if isinstance(record, Click) else record
        if self._watermark is None:  # what lies before the partition's first block has ended
            self.ended.append(self._blocks.block_of(watermark) - 1)
        if isinstance(record, Click) and not self._place(record, offset):
            return
        self._watermark = max(watermark, watermark if self._watermark is None else self._watermark)
        while self._watermark >= self._blocks.start(self.ended[-1] + 2):
            self.ended.append(self.ended[-1] + 1)
        self._close()
        self._evict_surplus()

    def change_rule(self, rule: SessionRule) -> None:
        """Go on by another rule of the same gap: what its bounds do not allow closes."""
        self._rule = rule
        if self._watermark is not None:
            self._evict_surplus()

    def reset(self, watermark: int) -> None:
        """Stand at another time, in its block; what is open stays open."""
        self._watermark = watermark
        self.ended.append(self._blocks.block_of(watermark) - 1)
        if self._evicted_until is not None and self._evicted_until > watermark:
            self._evicted_until = None

    @property
    def watermark(self) -> int | None:
        """Event time (ms) that has passed."""
        return self._watermark

    def _place(self, click: Click, offset: int) -> bool:
        """Take a click; false if it is refused: it moves no watermark."""
        time = click.time
        if self._has_ended(time):  # its block is closed
            time = self._blocks.start(self.ended[-1] + 1)
        if self._has_closed(click.key, time):  # its session is
            bounds = [bound + 1 for bound in self._closed_early_until(click.key)]
            time = max(bounds if self._watermark is None else [self._watermark, *bounds])
        if time != click.time and self._rule.late == "dead-letter":
            self.refused.append(offset)
            return False
        original = None if time == click.time else click.time
        placed = Placed(time, self._taken, click.key, click.item, original)
        self._taken += 1
        self._open.append(placed)
        self._close_at_bounds(placed)
        return True

    def _has_ended(self, time: int) -> bool:
        return self._blocks.block_of(time) <= self.ended[-1]

    def _has_closed(self, key: str, time: int) -> bool:
        """Whether the session that a click at this time begins or lies in is closed already."""
        gap, block = self._rule.gap, self._blocks.block_of(time)
        lies_in_open_one = any(
            session[0].key == key
            and self._blocks.block_of(session[0].time) == block
            and session[0].time <= time <= session[-1].time + gap
            for session in self._laid_out()
        )
        begins_closed = self._watermark is not None and self._watermark > time + gap
        begins_early = any(time <= bound for bound in self._closed_early_until(key))
        return (begins_closed or begins_early) and not lies_in_open_one

    def _closed_early_until(self, key: str) -> list[int]:
        bounds = (self._closed_until.get(key), self._evicted_until)
        return [bound for bound in bounds if bound is not None]

    def _close_at_bounds(self, placed: Placed) -> None:
        [session] = [session for session in self._laid_out() if placed in session]
        is_long = session[-1].time - session[0].time >= self._rule.max_age
        if len(session) >= self._rule.max_clicks or is_long:
            self._cap(session)
        else:
            self._close_surplus_bytes(placed.key)
        self._evict_surplus()

    def _close_surplus_bytes(self, key: str) -> None:
        """Close a key's sessions, the earliest first, until the others are small enough."""
        sessions = [session for session in self._laid_out() if session[0].key == key]
        while sum(size(click) for session in sessions for click in session) >= self._rule.max_bytes:
            self._cap(sessions.pop(0))

    def _cap(self, session: list[Placed]) -> None:
        key, last = session[-1].key, session[-1].time
        self._closed_until[key] = max(last, self._closed_until.get(key, last))
        self._take_out(session)

    def _evict_surplus(self) -> None:
        sessions = [*self._laid_out(), *self._waiting]
        if len(sessions) > self._rule.max_open:
            oldest = min(sessions, key=lambda session: (session[-1].time, session[-1].key))
            if self._is_block_open(oldest):
                self._evicted_until = oldest[-1].time
                self._take_out(oldest)
                self._evict_surplus()

    def _is_block_open(self, session: list[Placed]) -> bool:
        return self._blocks.block_of(session[0].time) == self.ended[-1] + 1

    def _take_out(self, session: list[Placed]) -> None:
        self._open = [click for click in self._open if click not in session]
        if self._is_block_open(session):
            self._put_out(session)
        else:
            self._waiting.append(session)

    def _laid_out(self) -> list[list[Placed]]:
        """The open clicks as sessions: one key, one block, neighbours at most the gap apart."""
        sessions: list[list[Placed]] = []
        for click in sorted(self._open, key=lambda c: (c.key, c.time, c.number)):
            last = sessions[-1][-1] if sessions else None
            if (
                last is not None
                and last.key == click.key
                and self._blocks.block_of(last.time) == self._blocks.block_of(click.time)
                and click.time - last.time <= self._rule.gap
            ):
                sessions[-1].append(click)
            else:
                sessions.append([click])
        return sessions

    def _close(self) -> None:
        assert self._watermark is not None
        for session in self._laid_out():
            first, last = session[0], session[-1]
            if self._has_ended(first.time) or self._watermark > last.time + self._rule.gap:
                self._open = [click for click in self._open if click not in session]
                self._put_out(session)
        opened = [s for s in self._waiting if self._is_block_open(s) or self._has_ended(s[0].time)]
        self._waiting = [session for session in self._waiting if session not in opened]
        for session in opened:
            self._put_out(session)

    def _put_out(self, session: list[Placed]) -> None:
        first = session[0]
        clicks = tuple((click.time, click.item, click.original) for click in session)
        block = self._blocks.block_of(first.time)
        self.sessions.append(PlainSession(block, first.key, first.time, clicks))
