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
    """A click that was taken; sorts by (effective time, offset)."""

    time: int
    offset: int
    key: str
    item: str
    original: int | None


class PlainSession(NamedTuple):
    """A closed session; sorts by its identity (block, key, first time)."""

    block: int
    key: str
    first: int
    clicks: tuple[tuple[int, str, int | None], ...]


class PlainSessions:
    """What a log comes to, record by record: closed sessions, ended blocks, refused offsets."""

    def __init__(self, blocks: BlockRule, rule: SessionRule) -> None:
        self.sessions: list[PlainSession] = []
        self.ended: list[int] = []
        self.refused: list[int] = []
        self._blocks = blocks
        self._rule = rule
        self._watermark: int | None = None
        self._open: list[Placed] = []

    def take(self, record: Click | int, offset: int) -> None:
        """Take a click or a heartbeat, then move the watermark on and close what it has passed."""
        watermark = record.time - self._rule.lateness if isinstance(record, Click) else record
        if self._watermark is None:  # what lies before the partition's first block has ended
            self.ended.append(self._blocks.block_of(watermark) - 1)
        if isinstance(record, Click):
            self._place(record, offset)
        self._watermark = max(watermark, watermark if self._watermark is None else self._watermark)
        while self._watermark >= self._blocks.start(self.ended[-1] + 2):
            self.ended.append(self.ended[-1] + 1)
        self._close()

    def _place(self, click: Click, offset: int) -> None:
        time = click.time
        if self._has_ended(time):  # its block is closed
            time = self._blocks.start(self.ended[-1] + 1)
        if self._has_closed(click.key, time):  # its session is
            assert self._watermark is not None
            time = self._watermark
        if time == click.time:
            self._open.append(Placed(time, offset, click.key, click.item, None))
        elif self._rule.late == "dead-letter":
            self.refused.append(offset)
        else:
            self._open.append(Placed(time, offset, click.key, click.item, click.time))

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
        return begins_closed and not lies_in_open_one

    def _laid_out(self) -> list[list[Placed]]:
        """The open clicks as sessions: one key, one block, neighbours at most the gap apart."""
        sessions: list[list[Placed]] = []
        for click in sorted(self._open, key=lambda c: (c.key, c.time, c.offset)):
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
                clicks = tuple((click.time, click.item, click.original) for click in session)
                block = self._blocks.block_of(first.time)
                self.sessions.append(PlainSession(block, first.key, first.time, clicks))
