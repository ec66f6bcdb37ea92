"""Session prefixes of one input partition, followed live by the sessionizer's own rules."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ader_stream.errors import ClickError
from ader_stream.stream.clicks import ClickDecoder, decode_heartbeat
from ader_stream.stream.records import Record, headers_of
from ader_stream.stream.window import OpenSession, SessionWindow, WindowState
from ader_stream.types import BlockRule, SessionRule


class PrefixFollower:
    """Open sessions as they grow, and the place in the log from which they can be read again."""

    def __init__(self, decoder: ClickDecoder, blocks: BlockRule, rule: SessionRule) -> None:
        self._decoder = decoder
        self._blocks = blocks
        self._rule = rule
        self._window = SessionWindow(blocks, rule)

    def resume(self, metadata: str, next_offset: int) -> int:
        """Go back to what `metadata` told at the commit of `next_offset`; empty before the first.

        Returns
        -------
        int
            The offset to read from.
        """
        place = json.loads(metadata) if metadata else {}
        state = WindowState(place.get("watermark"), place.get("open_block"))
        self._window = SessionWindow(self._blocks, self._rule, state)
        return int(place.get("offset", next_offset))

    @property
    def open_block(self) -> int | None:
        """The first block that has not ended; None before the first record."""
        return self._window.state.open_block

    def observe(self, records: list[Record]) -> Iterator[tuple[Record, OpenSession, int]]:
        """Yield each click's record, its session and its position there, as it joins.

        What the sessionizer refuses is passed over: it alone writes dead letters.
        """
        for record in records:
            try:
                joined = self._take(record)
            except ClickError:
                continue
            if joined:
                yield record, *joined
        self._window.take_output()
        self._window.take_touched()

    def items_of(self, key: str) -> tuple[str, ...] | None:
        """Items of the key's newest open session. May be called from another thread."""
        sessions = self._window.sessions_of(key)
        return tuple(click.item for click in sessions[-1].clicks) if sessions else None

    def metadata(self) -> str:
        """The lowest offset that an open session needs, and the state of the window before it."""
        state = self._window.state
        oldest = min(self._window.open_sessions(), key=lambda s: s.needs_offset, default=None)
        if oldest is None:
            return json.dumps({"watermark": state.watermark, "open_block": state.open_block})
        return json.dumps(
            {
                "offset": oldest.needs_offset,
                "watermark": oldest.needs_watermark,
                "open_block": oldest.needs_open_block,
            }
        )

    def _take(self, record: Record) -> tuple[OpenSession, int] | None:
        value = record.value()
        if value is None:
            watermark = decode_heartbeat(headers_of(record))
            if watermark is not None:
                self._window.advance(watermark)
                return None
        click = self._decoder.decode(record)
        return self._window.observe(click, record.offset())
