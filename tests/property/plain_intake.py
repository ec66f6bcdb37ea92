"""Which clicks of a log are taken, slowly, straight from the words that define it."""

from __future__ import annotations

from ader_stream.types import BlockRule, Click, IntakeRule, SessionRule
from tests.property.plain_sessions import PlainSessions


class PlainIntake:
    """What a log with duplicates and wild clocks comes to, record by record.

    Attributes
    ----------
    sessions
        What is taken.
    known
        Event ids, the one that was seen last at the end.
    duplicates, future
        Offsets of clicks that were passed over, and refused.
    """

    def __init__(self, blocks: BlockRule, rule: SessionRule, intake: IntakeRule) -> None:
        self.sessions = PlainSessions(blocks, rule)
        self.known: list[str] = []
        self.duplicates: list[int] = []
        self.future: list[int] = []
        self.held: list[tuple[int, Click]] = []
        self._rule = rule
        self._intake = intake

    def take(self, record: Click | int, offset: int) -> None:
        """Take a click or a heartbeat."""
        if isinstance(record, Click) and self._is_known(record):
            self.duplicates.append(offset)
            return
        self._refuse_what_nothing_has_confirmed(offset)
        if not isinstance(record, Click):
            reached = record + self._rule.lateness  # the heartbeat's own stream time
            self._take_held(max(reached, self._stream_time() or reached) + self._intake.max_jump)
            self.sessions.take(record, offset)
        elif self._is_jump(record):
            self.held.append((offset, record))
            if self._confirmations(record) >= self._intake.confirmations:
                self._take_held(record.time + self._intake.max_jump)
        else:
            self._take(record, offset)
            self._take_held(None)

    def _is_known(self, click: Click) -> bool:
        if click.event_id is None:
            return False
        is_known = click.event_id in self.known
        self.known = [known for known in self.known if known != click.event_id]
        self.known = [*self.known, click.event_id][-self._intake.event_ids :]
        return is_known

    def _is_jump(self, click: Click) -> bool:
        now = self._stream_time()
        return now is not None and click.time > now + self._intake.max_jump > now

    def _stream_time(self) -> int | None:
        watermark = self.sessions.watermark
        return None if watermark is None else watermark + self._rule.lateness

    def _confirmations(self, click: Click) -> int:
        near = [c for _, c in self.held if abs(c.time - click.time) <= self._intake.max_jump]
        return len({other.key for other in near} - {click.key})

    def _take_held(self, until: int | None) -> None:
        """Take what is held up to a time, then, again and again, what is no jump any more."""
        if until is None:
            until = (self._stream_time() or 0) + self._intake.max_jump
        due = [(at, click) for at, click in self.held if click.time <= until]
        if due:
            self.held = [(at, click) for at, click in self.held if click.time > until]
            for at, click in due:
                self._take(click, at)
            self._take_held(None)

    def _take(self, click: Click, offset: int) -> None:
        self.sessions.take(click, offset)
        if offset in self.sessions.refused:
            self._forget(click)

    def _refuse_what_nothing_has_confirmed(self, offset: int) -> None:
        for at, click in [*self.held]:
            if offset - at >= self._intake.held_offsets:
                self.held.remove((at, click))
                self.future.append(at)
                self._forget(click)

    def _forget(self, click: Click) -> None:
        self.known = [known for known in self.known if known != click.event_id]
