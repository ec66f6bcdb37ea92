"""Which clicks of a partition's log reach its window, and when: no duplicate, no clock gone wild.

A click that would move the stream time on by more than `max_jump` is held until `confirmations`
other keys have clicks near it, or until it is no jump any more. Where neither happens within the
next `held_offsets` offsets it is refused. After a long pause the first few clicks confirm one
another; one clock that is years ahead finds nobody to do so. All of it is a function of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ader_stream.errors import ClickError
from ader_stream.stream.sessions.event_ids import EventIds
from ader_stream.stream.sessions.open_session import OpenSession, Place
from ader_stream.stream.sessions.outputs import IdleAdvance
from ader_stream.stream.sessions.window import ENDLESS, PlainClick, SessionWindow
from ader_stream.types import Click, IntakeRule


class Intake:
    """Lets the clicks and heartbeats of one partition's log into its window.

    Parameters
    ----------
    window
        Takes what is let in.
    lateness
        ms by which the watermark stays behind the stream time.
    held
        Offset → click that waits for others to confirm it.
    event_ids
        What is known of duplicates.
    on_join
        Told the session that a click has joined and its position there, before the next one.

    Attributes
    ----------
    duplicates
        Clicks passed over since it was made, because their event id was known.
    refused
        What `take_refused` will return.
    """

    def __init__(
        self,
        window: SessionWindow,
        rule: IntakeRule,
        lateness: int,
        held: Mapping[int, Click] | None = None,
        event_ids: EventIds | None = None,
        on_join: Callable[[OpenSession, int], None] | None = None,
    ) -> None:
        self.window = window
        self.held = dict(sorted((held or {}).items()))
        self.event_ids = event_ids or EventIds(rule.event_ids)
        self.duplicates = 0
        self._rule = rule
        self._reach = lateness + rule.max_jump if rule.max_jump else ENDLESS
        self._on_join = on_join
        self.refused: list[tuple[int, ClickError]] = []

    def observe_plain(self, clicks: Iterator[PlainClick]) -> PlainClick | None:
        """Take clicks that are new up to one that needs more than the window's plain way.

        Returns
        -------
        tuple or None
            That one, which was drawn, but not taken; None where all were taken.
        """
        if self.held:
            return next(clicks, None)
        return self.window.observe_plain(clicks, self._reach)

    def new_clicks(
        self, clicks: Iterable[PlainClick], event_ids: Iterable[str | None]
    ) -> Iterator[PlainClick]:
        """Yield clicks, but for duplicates; the id of each is remembered when it is drawn."""
        add = self.event_ids.add
        for click, event_id in zip(clicks, event_ids, strict=True):
            if event_id is None or add(event_id, click[-1]):
                yield click
            else:
                self.duplicates += 1

    def observe(self, click: Click, offset: int, *, is_new: bool = False) -> None:
        """Take a click in, hold it, or pass over a duplicate; see `take_refused` afterwards.

        `is_new` where `new_clicks` has yielded it.
        """
        event_id, watermark = click.event_id, self.window.watermark
        if not (is_new or event_id is None or self.event_ids.add(event_id, offset)):
            self.duplicates += 1
            return
        if self.held:
            self._refuse_unconfirmed(offset)
        if watermark is not None and click.time - watermark > self._reach:
            self._hold(click, offset)
            return
        self._take(click, offset, offset)
        if self.held:
            self._release(self._limit(), offset)

    def advance(self, watermark: int, offset: int) -> None:
        """Move the watermark (ms) on, as the record at `offset`, or the log's end there, says.

        Held clicks that are no jump from there are taken before.
        """
        if self.held:
            self._refuse_unconfirmed(offset)
            self._release(max(self._limit(), watermark + self._reach), offset)
        self.window.advance(watermark)

    def follow(self, watermark: int, next_offset: int) -> None:
        """Move the watermark (ms) of an idle partition on, and put out that this was done."""
        self.window.note(IdleAdvance(next_offset, watermark))
        self.advance(watermark, next_offset)

    def forget(self, covers: Callable[[str, int], bool]) -> list[str]:
        """Drop held clicks and open sessions for good; return the sessions' keys.

        `covers` is asked with key and time (ms) of each.
        """
        for at in [at for at, click in self.held.items() if covers(click.key, click.time)]:
            del self.held[at]
        self._note_if_none_is_held()
        return self.window.forget(covers)

    def take_refused(self) -> list[tuple[int, ClickError]]:
        """Return offsets of clicks that become dead letters since the last call, and why."""
        refused, self.refused = self.refused, []
        return refused

    def needed_from(self) -> Place | None:
        """Where the log must be read from to come back to where it stands; None: nowhere."""
        needed, held = self.window.needed_from(), self.window.reads_from
        return held if needed is None or (held and held.offset < needed.offset) else needed

    def _limit(self) -> int:
        """The latest event time (ms) that is no jump. A click was held: there is a watermark."""
        watermark = self.window.watermark
        assert watermark is not None
        return watermark + self._reach

    def _hold(self, click: Click, offset: int) -> None:
        window, max_jump = self.window, self._rule.max_jump
        if not self.held:
            window.reads_from = Place(offset, window.watermark, window.open_block)
        self.held[offset] = click
        near = {c.key for c in self.held.values() if abs(c.time - click.time) <= max_jump}
        if len(near) > self._rule.confirmations:  # its own key is one of them
            self._release(click.time + max_jump, offset)

    def _release(self, until: int, offset: int) -> None:
        """Take held clicks up to an event time (ms), and those that are no jump any more then."""
        while due := [at for at, click in self.held.items() if click.time <= until]:
            for at in due:
                self._take(self.held.pop(at), at, offset)
            until = self._limit()
        self._note_if_none_is_held()

    def _refuse_unconfirmed(self, offset: int) -> None:
        rule = self._rule
        for at in [at for at in self.held if offset - at >= rule.held_offsets]:
            click = self.held.pop(at)
            reason = (
                f"time {click.time} is more than {rule.max_jump} ms ahead of the stream time, and "
                f"fewer than {rule.confirmations} other keys have come near it within "
                f"{rule.held_offsets} offsets"
            )
            self._refuse(click, at, ClickError("future", reason), offset)
        self._note_if_none_is_held()

    def _note_if_none_is_held(self) -> None:
        if not self.held:
            self.window.reads_from = None

    def _take(self, click: Click, at: int, offset: int) -> None:
        """Hand the click at one offset to the window, at the record of another one."""
        try:
            session, position = self.window.observe(click, at)
        except ClickError as error:
            self._refuse(click, at, error, offset)
        else:
            if self._on_join:
                self._on_join(session, position)

    def _refuse(self, click: Click, at: int, error: ClickError, offset: int) -> None:
        if click.event_id is not None:
            self.event_ids.forget(click.event_id, offset)  # a mended one may come again
        self.refused.append((at, error))
