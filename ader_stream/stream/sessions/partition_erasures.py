"""How one partition erases keys: each request once, exactly up to where it covers the log.

The partition hears of a request, and looks through what it has open, `KEYS_AT_ONCE` keys between
two batches of clicks, once for all requests that it has heard of. A request is *applied* when the
partition had read all that it covers before it began to look. Until then a visitor who comes back
is looked up before the click is taken (`before`): what is open of the key goes, and the click
begins a new session. So a request costs the same whether it is alone or one of ten thousand.

Where a session that was open at the request has taken later clicks before the partition has heard
of it (a fraction of a second), it goes as a whole.
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
"""Keys that are looked at between two batches of clicks: 3 ms, and 20 µs for each that goes."""

NOTHING = Erased()


class Applied(NamedTuple):
    """Which requests a partition has applied.

    Parameters
    ----------
    erased_to
        Offset of `control` below which all are.
    returned
        Offsets of others whose visitors have come back since: nothing of them is covered any more.
    control_id
        Kafka's id of the control topic.
    """

    erased_to: int = 0
    returned: tuple[int, ...] = ()
    control_id: str = ""


NONE_APPLIED = Applied()


class _Look(NamedTuple):
    """A look at what is open.

    Parameters
    ----------
    keys
        That are left.
    heard
        Requests that had been heard of when it began.
    due
        Those of them that are applied when it ends.
    """

    keys: Iterator[str]
    heard: int
    due: int


class PartitionErasures:
    """Applies requests to one partition.

    Parameters
    ----------
    erasures
        Every request, and those that come.
    partition
        Of the clicks topic.
    clicks_id
        Kafka's id of the clicks topic as it is today.
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
        # Of sessions from before, it is not known where they begin in the log.
        self._returned_before = frozenset(applied.returned)
        self._returned = set(applied.returned)
        self._written_to = self.applied_to
        self._heard = 0  # so many requests have been looked for
        self._look: _Look | None = None

    @property
    def applied(self) -> Applied:
        """Which requests are applied."""
        return Applied(self.applied_to, tuple(sorted(self._returned)), self._control_id)

    @property
    def waiting(self) -> int:
        """How many requests are not applied."""
        return len(self._erasures) - self._erasures.count_below(self.applied_to)

    @property
    def is_waiting(self) -> bool:
        """Whether there is one."""
        return self._erasures.next_offset > self.applied_to

    @property
    def is_looking(self) -> bool:
        """Whether some of what is open is still to be looked at."""
        return self._look is not None

    def step(self, intake: Intake, next_offset: int) -> dict[str, Erased]:
        """Look at some of what is open; return what was erased, by key.

        Parameters
        ----------
        next_offset
            Up to which the partition was read.
        """
        self._look = self._look or self._begin(intake, next_offset)
        if self._look is None:
            return {}
        keys = list(islice(self._look.keys, KEYS_AT_ONCE))
        named = dict.fromkeys(filter(self._erasures.of, keys))  # some stand there twice
        erased = {key: self._erase(intake, key) for key in named}
        if len(keys) < KEYS_AT_ONCE:
            self._end(self._look)
        return {key: what for key, what in erased.items() if any(what)}

    def before(self, intake: Intake, key: str, offset: int) -> Erased:
        """Erase what a request covers of a key before its click at an offset is taken."""
        if not self.is_waiting:
            return NOTHING
        erasure = self._erasures.of(key)
        if erasure is None or offset < erasure.end_of(*self._place):
            return NOTHING
        erased = self._erase(intake, key)
        self._returned.add(erasure.offset)
        return erased

    def named(self, keys: Sequence[str]) -> list[int]:
        """Return the positions of keys that must be looked up `before` they are taken."""
        if not self.is_waiting:
            return []
        of = self._erasures.of
        return [position for position, key in enumerate(keys) if of(key)]

    def covers(self, key: str, offset: int, time: int) -> bool:
        """Whether what is open of a key, and began there (offset, ms), is still to be erased."""
        if time > self._erasures.latest_by_time and not self.is_waiting:
            return False
        return self._covers(key, offset, time, self.applied_to, self._returned)

    def covered(self, key: str, offset: int, time: int) -> bool:
        """Whether a session that began there was to be erased, although its visitor came back."""
        if time > self._erasures.latest_by_time and not self.is_waiting:
            return False
        return self._covers(key, offset, time, self.applied_to, self._returned_before)

    def closed_to(self) -> Callable[[OpenSession], int]:
        """Return what says of sessions that are written now which requests do not cover them.

        Those below the offset of `control` that it returns. For nearly every session that is all
        that were heard of; it is less for one that is covered by a request that was not applied yet
        at the last write: it may have closed before it could be erased.
        """
        heard_to, since = self._erasures.next_offset, self._written_to
        if since >= heard_to:
            return lambda _: since

        def closed_to(session: OpenSession) -> int:
            place = session.key, session.reads_from.offset, session.began
            is_covered = self._covers(*place, since, self._returned_before)
            return since if is_covered else heard_to

        return closed_to

    def note_written(self) -> None:
        """Take note that all that has closed so far is written."""
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
        """Begin to look for requests, where one has come or has become due."""
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
