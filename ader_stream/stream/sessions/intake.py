"""Decide which clicks of a partition's log reach its window, and when: admission.

It skips duplicates, and trusts an event time only as far as the log supports it.

- A click that advances the stream time may be at most `max_ahead` after its own record's timestamp;
  otherwise it is refused. If that timestamp is itself ahead of the reader's clock, the clock
  decides, and a `ClockRefusal` is written, so that a replay needs no clock. Stream time has units,
  each a `UNITS`-th of `max_ahead`. A click within the current unit cannot harm other sessions, so
  its record's timestamp is not read: reading it costs as much as decoding the click.
- A click that would advance the stream time by more than `max_jump` is accepted if its record was
  written near that time: then the shop was quiet. If the record was written later (old clicks that
  are replayed), or if its timestamp is the event time itself and so no independent evidence, the
  click is quarantined until other keys confirm it: `confirmations` of them near it, or `FOLLOWERS`
  of them at or after it while no key continues at the old time. If a log has only one key, its
  clicks need no confirmation, because they cannot harm other keys. Nor do clicks in a log in which
  such jumps are usual.
- The first clicks of a log wait in the same way for a second key; then the earliest of them decides
  where the log starts. A first click that its record supports decides this alone.
- A click more than `max_behind` behind the stream time is refused: it has another unit of time or a
  wrong time, and is not just late.

Quarantined clicks are released in time order. All decisions are a function of the log, of the
logged idle advances and of the logged refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ader_stream.errors import ClickError
from ader_stream.stream.sessions.event_ids import EventIds
from ader_stream.stream.sessions.open.session import Jump, OpenSession, ReplayPoint
from ader_stream.stream.sessions.outputs import ClockRefusal, IdleAdvance
from ader_stream.stream.sessions.window import ENDLESS, Covers, Erased, PlainClick, SessionWindow
from ader_stream.types import Click, ClickPlace, IntakeRule

UNITS = 10
"""Number of units of stream time in `max_ahead`."""

FOLLOWERS = 2
"""Other keys at or after a quarantined click that confirm it while no key contradicts it. One may
have a wrong clock as well; a shop with three customers has two."""

FIRST_CLICKS = 3
"""First clicks of one key after which a log starts without a second key: it may have none."""

USUAL_JUMPS = 2
"""This many jumps within `held_offsets` records make jumps of up to twice their size usual."""

SOLE_KEY_LENGTH = 200
"""A longer key is not stored as the only one: the state in each commit must stay small."""

IsAheadOfClock = Callable[[ClickPlace, int, int | None], bool]
"""Place, event time and record timestamp (ms, or None) → whether the reader's clock refuses it."""


@dataclass(slots=True)
class QuarantinedClick:
    """A quarantined click.

    Parameters
    ----------
    click
        The click.
    is_contradicted
        Another key has since continued at the old stream time.
    """

    click: Click
    is_contradicted: bool = False


class Intake:
    """Admits the clicks and heartbeats of one partition's log to its window.

    Parameters
    ----------
    window
        Receives admitted clicks.
    lateness
        ms by which the watermark stays behind the stream time.
    held
        Place → quarantined click.
    event_ids
        Known event ids, to detect duplicates.
    on_join
        Called with the session that a click has joined and its position there, before the next
        click.
    is_ahead_of_clock
        Decides about clicks whose record's timestamp is no bound; None: no clock decides.

    Attributes
    ----------
    duplicates
        Number of clicks skipped since this was made, because their event id was known.
    capped_heartbeats
        Number of heartbeats since this was made that counted only up to their record's timestamp.
    refused
        Result of the next `take_refused`.
    """

    def __init__(
        self,
        window: SessionWindow,
        rule: IntakeRule,
        lateness: int,
        held: Mapping[ClickPlace, QuarantinedClick] | None = None,
        event_ids: EventIds | None = None,
        on_join: Callable[[OpenSession, int], None] | None = None,
        is_ahead_of_clock: IsAheadOfClock | None = None,
    ) -> None:
        self.window = window
        self.held = dict(sorted((held or {}).items()))
        self.event_ids = event_ids or EventIds(rule.max_event_ids)
        self.duplicates = 0
        self.capped_heartbeats = 0
        self._rule = rule
        self._lateness = lateness
        self._reach = lateness + rule.max_jump if rule.max_jump else ENDLESS
        self._unit = max(1, rule.max_ahead // UNITS) if rule.max_ahead else ENDLESS
        self._on_join = on_join
        self._is_ahead_of_clock = is_ahead_of_clock
        self.refused: list[tuple[ClickPlace, ClickError]] = []
        self._is_in_record = False

    def observe_plain(
        self, clicks: Iterator[PlainClick], written_at: Callable[[], int | None]
    ) -> PlainClick | None:
        """Admit new clicks up to the first that the window's fast path cannot handle.

        Parameters
        ----------
        clicks
            Drawn one by one.
        written_at
            Returns the record's own timestamp (ms) of the last drawn click.

        Returns
        -------
        tuple or None
            That click, drawn but not admitted; None if all were admitted.
        """
        if self.held or self.window.sole_key is not None or self.window.watermark is None:
            return next(clicks, None)
        end = self._unit_end()
        return self.window.observe_plain(
            clicks, self._reach, end, lambda click: self._next_unit_end(click, written_at())
        )

    def new_clicks(
        self, clicks: Iterable[PlainClick], event_ids: Iterable[str | None]
    ) -> Iterator[PlainClick]:
        """Yield clicks without duplicates; the id of each is remembered when it is drawn."""
        add = self.event_ids.add
        for click, event_id in zip(clicks, event_ids, strict=True):
            if event_id is None or add(event_id, click[-1]):
                yield click
            else:
                self.duplicates += 1

    @contextmanager
    def record_of_many(self, offset: int) -> Iterator[None]:
        """Return a context in which `observe` takes the clicks of one record.

        The log is read again by records, so that sessions that start at one of these clicks are
        restored from the state before the first of them.
        """
        window, place, holds_some = self.window, self.window.reads_from, bool(self.held)
        window.reads_from = place or window.replay_point(offset)
        self._is_in_record = True
        try:
            yield
        finally:
            self._is_in_record = False
            if holds_some:
                window.reads_from = place
            self._clear_place_if_none_is_held()

    def observe(
        self,
        click: Click,
        offset: int,
        written_at: int | None = None,
        *,
        is_new: bool = False,
        element: int = 0,
    ) -> None:
        """Admit, quarantine or refuse a click, or skip a duplicate; call `take_refused` afterwards.

        Parameters
        ----------
        written_at
            The record's own timestamp (ms); None if it has none.
        is_new
            The click comes from `new_clicks`.
        element
            Position of the click in a record that holds many.
        """
        place = ClickPlace(offset, element)
        event_id = click.event_id
        if not (is_new or event_id is None or self.event_ids.add(event_id, offset)):
            self.duplicates += 1
            return
        if click.time >= self._unit_end() and (
            error := self._why_ahead(click.time, place, written_at)
        ):
            self._refuse(click, place, error, offset)
            return
        if self.held:
            self._decide_overdue(offset)
        if self._must_wait(click, offset, written_at):
            self._hold(click, place)
        else:
            self._take_between(click, place)
        self._clear_place_if_none_is_held()

    def heartbeat(self, watermark: int, offset: int, written_at: int | None = None) -> None:
        """Advance the watermark (ms) to a heartbeat's, as far as its record's timestamp allows.

        Raises
        ------
        ClickError
            If the reader's clock refuses it.
        """
        if written_at is not None and self._rule.max_ahead:
            supported = written_at + self._rule.max_ahead
            self.capped_heartbeats += watermark > supported
            watermark = min(watermark, supported)
        if error := self._why_ahead(watermark, ClickPlace(offset), written_at):
            raise error
        self.advance(watermark, offset)

    def advance(self, watermark: int, offset: int) -> None:
        """Advance the watermark (ms) because of the record at `offset`, or of the log's end there.

        Quarantined clicks that are not a jump ahead of it are admitted before.
        """
        if self.held:
            self._decide_overdue(offset)
            reached = watermark + self._reach
            self._release(
                reached if self.window.watermark is None else max(self._limit(), reached), offset
            )
        self.window.advance(watermark)
        self._clear_place_if_none_is_held()

    def follow(self, watermark: int, next_offset: int) -> None:
        """Advance the watermark (ms) of an idle partition, and output this decision."""
        self.window.note(IdleAdvance(next_offset, watermark))
        self.advance(watermark, next_offset)

    def settle(self, next_offset: int) -> bool:
        """Admit the quarantined clicks that no key contradicts, and output this decision.

        For a log without new records: no other click may ever confirm them.

        Returns
        -------
        bool
            Whether there was one.
        """
        times = [h.click.time for h in self.held.values() if not h.is_contradicted]
        if times:
            self.follow(max(times) - self._reach, next_offset)
        return bool(times)

    def reset(self, watermark: int, next_offset: int) -> None:
        """Move the watermark (ms) back to the time that an operator gives."""
        self.window.reset(watermark)
        self.release_near(next_offset)

    def release_near(self, next_offset: int) -> None:
        """Admit quarantined clicks that are no longer a jump, after the watermark was moved."""
        if self.held and self.window.watermark is not None:
            self._release(self._limit(), next_offset)
            self._clear_place_if_none_is_held()

    def keys(self) -> list[str]:
        """Return every key that is known here; some twice."""
        keys = self.window.keys()
        keys += [held.click.key for held in self.held.values()]
        return keys

    def erase(self, key: str, covers: Covers) -> Erased:
        """Erase the covered data of a key for good: quarantined clicks and open sessions."""
        times = {at: held.click.time for at, held in self.held.items() if held.click.key == key}
        covered = [at for at, time in times.items() if covers(key, at.offset, time)]
        for at in covered:
            del self.held[at]
        self._clear_place_if_none_is_held()
        return self.window.erase(key, covers)._replace(quarantined=len(covered))

    def take_refused(self) -> list[tuple[ClickPlace, ClickError]]:
        """Return places of clicks that became dead letters since the last call, and why."""
        refused, self.refused = self.refused, []
        return refused

    def needed_from(self) -> ReplayPoint | None:
        """Return where the log must be read from to restore the current state; None: nowhere."""
        needed, held = self.window.needed_from(), self.window.reads_from
        return held if needed is None or (held and held.offset < needed.offset) else needed

    # --- evidence from the record and the clock

    def _unit_end(self) -> int:
        """Return the event time (ms) up to which clicks do not advance the stream time's unit."""
        watermark = self.window.watermark
        return -ENDLESS if watermark is None else self._end_of_unit(watermark + self._lateness)

    def _end_of_unit(self, time: int) -> int:
        return (time // self._unit + 1) * self._unit

    def _next_unit_end(self, click: PlainClick, written_at: int | None) -> int:
        """Return the end of a click's unit if its record and the clock support it, else 0."""
        _, _, time, offset = click
        if written_at is None or time > written_at + self._rule.max_ahead:
            return 0
        if self._is_ahead_of_clock and self._is_ahead_of_clock(
            ClickPlace(offset), time, written_at
        ):
            return 0
        return self._end_of_unit(time)

    def _why_ahead(self, time: int, place: ClickPlace, written_at: int | None) -> ClickError | None:
        """Return why an event time (ms) is refused, for any other keys; None: it may be right."""
        max_ahead = self._rule.max_ahead
        if written_at is not None and max_ahead and time > written_at + max_ahead:
            return ClickError(
                "future",
                f"time {time} is {time - written_at} ms ahead of the record's own timestamp "
                f"{written_at}; expected at most clicks.max_ahead = {max_ahead} ms: correct the "
                "clock that wrote the event time, or raise the setting",
            )
        if self._is_ahead_of_clock and self._is_ahead_of_clock(place, time, written_at):
            self.window.note(ClockRefusal(*place))
            return ClickError(
                "future",
                f"time {time} was more than clicks.max_ahead = {max_ahead} ms ahead of the clock "
                f"when it was read, and so was the record's timestamp {written_at}: correct the "
                "clock that wrote them, or that of the machine that read them if it is slow",
            )
        return None

    # --- evidence from other keys

    def _must_wait(self, click: Click, offset: int, written_at: int | None) -> bool:
        """Return whether other keys have to confirm a click's event time."""
        max_jump, watermark, time = self._rule.max_jump, self.window.watermark, click.time
        if not max_jump:
            return False
        is_supported = written_at is not None and self._supports(written_at, time)
        if watermark is None:
            return written_at is not None and not is_supported
        if time - watermark <= self._reach:
            return False
        is_harmless = is_supported or click.key == self.window.sole_key
        return not (is_harmless or self._is_usual(time - watermark, offset))

    def _supports(self, written_at: int, time: int) -> bool:
        """Return whether a record's timestamp (ms) is independent evidence for the event time."""
        return written_at != time and abs(written_at - time) <= self._rule.max_jump

    def _is_usual(self, lead: int, offset: int) -> bool:
        """Return whether the log recently had jumps like this one (ms)."""
        since = offset - self._rule.held_offsets
        recent = [jump for jump in self.window.jumps if jump.offset >= since]
        return len(recent) == USUAL_JUMPS and all(lead <= 2 * jump.lead for jump in recent)

    def _limit(self) -> int:
        """Return the latest event time (ms) that is not a jump; there must be a watermark."""
        watermark = self.window.watermark
        assert watermark is not None
        return watermark + self._reach

    def _take_between(self, click: Click, place: ClickPlace) -> None:
        """Admit a click that need not wait, and quarantined clicks that need not wait after it."""
        offset = place.offset
        if self.held and self.window.watermark is not None:
            self._contradict(click)
            self._release(click.time, offset)  # otherwise they would be late
        self._take(click, place, offset)
        if self.held and self.window.watermark is not None:
            self._release(self._limit(), offset)

    def _contradict(self, click: Click) -> None:
        """Record that a key continues at the current stream time."""
        watermark = self.window.watermark
        if watermark is None or click.time < watermark - self._rule.max_jump:
            return  # a click that was delayed for long is no evidence
        for held in self.held.values():
            if held.click.key != click.key and click.time < held.click.time - self._rule.max_jump:
                held.is_contradicted = True

    def _hold(self, click: Click, place: ClickPlace) -> None:
        window, offset = self.window, place.offset
        if not self.held:
            window.reads_from = window.reads_from or window.replay_point(offset)
        self.held[place] = QuarantinedClick(click)
        if window.watermark is None:
            self._begin_if_clear(offset)
        elif (until := self._confirmed_until(click)) is not None:
            self._release(until, offset)

    def _begin_if_clear(self, offset: int) -> None:
        """Start with the earliest of a log's first clicks, if there is a second key."""
        clicks = [held.click for held in self.held.values()]
        if len(clicks) >= FIRST_CLICKS or len({click.key for click in clicks}) > 1:
            self._release(min(click.time for click in clicks), offset)

    def _confirmed_until(self, click: Click) -> int | None:
        """Return the latest event time (ms) that a new click confirms; None: none."""
        max_jump, clicks = self._rule.max_jump, [held.click for held in self.held.values()]
        near = {c.key for c in clicks if abs(c.time - click.time) <= max_jump} - {click.key}
        if len(near) >= self._rule.confirmations:
            return click.time + max_jump
        after = set[str]()
        for held in sorted(self.held.values(), key=lambda held: held.click.time, reverse=True):
            key = held.click.key
            if not held.is_contradicted and len(after - {key}) >= FOLLOWERS:
                return held.click.time
            after.add(key)
        return None

    def _release(self, until: int, offset: int) -> None:
        """Admit quarantined clicks up to an event time (ms), and those that are no jump then."""
        while due := sorted(
            (h.click.time, at) for at, h in self.held.items() if h.click.time <= until
        ):
            for _, at in due:
                self._take(self.held.pop(at).click, at, offset)
            until = self._next_limit(until, offset)

    def _next_limit(self, until: int, offset: int) -> int:
        """Return the latest event time (ms) to admit, after clicks up to `until` were released."""
        watermark = self.window.watermark
        if watermark is None:  # all of them were refused
            return until
        first = min((held.click.time for held in self.held.values()), default=watermark)
        limit = watermark + self._reach
        return first if first > limit and self._is_usual(first - watermark, offset) else limit

    def _decide_overdue(self, offset: int) -> None:
        """Admit clicks that have waited long enough, or refuse those that are contradicted."""
        rule = self._rule
        for at in [at for at in self.held if offset - at.offset >= rule.held_offsets]:
            held = self.held.get(at)
            if held is None:  # already released together with an earlier one
                continue
            if not held.is_contradicted:
                self._release(held.click.time, offset)
                continue
            reason = (
                f"time {held.click.time} is more than {rule.max_jump} ms ahead of the stream time, "
                f"other keys stayed at the old time, and fewer than {rule.confirmations} of them "
                f"came near it within {rule.held_offsets} offsets: correct the clock that wrote it"
            )
            del self.held[at]
            self._refuse(held.click, at, ClickError("future", reason), offset)

    def _clear_place_if_none_is_held(self) -> None:
        """Clear the place to read the log from, at a record's end, if no click is quarantined.

        A session that starts with a record that has released other clicks is restored only with all
        of them.
        """
        if not (self.held or self._is_in_record):
            self.window.reads_from = None

    def _take(self, click: Click, at: ClickPlace, offset: int) -> None:
        """Pass the click at one place to the window, at the record of another offset."""
        window, before = self.window, self.window.watermark
        try:
            self._require_recent(click)
            session, position = window.observe(click, at.offset)
        except ClickError as error:
            self._refuse(click, at, error, offset)
            return
        if before is not None and click.time - before > self._reach:
            jump = Jump(offset, click.time - before)
            window.jumps = (*window.jumps, jump)[-USUAL_JUMPS:]
        if before is None and len(click.key) <= SOLE_KEY_LENGTH:
            window.sole_key = click.key
        elif click.key != window.sole_key:
            window.sole_key = None
        if self._on_join:
            self._on_join(session, position)

    def _require_recent(self, click: Click) -> None:
        watermark, max_behind = self.window.watermark, self._rule.max_behind
        if watermark is None or not max_behind:
            return
        behind = watermark + self._lateness - click.time
        if behind > max_behind:
            raise ClickError(
                "late",
                f"time {click.time} is {behind} ms behind its partition's event time; expected at "
                f"most clicks.max_behind = {max_behind} ms: check clicks.time_format and the clock "
                "that wrote it; `ader-stream watermark show` says how far the partition is",
            )

    def _refuse(self, click: Click, at: ClickPlace, error: ClickError, offset: int) -> None:
        if click.event_id is not None:
            self.event_ids.remove(click.event_id, offset)  # a corrected click may have the same id
        self.refused.append((at, error))
