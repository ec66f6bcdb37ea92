"""Keys with sessions that were closed at their own limits while more clicks may follow."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator

from ader_stream.stream.sessions.open.session import NOWHERE, OpenSession, ReplayPoint


class CappedKeys:
    """Remembers up to which time the clicks of a key are late, regardless of the watermark.

    Parameters
    ----------
    until
        Key → last time (ms) of its newest session closed at a limit.

    >>> capped = CappedKeys({})
    >>> capped.add(OpenSession.of("bot", 0, [10, 20], ["shoe", "hat"]))
    >>> capped.until
    {'bot': 20}
    >>> list(capped.take_before(21)), capped.until
    (['bot'], {})
    """

    def __init__(self, until: dict[str, int]) -> None:
        self.until = until
        self._heap = [(time, key) for key, time in until.items()]
        self._read_from: dict[str, ReplayPoint] = {}
        heapq.heapify(self._heap)

    @property
    def first(self) -> int | None:
        """Return the earliest of the times (ms), or an earlier time; None without any."""
        return self._heap[0][0] if self._heap else None

    @property
    def places(self) -> Collection[ReplayPoint]:
        """Return where the log must be read from to restore the closed sessions."""
        return self._read_from.values()

    def add(self, session: OpenSession) -> None:
        """Remember a session that closes at a limit of its own."""
        key = session.key
        self.until[key] = max(session.last, self.until.get(key, session.last))
        self.carry_over(session)
        self._read_from[key] = session.reads_from
        heapq.heappush(self._heap, (self.until[key], key))

    def carry_over(self, session: OpenSession) -> None:
        """Copy to a new session of a key the place where its closed sessions started in the log."""
        session.read_from(self._read_from.get(session.key, session.reads_from))

    def erase(self, key: str, covers: Callable[[str, int, int], bool]) -> bool:
        """Forget a key if it is to be erased; return whether it was (see `window.Covers`)."""
        until, place = self.until.get(key), self._read_from.get(key, NOWHERE)
        if until is None or not covers(key, place.offset, until):
            return False
        del self.until[key]
        self._read_from.pop(key, None)
        return True

    def take_before(self, time: int) -> Iterator[str]:
        """Forget, and yield, the keys with times before a given one (ms)."""
        while self._heap and self._heap[0][0] < time:
            until, key = heapq.heappop(self._heap)
            if self.until.get(key) == until:
                del self.until[key]
                self._read_from.pop(key, None)
                yield key
