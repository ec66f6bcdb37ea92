"""Erase keys on one partition: each request once, exactly up to the offset where it ends.

When the partition reads a request, it searches its open sessions and quarantined clicks,
`KEYS_AT_ONCE` keys between two batches of clicks, once for all new requests. A request is *applied*
when such a search is complete that started after the partition had read all covered clicks. Until
then, each click of a named key is checked before it is admitted (`before`): the open data of the
key are erased, and the click starts a new session. So one of ten thousand requests costs the same
as a single one.

A session that was open at the request and got later clicks before the partition read the request (a
fraction of a second) is erased as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.window import Erased

KEYS_AT_ONCE = 2_000
"""Keys searched between two batches of clicks: 3 ms, and 20 µs for each erased one."""

NOTHING = Erased()


class Applied(NamedTuple):
    """Which requests a partition has applied.

    Parameters
    ----------
    erased_to
        Offset of `control` below which all requests are applied.
    returned
        Offsets of other requests whose keys have new clicks since: no open data of them are
        covered.
    control_id
        Kafka's id of the control topic.
    """

    erased_to: int = 0
    returned: tuple[int, ...] = ()
    control_id: str = ""


NONE_APPLIED = Applied()


class _Look(NamedTuple):
    """A search of the open data.

    Parameters
    ----------
    keys
        Keys that are still to be searched.
    heard
        Requests that were known when it started.
    due
        Those of them that are applied when it ends.
    """

    keys: Iterator[str]
    heard: int
    due: int


class PartitionErasures:
    """Applies erasure requests to one partition.

    Parameters
    ----------
    erasures
        All requests; grows when new ones arrive.
    partition
        Number of the partition of the clicks topic.
    clicks_id
        Kafka's current id of the clicks topic.
    applied
        Which requests were applied before.

    Attributes
    ----------
    applied_to
        Offset of `control` below which all requests are applied.
    """

    def __init__(
        self,
        erasures: Erasures,
        partition: int,
        clicks_id: str,
        applied: Applied = NONE_APPLIED,
    ) -> None:
        self._erasures = erasures
        self._place = partition, clicks_id
        self.applied_to = applied.erased_to
        self._control_id = applied.control_id
        # Of older sessions, it is not known where they start in the log.
        self._returned_before = frozenset(applied.returned)
        self._returned = set(applied.returned)
        self._written_to = self.applied_to
        self._heard = 0  # number of requests that were searched for
        self._look: _Look | None = None

    @property
    def applied(self) -> Applied:
        """Return which requests are applied."""
        return Applied(self.applied_to, tuple(sorted(self._returned)), self._control_id)

    @property
    def waiting(self) -> int:
        """Return the number of requests that are not applied."""
        return len(self._erasures) - self._erasures.count_below(self.applied_to)

    @property
    def is_waiting(self) -> bool:
        """Return whether a request is not applied."""
        return self._erasures.next_offset > self.applied_to

    @property
    def is_looking(self) -> bool:
        """Return whether a search is not complete."""
        return self._look is not None

    def step(self, intake: Intake, next_offset: int) -> dict[str, Erased]:
        """Search some of the open data; return the erased counts by key.

        Parameters
        ----------
        next_offset
            Offset up to which the partition was read.
        """
        self._look = self._look or self._begin(intake, next_offset)
        if self._look is None:
            return {}
        keys = list(islice(self._look.keys, KEYS_AT_ONCE))
        named = dict.fromkeys(filter(self._erasures.of, keys))  # some keys are in it twice
        erased = {key: self._erase(intake, key) for key in named}
        if len(keys) < KEYS_AT_ONCE:
            self._end(self._look)
        return {key: what for key, what in erased.items() if any(what)}

    def before(self, intake: Intake, key: str, offset: int) -> Erased:
        """Erase the covered data of a key before its click at an offset is admitted."""
        if not self.is_waiting:
            return NOTHING
        erasure = self._erasures.of(key)
        if erasure is None or offset < erasure.end_of(*self._place):
            return NOTHING
        erased = self._erase(intake, key)
        self._returned.add(erasure.offset)
        return erased

    def named(self, keys: Sequence[str]) -> list[int]:
        """Return the positions of keys that need `before`."""
        if not self.is_waiting:
            return []
        of = self._erasures.of
        return [position for position, key in enumerate(keys) if of(key)]

    def covers(self, key: str, offset: int, time: int) -> bool:
        """Return whether a key's open data that started there (offset, ms) are to be erased."""
        if time > self._erasures.latest_by_time and not self.is_waiting:
            return False
        return self._covers(key, offset, time, self.applied_to, self._returned)

    def covered(self, key: str, offset: int, time: int) -> bool:
        """Return whether a session that started there was to be erased before its key returned."""
        if time > self._erasures.latest_by_time and not self.is_waiting:
            return False
        return self._covers(key, offset, time, self.applied_to, self._returned_before)

    def closed_to(self) -> Callable[[OpenSession], int]:
        """Return a function: session → offset of `control` below which no request covers it.

        It is for sessions that are written now. For nearly every session the offset is the one
        after all known requests. It is lower for a session that is covered by a request that was
        not applied at the last write: the session may have closed before it could be erased.
        """
        read_to, since = self._erasures.next_offset, self._written_to
        if since >= read_to:
            return lambda _: since

        def closed_to(session: OpenSession) -> int:
            place = session.key, session.reads_from.offset, session.began
            is_covered = self._covers(*place, since, self._returned_before)
            return since if is_covered else read_to

        return closed_to

    def note_written(self) -> None:
        """Record that all sessions closed so far are written."""
        self._written_to = self.applied_to

    def _covers(
        self, key: str, offset: int, time: int, applied_to: int, returned: Container[int]
    ) -> bool:
        erasure = self._erasures.of(key)
        if erasure is None:
            return False
        if erasure.is_by_time:
            return time <= erasure.at
        is_applied = erasure.offset < applied_to or erasure.offset in returned
        return not is_applied and offset < erasure.end_of(*self._place)

    def _erase(self, intake: Intake, key: str) -> Erased:
        return intake.erase(key, self.covers)

    def _begin(self, intake: Intake, next_offset: int) -> _Look | None:
        """Start a search, if there is a new request or one became due."""
        erasures, applied = self._erasures, self._erasures.count_below(self.applied_to)
        heard, due = len(erasures), applied
        while due < heard and erasures[due].end_of(*self._place) <= next_offset:
            due += 1
        if due == applied and heard <= self._heard:
            return None
        return _Look(iter(intake.keys()), heard, due) if heard > applied else None

    def _end(self, look: _Look) -> None:
        self._look, self._heard = None, look.heard
        if look.due:
            self.applied_to = max(self.applied_to, self._erasures[look.due - 1].offset + 1)
            self._returned = {offset for offset in self._returned if offset >= self.applied_to}
