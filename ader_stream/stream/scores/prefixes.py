"""Session prefixes of one input partition, followed live by the sessionizer's own rules."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import structlog

from ader_stream.errors import ClickError
from ader_stream.stream.clicks.decoder import ClickDecoder, decode_heartbeat
from ader_stream.stream.forgetting import Forgotten
from ader_stream.stream.kafka.records import Record, headers_of
from ader_stream.stream.scores.idle_advances import LoggedAdvance
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open_session import OpenSession
from ader_stream.stream.sessions.outputs import IdleAdvance
from ader_stream.stream.sessions.window import SessionWindow, WindowState
from ader_stream.types import BlockRule, IntakeRule, SessionRule

log = structlog.get_logger(__name__)


class Joined(NamedTuple):
    """A click that has joined its session.

    Parameters
    ----------
    offset
        Of the record at which it joined: its own, or the one that has confirmed it.
    block, key
        Of the session.
    items
        The session's, up to this click.
    last
        Effective time (ms) of the session's last click.
    began
        When its earliest click happened (ms).
    """

    offset: int
    block: int
    key: str
    items: tuple[str, ...]
    last: int
    began: int


class PrefixFollower:
    """Open sessions as they grow, and the place in the log from which they can be read again.

    Attributes
    ----------
    advances_from
        Offset of the sessions topic from which advances are still to be followed.
    """

    def __init__(
        self, decoder: ClickDecoder, blocks: BlockRule, rule: SessionRule, intake: IntakeRule
    ) -> None:
        self._decoder = decoder
        self._blocks = blocks
        self._rule = rule
        self._intake_rule = intake
        self._joined: list[Joined] = []
        self._at = 0  # offset of the record at which what happens now happens
        self._forgotten = Forgotten()
        self._begin(WindowState(), 0, 0)
        self.advances_from = 0

    def _begin(self, state: WindowState, needed_from: int, ids_from: int) -> None:
        """Start from a state at an offset; of records before, only the event ids are needed."""
        self._next_offset = min(needed_from, ids_from)
        self._advances: deque[IdleAdvance] = deque()  # those of clicks that are still to come
        self._advanced: deque[tuple[int, int]] = deque()  # next offset, and where it is logged
        self._window = SessionWindow(self._blocks, self._rule, state)
        self._intake = Intake(
            self._window, self._intake_rule, self._rule.lateness, on_join=self._note
        )
        self._needed_from = needed_from
        # Offset → from where on the log holds the ids that were known there, for some offsets.
        self._ids_from = deque([(min(needed_from, ids_from), ids_from)])

    def resume(self, metadata: str, next_offset: int) -> int:
        """Go back to what `metadata` told at the commit of `next_offset`; empty before the first.

        Returns
        -------
        int
            The offset to read from.
        """
        place = json.loads(metadata) if metadata else {}
        offset = int(place.get("offset", next_offset))
        ids_from = int(place.get("event_ids_from", offset))
        self._begin(WindowState(place.get("watermark"), place.get("open_block")), offset, ids_from)
        self.advances_from = int(place.get("advances_from", 0))
        return min(offset, ids_from)

    @property
    def open_block(self) -> int | None:
        """The first block that has not ended; None before the first record."""
        return self._window.open_block

    def observe(self, records: Iterable[Record]) -> list[Joined]:
        """Take records, and return the clicks that have joined their sessions, in order.

        What the sessionizer refuses is passed over: it alone writes dead letters.
        """
        for record in records:
            self._at = record.offset()
            self._advance(self._at)
            self._next_offset = self._at + 1
            try:
                self._take(record)
            except ClickError:
                continue
        if (since := self._intake.event_ids.since) is not None:
            self._ids_from.append((self._at + 1, since))
        self._drop_outputs()
        joined, self._joined = self._joined, []
        return joined

    def follow(self, advances: Iterable[LoggedAdvance], heard_to: int) -> None:
        """Take over what the sessionizer has decided of this partition where it was idle.

        Each advance comes before the click of its offset; one that is heard of after that click
        comes late. Clicks that were held until then are returned by the next `observe`, so that
        they count with the record whose offset they have joined at.

        Parameters
        ----------
        advances
            In order.
        heard_to
            Offset of the sessions topic from which there is more to be heard.
        """
        self.advances_from = heard_to
        for advance, logged_at in advances:
            if advance.next_offset < self._next_offset and self._is_ahead(advance):
                log.warning("an idle advance was heard of late", **advance._asdict())
            self._advances.append(advance)
            if not self._advanced or self._advanced[-1][0] != advance.next_offset:
                self._advanced.append((advance.next_offset, logged_at))
        self._at = self._next_offset
        self._advance(self._next_offset)
        self._drop_outputs()

    def _is_ahead(self, advance: IdleAdvance) -> bool:
        watermark = self._window.watermark
        return watermark is None or advance.watermark > watermark

    def _advance(self, offset: int) -> None:
        """Move the watermark on as far as the sessionizer did before the click at an offset."""
        while self._advances and self._advances[0].next_offset <= offset:
            advance = self._advances.popleft()
            if self._is_ahead(advance):
                at = max(advance.next_offset, self._next_offset)
                self._intake.advance(advance.watermark, at)

    def _drop_outputs(self) -> None:
        """Drop what only the sessionizer needs."""
        self._window.take_output()
        self._window.drop_changes()
        self._intake.take_refused()
        self._intake.event_ids.drop_changes()

    def forget(self, forgotten: Forgotten) -> list[str]:
        """Drop the open sessions of forgotten keys; return the keys.

        Sessions that late clicks bring back until the next call answer no more, either.
        """
        self._forgotten = forgotten
        return self._intake.forget(forgotten.covers)

    def items_of(self, key: str) -> tuple[str, ...] | None:
        """Items of the key's newest open session. May be called from another thread."""
        sessions = self._window.sessions_of(key)
        if not sessions or self.is_forgotten(key, sessions[-1].began):
            return None
        return tuple(sessions[-1].items)

    def is_forgotten(self, key: str, began: int) -> bool:
        """Whether a key's session must not be told whose earliest click was at a time (ms)."""
        return self._forgotten.covers(key, began)

    def metadata(self) -> str:
        """Where the log must be read from to come back here, and the state of the window there."""
        state, needed = self._window.state, self._intake.needed_from()
        place: dict[str, int | None] = {
            "watermark": state.watermark,
            "open_block": state.open_block,
        }
        if needed is not None:
            place = needed._asdict()
        if self.advances_from:
            place["advances_from"] = self._advances_needed_from(place.get("offset"))
        if (ids_from := self._ids_known_from(place.get("offset"))) is not None:
            place["event_ids_from"] = ids_from
        return json.dumps(place)

    def _advances_needed_from(self, offset: int | None) -> int:
        """Where in the sessions topic the advances begin that came after an offset, or now."""
        advanced, known = self._advanced, self._next_offset if offset is None else offset
        while advanced and advanced[0][0] <= known:
            advanced.popleft()
        return advanced[0][1] if advanced else self.advances_from

    def _ids_known_from(self, offset: int | None) -> int | None:
        """Where the log must be read from to know the ids that were known at an offset, or now."""
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
                self._intake.advance(watermark, offset)
            return
        click = self._decoder.decode(record)
        if offset >= self._needed_from:
            self._intake.observe(click, offset)
        elif click.event_id is not None:
            self._intake.event_ids.add(click.event_id, offset)

    def _note(self, session: OpenSession, position: int) -> None:
        items = tuple(session.items[: position + 1])
        self._joined.append(
            Joined(self._at, session.block, session.key, items, session.last, session.began)
        )
