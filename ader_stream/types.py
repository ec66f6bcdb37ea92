"""Types that all packages share: clicks, sessions, their rules, recommendations and counts.

Times are milliseconds since 1970-01-01 UTC, everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

ROWS_AT_ONCE = 8_192
"""Sessions that are read from columns at a time."""

DEAD_LETTER_REASONS = (
    "malformed",
    "missing-field",
    "bad-value",
    "unknown-schema",
    "late",
    "future",
    "too-large",
)
"""Why a click becomes a dead letter; the label of `ader_dead_letters_total`."""

ARTIFACT_REASONS = (
    "manifest",
    "signature",
    "newer-format",
    "too-large",
    "missing-chunk",
    "damaged-chunk",
    "content",
    "unreachable",
)
"""Why a version is not served; the label of `ader_artifacts_refused_total`.

``content``: all hashes are right, but no model can be built from the artifact.
"""


class ClickPlace(NamedTuple):
    """Place of a click in a partition's log.

    Parameters
    ----------
    offset
        Offset of its record.
    element
        Position of the click in a record that holds many (`clicks.explode`); else 0.
    """

    offset: int
    element: int = 0


class Click(NamedTuple):
    """One click as read from the user's topic; a tuple, because one is made for each record.

    Parameters
    ----------
    key
        Session key: a session id, or a user id where sessions are (user, inactivity gap).
    item
        Item id; integers are kept as their decimal string.
    time
        Event time in ms.
    event_id
        Id of the event, if the pipeline has one.
    extra
        Fields that pass through unchanged, each as JSON text.
    """

    key: str
    item: str
    time: int
    event_id: str | None = None
    extra: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BlockChange:
    """A change of the block grid from one block on.

    Parameters
    ----------
    first_block
        The first block of the new grid. It starts where the block before ends, even between two
        lines of the new grid.
    start
        Event time (ms) at which it starts.
    origin, length
        Of the new grid, ms: its lines are ``origin + n·length``.
    """

    first_block: int
    start: int
    origin: int
    length: int

    def block_of(self, time: int) -> int:
        """Return the block that has an event time (ms) from `start` on."""
        return self.first_block + self._line_before(time) - self._line_before(self.start)

    def start_of(self, block: int) -> int:
        """Return the first event time (ms) of a block from `first_block` on."""
        if block == self.first_block:
            return self.start
        line = self._line_before(self.start) + block - self.first_block
        return self.origin + line * self.length

    def _line_before(self, time: int) -> int:
        return (time - self.origin) // self.length


@dataclass(frozen=True, slots=True)
class BlockRule:
    """Block n holds event times ``[origin + n·length, origin + (n+1)·length)``, up to a change.

    A change keeps the numbers of the blocks before it. The blocks after it continue the numbering,
    so no number is used twice.

    Parameters
    ----------
    origin, length
        Of the first grid, ms.
    changes
        In order.

    >>> rule = BlockRule(origin=0, length=100)
    >>> rule.block_of(199), rule.start(2)
    (1, 200)
    >>> rule = rule.changed(first_block=2, origin=0, length=700)
    >>> [(rule.start(block), rule.start(block + 1)) for block in (1, 2, 3)]
    [(100, 200), (200, 700), (700, 1400)]
    """

    origin: int
    length: int
    changes: tuple[BlockChange, ...] = ()

    @property
    def grids(self) -> list[BlockRule]:
        """Return every grid as a rule without changes, the newest one last."""
        changed = [BlockRule(change.origin, change.length) for change in self.changes]
        return [BlockRule(self.origin, self.length), *changed]

    @property
    def grid(self) -> BlockRule:
        """Return the newest grid as a rule without changes."""
        return self.grids[-1]

    def grid_of(self, block: int) -> BlockRule:
        """Return the grid that decides where a block ends, as a rule without changes."""
        is_changed = [block >= change.first_block for change in self.changes]
        return self.grids[sum(is_changed)]

    def block_of(self, time: int) -> int:
        """Return the block that has an event time (ms)."""
        for change in reversed(self.changes):
            if time >= change.start:
                return change.block_of(time)
        return (time - self.origin) // self.length

    def start(self, block: int) -> int:
        """Return the first event time (ms) of a block; also the end of the block before."""
        for change in reversed(self.changes):
            if block >= change.first_block:
                return change.start_of(block)
        return self.origin + block * self.length

    def length_of(self, block: int) -> int:
        """Return the event time (ms) in a block."""
        return self.start(block + 1) - self.start(block)

    def changed(self, first_block: int, origin: int, length: int) -> BlockRule:
        """Return the same rule up to a block, and another grid from its start on.

        It replaces an earlier change that has not started by then.
        """
        kept = tuple(change for change in self.changes if change.first_block < first_block)
        change = BlockChange(first_block, self.start(first_block), origin, length)
        return BlockRule(self.origin, self.length, (*kept, change))


CLICK_BYTES = 32
"""Bytes of a click in its session, in addition to its item id and extra fields as UTF-8: its times,
lengths and positions, at most."""


@dataclass(frozen=True, slots=True)
class SessionRule:
    """How clicks become sessions.

    Parameters
    ----------
    gap
        Longest time between two consecutive clicks of a session, ms.
    lateness
        The watermark is the highest event time so far minus this, ms.
    late
        ``carry`` moves a late click to the watermark, ``dead-letter`` refuses it.
    max_clicks, max_age
        A session closes as soon as it has this many clicks, or spans this many ms.
    max_open
        Most open sessions of a partition; above it, the oldest closes.
    max_bytes
        Most bytes of all open sessions of a key, as `CLICK_BYTES` counts them; above it, the
        earliest session closes.
    """

    gap: int
    lateness: int = 0
    late: str = "carry"
    max_clicks: int = 1_000
    max_age: int = DAY_MS
    max_open: int = 1_000_000
    max_bytes: int = 512 * 1024


@dataclass(frozen=True, slots=True)
class IntakeRule:
    """Which clicks of a partition's log are accepted.

    Parameters
    ----------
    max_jump
        A click is quarantined until others confirm it if it would advance the stream time by more
        than this, ms, and was written more than this after its event time; 0 for no limit.
    confirmations
        Number of other keys that must have clicks at most `max_jump` away from it.
    held_offsets
        After this many offsets of the log it is accepted, or refused if other keys contradict it.
    max_event_ids
        Number of event ids that are kept, to remove duplicates by.
    max_ahead
        A click more than this, ms, ahead of its record's timestamp is refused; 0 for no limit.
    max_behind
        A click more than this, ms, behind the stream time is refused; 0 for no limit.
    """

    max_jump: int = 30 * MINUTE_MS
    confirmations: int = 3
    held_offsets: int = 100
    max_event_ids: int = 100_000
    max_ahead: int = 5 * MINUTE_MS
    max_behind: int = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Session:
    """The closed clicks of one key in one block, in the order (effective time, offset).

    Identity: (key, block, first effective time).

    Parameters
    ----------
    items, times
        Item ids and effective event times (ms), of equal length.
    carried
        Position → original event time (ms) of the late clicks among them.
    extra
        Position → the click's fields that pass through unchanged.
    erased_to
        Offset of the control topic: erasure requests below it do not apply to the session.
    """

    key: str
    items: tuple[str, ...]
    times: tuple[int, ...]
    carried: Mapping[int, int] = field(default_factory=dict)
    extra: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    erased_to: int = 0

    @property
    def began(self) -> int:
        """Return the time (ms) of the earliest click: before its effective time if it was late."""
        return min(self.times[0], *self.carried.values()) if self.carried else self.times[0]


@dataclass(frozen=True, eq=False)
class ItemColumns(Collection[tuple[str, ...]]):
    """Item ids of S sessions in columns, in memory or on disk: 4 bytes a click and 8 a session.

    Iterating yields each session's items; a few thousand sessions are in memory at a time.

    Parameters
    ----------
    names
        Item ids.
    codes
        Positions in `names` of all N clicks, one session after another (N,).
    offsets
        Boundaries of the sessions (S + 1,).

    >>> list(ItemColumns(("hat", "shoe"), np.array([1, 0, 1]), np.array([0, 2, 3])))
    [('shoe', 'hat'), ('shoe',)]
    """

    names: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    @property
    def clicks(self) -> int:
        """Return the number of clicks in all sessions."""
        return len(self.codes)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        for row in range(0, len(self), ROWS_AT_ONCE):
            offsets = self.offsets[row : row + ROWS_AT_ONCE + 1].tolist()
            codes = self.codes[offsets[0] : offsets[-1]].tolist()
            items = [self.names[code] for code in codes]
            for start, end in pairwise(offsets):
                yield tuple(items[start - offsets[0] : end - offsets[0]])

    def __contains__(self, items: object) -> bool:
        return any(found == items for found in self)


@dataclass(frozen=True, slots=True)
class Target:
    """A scored click, the items of its session before it, and the session's key."""

    prefix: tuple[str, ...]
    item: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Ranked items with their scores, best first.

    `fallback` is true where no item of the session is known: then these are the most frequent items
    of the last block, with score 0.
    """

    version: int
    fallback: bool
    items: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Prequential counts: integers, so that their sums are exact.

    Parameters
    ----------
    targets
        Clicks that were scored.
    hits10, hits20
        Targets ranked among the first 10 and 20.
    reciprocal10, reciprocal20
        Sums of 1 / (rank + 1) over those hits, in units of `RECIPROCAL_UNIT`.
    unknown
        Clicks on items that the scoring version did not know.
    """

    targets: int = 0
    hits10: int = 0
    hits20: int = 0
    reciprocal10: int = 0
    reciprocal20: int = 0
    unknown: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.targets + other.targets,
            self.hits10 + other.hits10,
            self.hits20 + other.hits20,
            self.reciprocal10 + other.reciprocal10,
            self.reciprocal20 + other.reciprocal20,
            self.unknown + other.unknown,
        )

    def percentages(self) -> dict[str, float]:
        """Return recall and MRR at 10 and 20 in percent, as in the paper; empty without targets."""
        if not self.targets:
            return {}
        return {
            "recall@10": percent(self.hits10, self.targets),
            "recall@20": percent(self.hits20, self.targets),
            "mrr@10": percent(self.reciprocal10 / RECIPROCAL_UNIT, self.targets),
            "mrr@20": percent(self.reciprocal20 / RECIPROCAL_UNIT, self.targets),
        }


def percent(part: float, whole: int) -> float:
    """Return a part of a whole in percent.

    >>> percent(3, 4)
    75.0
    """
    return 100 * (part / whole)


RECIPROCAL_UNIT = 232_792_560
"""lcm(1 … 20): every 1 / (rank + 1) for rank < 20 is a whole number of these units."""
