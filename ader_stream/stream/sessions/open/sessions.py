"""The open sessions of one input partition: by key, by block, oldest first, changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from operator import attrgetter

from ader_stream.stream.sessions.open.oldest_first import OldestFirst
from ader_stream.stream.sessions.open.session import OpenSession

KeySessions = tuple[str, list[OpenSession]]
"""A key and its open sessions."""

FIRST = attrgetter("first")


class OpenSessions:
    """The sessions that are not closed.

    Parameters
    ----------
    width
        ms in which sessions are checked together to find the oldest ones.
    sessions
        The initial open sessions, all unchanged.

    Attributes
    ----------
    alone
        Key → its session, of keys with one session.
    several
        Key → its sessions, of keys with more.
    count
        Number of open sessions.
    changed
        Sessions that `has_changed` marks, and some that have closed since.
    """

    def __init__(self, width: int, sessions: Iterable[OpenSession] = ()) -> None:
        self.alone: dict[str, OpenSession] = {}
        self.several: dict[str, tuple[OpenSession, ...]] = {}
        self.count = 0
        self.changed: list[OpenSession] = []
        self._left: dict[str, bool] = {}  # keys that a session has left → whether it was known
        self._count_in: Counter[int] = Counter()  # by block
        self._order = OldestFirst(width)
        for session in sessions:
            session.is_known = True
            self.add(session)

    def __iter__(self) -> Iterator[OpenSession]:
        yield from self.alone.values()
        for sessions in self.several.values():
            yield from sessions

    def add(self, session: OpenSession) -> None:
        """Add a session."""
        key = session.key
        if key in self.several:
            self.several[key] += (session,)
        elif key in self.alone:
            self.several[key] = (self.alone.pop(key), session)
        else:
            self.alone[key] = session
        self.count += 1
        self._count_in[session.block] += 1
        self._order.add(session)

    def remove(self, session: OpenSession) -> None:
        """Remove a closed session."""
        key = session.key
        session.is_closed = True
        self.note_left(key, is_known=session.is_known)
        self.count -= 1
        self._count_in[session.block] -= 1
        if not self._count_in[session.block]:
            del self._count_in[session.block]
        if key in self.alone:
            del self.alone[key]
            return
        left = tuple(other for other in self.several[key] if other is not session)
        if len(left) > 1:
            self.several[key] = left
        else:
            [self.alone[key]] = left
            del self.several[key]

    def of(self, key: str) -> Iterable[OpenSession]:
        """Return the sessions of a key. Thread-safe."""
        session = self.alone.get(key)
        return self.several.get(key, ()) if session is None else (session,)

    def blocks(self) -> Iterable[int]:
        """Return the blocks with open sessions."""
        return self._count_in.keys()

    def of_block(self, block: int) -> list[OpenSession]:
        """Return the sessions of a block."""
        if block not in self._count_in:
            return []
        return [session for session in self if session.block == block]

    def oldest(self) -> OpenSession | None:
        """Return the first session by (last time, key)."""
        return self._order.oldest()

    def last_before(self, time: int) -> list[OpenSession]:
        """Return sessions with a last click before a time (ms); the caller must remove them."""
        return self._order.take_before(time)

    def note_change(self, session: OpenSession) -> None:
        """Record that a session has changed."""
        if not session.has_changed:
            session.has_changed = True
            self.changed.append(session)

    def note_full(self, session: OpenSession) -> None:
        """Record that a session accepts no more clicks: `take_changed` no longer reports it."""
        self.note_left(session.key, is_known=session.is_known)

    def note_left(self, key: str, *, is_known: bool) -> None:
        """Record that a key has lost a session, and whether `take_changed` had reported it."""
        self._left[key] = is_known or self._left.get(key, False)

    def take_changed(self, capped: Container[str]) -> Iterator[KeySessions]:
        """Yield the keys with changes since the last call.

        Each comes with its sessions, without the full ones. A key that appeared and disappeared
        meanwhile is left out, unless it is `capped`. The caller must draw all keys before it calls
        anything else here. They are not collected first: among a million sessions, each would be
        out of the processor's caches before it is written.
        """
        changed, self.changed = self.changed, []
        left, self._left = self._left, {}
        yield from self._grown(changed, left)
        yield from self._left_by(left, capped)

    def _grown(
        self, changed: Iterable[OpenSession], left: dict[str, bool]
    ) -> Iterator[KeySessions]:
        """Yield the keys with only one session; add the others to those that a session has left."""
        for session in changed:
            session.has_changed = False
            if session.is_closed:
                continue
            key = session.key
            if key in left or key in self.several:
                left.setdefault(key, False)
            else:
                session.is_known = True
                yield key, [session]

    def _left_by(self, left: Mapping[str, bool], capped: Container[str]) -> Iterator[KeySessions]:
        """Yield keys that a session has left, except those that were never reported."""
        for key, is_known in left.items():
            sessions = [session for session in self.of(key) if not session.is_full]
            if len(sessions) > 1:  # most keys have no other session
                sessions.sort(key=FIRST)
            for session in sessions:
                session.is_known = True
            if sessions or is_known or key in capped:
                yield key, sessions
