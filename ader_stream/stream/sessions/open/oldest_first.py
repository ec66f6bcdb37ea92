"""Open sessions in the order of their last clicks, sorted only when needed."""

from __future__ import annotations

import heapq
from itertools import count

from ader_stream.stream.sessions.open.session import OpenSession


class OldestFirst:
    """Finds the open sessions that are first by (last time, key).

    A session is in the bucket of the time that its last click had when it was added. It is looked
    at again only when its bucket is the oldest: by then, most sessions have later clicks or are
    closed. Sorting them at every click would cost more than all other work.

    Parameters
    ----------
    width
        Length of a bucket, ms.

    >>> order = OldestFirst(width=100)
    >>> shoe, hat = OpenSession.of("a", 0, [10], ["shoe"]), OpenSession.of("b", 0, [20], ["hat"])
    >>> order.add(shoe), order.add(hat), shoe.times.append(500)
    (None, None, None)
    >>> order.oldest() is hat, order.take_before(500) == [hat]
    (True, True)
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._buckets: dict[int, list[OpenSession]] = {}
        self._numbers: list[int] = []  # heap: the keys of the buckets
        self._front: list[tuple[int, str, int, OpenSession]] = []  # heap, of all before its end
        self._front_end: int | None = None
        self._tie = count()

    def add(self, session: OpenSession) -> None:
        """Add a session."""
        last = session.times[-1]
        if self._front_end is not None and last < self._front_end:
            heapq.heappush(self._front, (last, session.key, next(self._tie), session))
            return
        number = last // self._width
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = [session]
            heapq.heappush(self._numbers, number)
        else:
            bucket.append(session)

    def oldest(self) -> OpenSession | None:
        """Return the first session; it stays here until it is closed."""
        while True:
            while self._front:
                last, _, _, session = self._front[0]
                if not session.is_closed and session.times[-1] == last:
                    return session
                heapq.heappop(self._front)
                if not session.is_closed:
                    self.add(session)
            if not self._numbers:
                return None
            number = heapq.heappop(self._numbers)
            self._front_end = (number + 1) * self._width
            for session in self._buckets.pop(number):
                if not session.is_closed:
                    self.add(session)

    def take_before(self, time: int) -> list[OpenSession]:
        """Remove and return sessions with a last click before a time (ms), in no order."""
        found: list[OpenSession] = []
        left: list[OpenSession] = []
        while self._front and self._front[0][0] < time:
            session = heapq.heappop(self._front)[-1]
            if not session.is_closed:
                (found if session.times[-1] < time else left).append(session)
        while self._numbers and self._numbers[0] * self._width < time:
            number = heapq.heappop(self._numbers)
            end = (number + 1) * self._width
            if end > time:  # the rest of it is needed soon
                self._front_end = end
            for session in self._buckets.pop(number):
                if not session.is_closed:
                    (found if session.times[-1] < time else left).append(session)
        for session in left:
            self.add(session)
        return found
