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
    """Sessions that have not closed.

    Parameters
    ----------
    width
        ms in which sessions are looked at together to see which of them come first.
    sessions
        Those that are open now; nothing of them has changed.

    Attributes
    ----------
    alone
        Key → its session, of keys that have one.
    several
        Key → its sessions, of keys that have more.
    count
        How many there are.
    changed
        Those that have `has_changed`, and some that have closed since.
    """

    def __init__(self, width: int, sessions: Iterable[OpenSession] = ()) -> None:
        self.alone: dict[str, OpenSession] = {}
        self.several: dict[str, tuple[OpenSession, ...]] = {}
        self.count = 0
        self.changed: list[OpenSession] = []
        self._left: dict[str, bool] = {}  # keys that a session has left → whether that is known
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
        """Take in a session."""
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
        """Take out a session: it has closed."""
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
        """Return those of a key. May be called from another thread."""
        session = self.alone.get(key)
        return self.several.get(key, ()) if session is None else (session,)

    def blocks(self) -> Iterable[int]:
        """Return the blocks that have any."""
        return self._count_in.keys()

    def of_block(self, block: int) -> list[OpenSession]:
        """Return those of a block."""
        if block not in self._count_in:
            return []
        return [session for session in self if session.block == block]

    def oldest(self) -> OpenSession | None:
        """Return the first by (last time, key)."""
        return self._order.oldest()

    def last_before(self, time: int) -> list[OpenSession]:
        """Return those whose last click was before a time (ms); they have to be removed next."""
        return self._order.take_before(time)

    def note_change(self, session: OpenSession) -> None:
        """Take note that a session has changed."""
        if not session.has_changed:
            session.has_changed = True
            self.changed.append(session)

    def note_full(self, session: OpenSession) -> None:
        """Take note that a session takes no click any more: `take_changed` tells of it no more."""
        self.note_left(session.key, is_known=session.is_known)

    def note_left(self, key: str, *, is_known: bool) -> None:
        """Take note that something of a key has gone, and whether `take_changed` has told of it."""
        self._left[key] = is_known or self._left.get(key, False)

    def take_changed(self, capped: Container[str]) -> Iterator[KeySessions]:
        """Yield the keys of which something has changed since the last call.

        Each with its sessions, but for those that are full. One that has come and gone meanwhile is
        left out, if it is not `capped`. Nothing else may
        be done here before all are drawn. They are not collected first: among a million sessions,
        each would have left the processor's caches before it is written.
        """
        changed, self.changed = self.changed, []
        left, self._left = self._left, {}
        yield from self._grown(changed, left)
        yield from self._left_by(left, capped)

    def _grown(
        self, changed: Iterable[OpenSession], left: dict[str, bool]
    ) -> Iterator[KeySessions]:
        """Yield the keys with one session alone; add the others to those that were left."""
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
        """Yield keys that a session has left, but for those of which nobody has known."""
        for key, is_known in left.items():
            sessions = [session for session in self.of(key) if not session.is_full]
            if len(sessions) > 1:  # most keys are left with none
                sessions.sort(key=FIRST)
            for session in sessions:
                session.is_known = True
            if sessions or is_known or key in capped:
                yield key, sessions
