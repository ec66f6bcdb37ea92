"""Which clicks of a log are taken, slowly, straight from the words that define it."""

from __future__ import annotations

from typing import NamedTuple

from ader_stream.types import BlockRule, Click, IntakeRule, SessionRule
from tests.property.plain_sessions import PlainSessions


class Written(NamedTuple):
    """A click or a heartbeat, its record's timestamp, and whether that was ahead of the clock."""

    record: Click | int
    at: int | None = None
    is_ahead_of_clock: bool = False


class Waiting(NamedTuple):
    """A click in quarantine, and whether another key has gone on at the old time."""

    offset: int
    click: Click
    is_contradicted: bool = False


class PlainIntake:
    """What a log with duplicates and wrong clocks comes to, record by record.

    Attributes
    ----------
    sessions
        What is taken.
    known
        Event ids, the one that was seen last at the end.
    duplicates, future, capped
        Offsets of clicks that were passed over, and refused, and of heartbeats believed in part.
    """

    def __init__(self, blocks: BlockRule, rule: SessionRule, intake: IntakeRule) -> None:
        self.sessions = PlainSessions(blocks, rule)
        self.known: list[str] = []
        self.duplicates: list[int] = []
        self.future: list[int] = []
        self.capped: list[int] = []
        self.held: list[Waiting] = []
        self.jumps: list[tuple[int, int]] = []
        self.sole_key: str | None = None
        self._rule = rule
        self._intake = intake

    def take(self, written: Written, offset: int) -> None:
        """Take a click or a heartbeat."""
        record = written.record
        if not isinstance(record, Click):
            self._take_heartbeat(record, written, offset)
            return
        if self._is_known(record):
            self.duplicates.append(offset)
        elif self._moves_on(record.time) and self._is_ahead(record.time, written):
            self._refuse(offset, record)
        else:
            self._end_quarantines(offset)
            if self._must_wait(record, written.at, offset):
                self.held.append(Waiting(offset, record))
                self._look_for_confirmation(offset)
            else:
                self._take_at_once(record, offset)

    def _take_heartbeat(self, watermark: int, written: Written, offset: int) -> None:
        ahead = self._intake.max_ahead
        if written.at is not None and ahead and watermark > written.at + ahead:
            self.capped.append(offset)
            watermark = written.at + ahead
        if written.is_ahead_of_clock:
            self.future.append(offset)
            return
        self.advance(watermark, offset)

    def advance(self, watermark: int, offset: int) -> None:
        """Move the watermark on, as a heartbeat or a logged advance says."""
        self._end_quarantines(offset)
        reached = watermark + self._rule.lateness  # its own stream time
        until = max(reached, self._stream_time() or reached) + self._intake.max_jump
        self._take_held(until, offset)
        self.sessions.take(watermark, offset)

    def reset(self, watermark: int, offset: int) -> None:
        """Move the watermark to where an operator says it is."""
        self.sessions.reset(watermark)
        self.jumps = []
        if self.held:
            self._take_held(None, offset)

    def _moves_on(self, time: int) -> bool:
        """Whether a time lies behind the unit that the stream time has reached."""
        now, unit = self._stream_time(), max(1, self._intake.max_ahead // 10)
        if now is None:
            return True
        return self._intake.max_ahead > 0 and time // unit > now // unit

    def _is_ahead(self, time: int, written: Written) -> bool:
        ahead = self._intake.max_ahead
        if written.at is not None and ahead and time > written.at + ahead:
            return True
        return written.is_ahead_of_clock

    def _is_known(self, click: Click) -> bool:
        if click.event_id is None:
            return False
        is_known = click.event_id in self.known
        self.known = [known for known in self.known if known != click.event_id]
        self.known = [*self.known, click.event_id][-self._intake.max_event_ids :]
        return is_known

    def _must_wait(self, click: Click, written_at: int | None, offset: int) -> bool:
        jump, now = self._intake.max_jump, self._stream_time()
        if jump == 0:
            return False
        is_witnessed = (
            written_at is not None
            and written_at != click.time
            and written_at - jump <= click.time <= written_at + jump
        )
        if now is None:
            return written_at is not None and not is_witnessed
        if click.time <= now + jump or is_witnessed:
            return False
        if click.key == self.sole_key:
            return False
        return not self._is_usual(click.time, offset)

    def _is_usual(self, time: int, offset: int) -> bool:
        """The last two jumps are recent, and this one is at most twice as large as each."""
        lead = time - (self.sessions.watermark or 0)
        last = self.jumps[-2:]
        return len(last) == 2 and all(
            at >= offset - self._intake.held_offsets and lead <= 2 * size for at, size in last
        )

    def _stream_time(self) -> int | None:
        watermark = self.sessions.watermark
        return None if watermark is None else watermark + self._rule.lateness

    def _take_at_once(self, click: Click, offset: int) -> None:
        jump, watermark = self._intake.max_jump, self.sessions.watermark
        if self.held and watermark is not None and click.time >= watermark - jump:
            self.held = [
                w._replace(is_contradicted=True)
                if w.click.key != click.key and click.time < w.click.time - jump
                else w
                for w in self.held
            ]
        if watermark is not None:
            self._take_held(click.time, offset)
        self._take(click, offset, offset)
        if self.sessions.watermark is not None:
            self._take_held(None, offset)

    def _look_for_confirmation(self, offset: int) -> None:
        jump, clicks = self._intake.max_jump, [waiting.click for waiting in self.held]
        new = clicks[-1]
        if self.sessions.watermark is None:
            if len(clicks) >= 3 or len({click.key for click in clicks}) >= 2:
                self._take_held(min(click.time for click in clicks), offset)
            return
        near = {c.key for c in clicks if abs(c.time - new.time) <= jump} - {new.key}
        if len(near) >= self._intake.confirmations:
            self._take_held(new.time + jump, offset)
            return
        times = [
            waiting.click.time
            for place, waiting in enumerate(self.held)
            if not waiting.is_contradicted and len(self._keys_after(place)) >= 2
        ]
        if times:
            self._take_held(max(times), offset)

    def _keys_after(self, place: int) -> set[str]:
        """Other keys with clicks in quarantine that are later, or as late and older in the log."""
        click = self.held[place].click
        later = {w.click.key for w in self.held if w.click.time > click.time}
        as_late = {w.click.key for w in self.held[:place] if w.click.time == click.time}
        return (later | as_late) - {click.key}

    def _take_held(self, until: int | None, offset: int) -> None:
        """Take what waits up to a time, in order of time; then what is no jump any more."""
        if until is None:
            until = (self._stream_time() or 0) + self._intake.max_jump
        due = sorted(
            (w for w in self.held if w.click.time <= until), key=lambda w: (w.click.time, w.offset)
        )
        if not due:
            return
        self.held = [w for w in self.held if w.click.time > until]
        for waiting in due:
            self._take(waiting.click, waiting.offset, offset)
        now = self._stream_time()
        if now is None:
            return
        first = min((w.click.time for w in self.held), default=now)
        if first > now + self._intake.max_jump and self._is_usual(first, offset):
            self._take_held(first, offset)
        else:
            self._take_held(None, offset)

    def _take(self, click: Click, at: int, offset: int) -> None:
        now, behind = self._stream_time(), self._intake.max_behind
        if behind and now is not None and click.time < now - behind:
            self.sessions.refused.append(at)
        else:
            self.sessions.take(click, at)
        if at in self.sessions.refused:
            self._forget(click)
            return
        self.sole_key = click.key if now is None or click.key == self.sole_key else None
        if self._intake.max_jump and now is not None and click.time > now + self._intake.max_jump:
            self.jumps.append((offset, click.time - now + self._rule.lateness))

    def _end_quarantines(self, offset: int) -> None:
        for waiting in [*self.held]:
            if waiting.offset > offset - self._intake.held_offsets or waiting not in self.held:
                continue
            if waiting.is_contradicted:
                self.held.remove(waiting)
                self._refuse(waiting.offset, waiting.click)
            else:
                self._take_held(waiting.click.time, offset)

    def _refuse(self, offset: int, click: Click) -> None:
        self.future.append(offset)
        self._forget(click)

    def _forget(self, click: Click) -> None:
        self.known = [known for known in self.known if known != click.event_id]
