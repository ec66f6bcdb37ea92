"""Follow the session prefixes of one input partition live, by the sessionizer's own rules."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import structlog

from ader_stream.errors import ClickError, IgnoredError
from ader_stream.stream.clicks.decoder import ClickDecoder, decode_heartbeat
from ader_stream.stream.kafka.records import Record, headers_of, written_at_of
from ader_stream.stream.scores.sessionizer_decisions import Decision, LoggedDecision
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open.session import Jump, OpenSession
from ader_stream.stream.sessions.outputs import ClockRefusal, IdleAdvance, WatermarkReset
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.stream.sessions.window import SessionWindow, WindowState
from ader_stream.types import BlockRule, Click, ClickPlace, IntakeRule, SessionRule

log = structlog.get_logger(__name__)


class Joined(NamedTuple):
    """A click that has joined its session.

    Parameters
    ----------
    offset
        Offset of the record at which it joined: its own, or the one that has confirmed it.
    block, key
        Of the session.
    items
        Items of the session, up to this click.
    last
        Effective time (ms) of the session's last click.
    began
        Time (ms) of its earliest click.
    first_offset
        Offset at which the session starts in the log.
    """

    offset: int
    block: int
    key: str
    items: tuple[str, ...]
    last: int
    began: int
    first_offset: int


class PrefixFollower:
    """Open sessions of a partition, and the place in the log from which they can be restored.

    Parameters
    ----------
    erasures
        Erasure requests, as this partition applies them.

    Attributes
    ----------
    advances_from
        Offset of the sessions topic from which decisions are still to be followed.
    """

    def __init__(
        self,
        decoder: ClickDecoder,
        blocks: BlockRule,
        rule: SessionRule,
        intake: IntakeRule,
        erasures: PartitionErasures,
    ) -> None:
        self._decoder = decoder
        self._blocks = blocks
        self._rule = rule
        self._intake_rule = intake
        self._joined: list[Joined] = []
        self._at = 0  # offset of the current record
        self._erasures = erasures
        self._erased: list[str] = []
        self._begin(WindowState(), 0, 0)
        self.advances_from = 0

    def _begin(self, state: WindowState, needed_from: int, ids_from: int) -> None:
        """Start from a state at an offset; only the event ids of records before are needed."""
        self._next_offset = min(needed_from, ids_from)
        # Decisions before future clicks, and places of clicks that are refused.
        self._decisions: deque[IdleAdvance | WatermarkReset] = deque()
        self._clock_refused: set[ClickPlace] = set()
        self._decided: deque[tuple[int, int]] = deque()  # next offset, and where it is logged
        self._window = SessionWindow(self._blocks, self._rule, state)
        self._intake = Intake(
            self._window,
            self._intake_rule,
            self._rule.lateness,
            on_join=self._note,
            is_ahead_of_clock=lambda place, *_: place in self._clock_refused,
        )
        self._needed_from = needed_from
        # Offset → offset from which the log has all ids known there, for some offsets.
        self._ids_from = deque([(min(needed_from, ids_from), ids_from)])

    def resume(self, metadata: str, next_offset: int, first: int = 0) -> int:
        """Restore the state in the `metadata` committed with `next_offset`; empty before the first.

        Records below `first` are deleted; of those, only their effect on the watermark at
        `next_offset` is known.

        Returns
        -------
        int
            The offset to read from; it may be below `first`.
        """
        place = json.loads(metadata) if metadata else {}
        offset = int(place.get("offset", next_offset))
        ids_from = int(place.get("event_ids_from", offset))
        jumps = tuple(Jump(*jump) for jump in place.get("jumps", ()))
        known = place.get("watermark"), place.get("open_block")
        state = WindowState(*known, jumps=jumps, sole_key=place.get("sole_key"))
        self._begin(state, max(offset, first), max(ids_from, first))
        self.advances_from = int(place.get("advances_from", 0))
        reached = place.get("reached")
        if offset < first and reached is not None:
            self._decisions.append(IdleAdvance(next_offset, reached))
        return min(offset, ids_from)

    @property
    def open_block(self) -> int | None:
        """Return the first block that has not ended; None before the first record."""
        return self._window.open_block

    def observe(self, records: Iterable[Record]) -> list[Joined]:
        """Process records, and return the clicks that have joined their sessions, in order.

        Records that the sessionizer refuses or ignores are skipped: it alone writes dead letters.
        """
        for record in self._decoder.prepare(records):
            self._at = record.offset()
            self._apply_decisions(self._at)
            self._next_offset = self._at + 1
            try:
                self._take(record)
            except (ClickError, IgnoredError):
                continue
        if (since := self._intake.event_ids.since) is not None:
            self._ids_from.append((self._at + 1, since))
        self._drop_outputs()
        joined, self._joined = self._joined, []
        return joined

    def follow(self, decisions: Iterable[LoggedDecision], read_to: int) -> None:
        """Apply decisions of the sessionizer about this partition that are not in its log.

        Each decision comes before the click of its offset; one that arrives after that click is
        late. Quarantined clicks that it admits are returned by the next `observe`, so that they
        count with the record that admitted them.

        Parameters
        ----------
        decisions
            Decisions in order.
        read_to
            Offset of the sessions topic up to which decisions were read.
        """
        self.advances_from = read_to
        for decision, logged_at in decisions:
            next_offset = self._take_note(decision)
            if not self._decided or self._decided[-1][0] != next_offset:
                self._decided.append((next_offset, logged_at))
        self._at = self._next_offset
        self._apply_decisions(self._next_offset)
        self._drop_outputs()

    def _take_note(self, decision: Decision) -> int:
        """Store a decision for its click; return the offset before which it must be known."""
        if isinstance(decision, ClockRefusal):
            if decision.offset < self._next_offset:
                log.warning("a clock refusal arrived late", **decision._asdict())
            self._clock_refused.add(ClickPlace(*decision))
            return decision.offset + 1
        if decision.next_offset < self._next_offset and self._changes_something(decision):
            log.warning("a decision arrived late", **decision._asdict())
        self._decisions.append(decision)
        return decision.next_offset

    def _changes_something(self, decision: IdleAdvance | WatermarkReset) -> bool:
        watermark = self._window.watermark
        if watermark is None or decision.watermark > watermark:
            return True
        return isinstance(decision, WatermarkReset) and decision.watermark < watermark

    def _apply_decisions(self, offset: int) -> None:
        """Advance the watermark as the sessionizer did before the click at an offset."""
        while self._decisions and self._decisions[0].next_offset <= offset:
            decision = self._decisions.popleft()
            at = max(decision.next_offset, self._next_offset)
            if isinstance(decision, WatermarkReset):
                self._intake.reset(decision.watermark, at)
            elif self._changes_something(decision):
                self._intake.advance(decision.watermark, at)

    def _drop_outputs(self) -> None:
        """Discard outputs that only the sessionizer needs."""
        self._window.take_output()
        self._window.drop_changes()
        self._intake.take_refused()
        self._intake.event_ids.drop_changes()
        if self._clock_refused:
            self._clock_refused = {
                at for at in self._clock_refused if at.offset >= self._next_offset
            }

    def erase(self) -> None:
        """Erase some of the open sessions with erasure requests."""
        erased = self._erasures.step(self._intake, self._next_offset)
        self._erased += [key for key, what in erased.items() if what.sessions]

    def take_erased(self) -> list[str]:
        """Return the keys with open sessions erased since the last call."""
        erased, self._erased = self._erased, []
        return erased

    def items_of(self, key: str) -> tuple[str, ...] | None:
        """Return the items of the key's newest open session. Thread-safe."""
        sessions = self._window.sessions_of(key)
        if not sessions:
            return None
        last = sessions[-1]
        is_covered = self._erasures.covers(key, last.reads_from.offset, last.began)
        return None if is_covered else tuple(last.items)

    def is_erased(self, joined: Joined) -> bool:
        """Return whether a session that a click has joined is still to be erased."""
        return self._erasures.covered(joined.key, joined.first_offset, joined.began)

    def metadata(self) -> str:
        """Return the place from which this state can be restored, and the window's state there."""
        state, needed = self._window.state, self._intake.needed_from()
        place: dict[str, Any] = {
            "watermark": state.watermark,
            "open_block": state.open_block,
            "jumps": state.jumps,
            "sole_key": state.sole_key,
        }
        if needed is not None:
            place = needed._asdict() | {"reached": state.watermark}
        for name in ("jumps", "sole_key"):  # mostly there is none
            if not place[name]:
                del place[name]
        if self.advances_from:
            place["advances_from"] = self._decisions_needed_from(place.get("offset"))
        if (ids_from := self._ids_known_from(place.get("offset"))) is not None:
            place["event_ids_from"] = ids_from
        return json.dumps(place)

    def _decisions_needed_from(self, offset: int | None) -> int:
        """Return where the sessions topic has the decisions after an offset, or the current one."""
        decided, known = self._decided, self._next_offset if offset is None else offset
        while decided and decided[0][0] <= known:
            decided.popleft()
        return decided[0][1] if decided else self.advances_from

    def _ids_known_from(self, offset: int | None) -> int | None:
        """Return the offset to read from to know the ids that were known at an offset, or now."""
        if self._intake.event_ids.since is None:
            return None
        known = self._ids_from
        while len(known) > 1 and (offset is None or known[1][0] <= offset):
            known.popleft()
        return known[0][1]

    def _take(self, record: Record) -> None:
        value, offset = record.value(), record.offset()
        if value is None:
            watermark = decode_heartbeat(headers_of(record))
            if watermark is not None and offset >= self._needed_from:
                self._intake.heartbeat(watermark, offset, written_at_of(record))
            return
        if self._decoder.explodes:
            self._take_many(record)
        else:
            self._take_click(self._decoder.decode(record), ClickPlace(offset), record)

    def _take_many(self, record: Record) -> None:
        """Process the clicks of a record that holds many; those that are refused are skipped."""
        elements = [*self._decoder.decode_each(record)]
        offset = record.offset()
        with self._intake.record_of_many(offset):
            for element, click in elements:
                if isinstance(click, Click):
                    self._take_click(click, ClickPlace(offset, element), record)

    def _take_click(self, click: Click, place: ClickPlace, record: Record) -> None:
        offset, element = place
        if offset >= self._needed_from:
            if self._erasures.before(self._intake, click.key, offset).sessions:
                self._erased.append(click.key)
            self._intake.observe(click, offset, written_at_of(record), element=element)
        elif click.event_id is not None:
            self._intake.event_ids.add(click.event_id, offset)

    def _note(self, session: OpenSession, position: int) -> None:
        items = tuple(session.items[: position + 1])
        begins = session.began, session.reads_from.offset
        self._joined.append(
            Joined(self._at, session.block, session.key, items, session.last, *begins)
        )
