"""What everyone speaks: clicks, sessions, block rules, and what an update cycle reports.

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
"""Sessions that are taken from columns at a time."""

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

``content`` is what all hashes confirm and no model can be made of.
"""


class Click(NamedTuple):
    """One click as the user's topic tells it; a tuple, because one is made for each record.

    Parameters
    ----------
    key
        Session key: a session id, or a user id where sessions are (user, inactivity gap).
    item
        Item id; integers are kept as their decimal string.
    time
        Event time in ms.
    event_id
        Identifies the event where the pipeline has such an id.
    extra
        Fields that pass through untouched, each as JSON text.
    """

    key: str
    item: str
    time: int
    event_id: str | None = None
    extra: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BlockChange:
    """From a block on, blocks end where another grid has its lines.

    Parameters
    ----------
    first_block
        The first block that does: it begins where the one before ends, be that between two lines.
    start
        Event time (ms) at which it begins.
    origin, length
        Of the grid, ms: its lines are ``origin + n·length``.
    """

    first_block: int
    start: int
    origin: int
    length: int

    def block_of(self, time: int) -> int:
        """The block that holds an event time (ms) from `start` on."""
        return self.first_block + self._line_before(time) - self._line_before(self.start)

    def start_of(self, block: int) -> int:
        """The first event time (ms) of a block from `first_block` on."""
        if block == self.first_block:
            return self.start
        line = self._line_before(self.start) + block - self.first_block
        return self.origin + line * self.length

    def _line_before(self, time: int) -> int:
        return (time - self.origin) // self.length


@dataclass(frozen=True, slots=True)
class BlockRule:
    """Block n holds event times ``[origin + n·length, origin + (n+1)·length)``, up to a change.

    A change keeps the numbers of the blocks before it, and the numbers after it go on from there:
    none is given twice.

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
        """Every grid alone, the newest one last."""
        changed = [BlockRule(change.origin, change.length) for change in self.changes]
        return [BlockRule(self.origin, self.length), *changed]

    @property
    def grid(self) -> BlockRule:
        """The newest grid alone."""
        return self.grids[-1]

    def grid_of(self, block: int) -> BlockRule:
        """The grid, alone, by which a block ends."""
        is_changed = [block >= change.first_block for change in self.changes]
        return self.grids[sum(is_changed)]

    def block_of(self, time: int) -> int:
        """The block that holds an event time (ms)."""
        for change in reversed(self.changes):
            if time >= change.start:
                return change.block_of(time)
        return (time - self.origin) // self.length

    def start(self, block: int) -> int:
        """The first event time (ms) of a block; also the end of the one before."""
        for change in reversed(self.changes):
            if block >= change.first_block:
                return change.start_of(block)
        return self.origin + block * self.length

    def length_of(self, block: int) -> int:
        """Event time (ms) in a block."""
        return self.start(block + 1) - self.start(block)

    def changed(self, first_block: int, origin: int, length: int) -> BlockRule:
        """Return the same rule up to a block, and another grid from its start on.

        A change that was to come there, or later, comes to nothing.
        """
        kept = tuple(change for change in self.changes if change.first_block < first_block)
        change = BlockChange(first_block, self.start(first_block), origin, length)
        return BlockRule(self.origin, self.length, (*kept, change))


CLICK_BYTES = 32
"""What a click counts in its session beside its item id and extra fields, as UTF-8: its times,
lengths and places, at most."""


@dataclass(frozen=True, slots=True)
class SessionRule:
    """How clicks become sessions.

    Parameters
    ----------
    gap
        Two neighbours in a session are at most this far apart, ms.
    lateness
        The watermark is the highest event time so far less this, ms.
    late
        ``carry`` moves a late click to the watermark, ``dead-letter`` refuses it.
    max_clicks, max_age
        A session closes as soon as it has so many clicks, or spans so many ms.
    max_open
        Sessions of a partition that may be open: above it, the oldest closes.
    max_bytes
        Open sessions of a key may have so many bytes together, as `CLICK_BYTES` counts them: from
        there on, the earliest closes.
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
    """Which clicks of a partition's log are taken.

    Parameters
    ----------
    max_jump
        A click that would move the stream time on by more than this, ms, and that was written more
        than this after its event time, is quarantined until others confirm it; 0 for no limit.
    confirmations
        So many other keys must have clicks at most `max_jump` away from it.
    held_offsets
        After so many offsets of the log it is taken, or refused if other keys contradict it.
    event_ids
        Ids that are remembered, to remove duplicates by.
    max_ahead
        A click more than this, ms, ahead of its record's timestamp is refused; 0 for no limit.
    max_behind
        A click more than this, ms, behind the stream time is refused; 0 for no limit.
    """

    max_jump: int = 30 * MINUTE_MS
    confirmations: int = 3
    held_offsets: int = 100
    event_ids: int = 100_000
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
        Position → the click's fields that pass through untouched.
    erased_to
        Offset of the control topic: requests to erase a key below it do not cover the session.
    """

    key: str
    items: tuple[str, ...]
    times: tuple[int, ...]
    carried: Mapping[int, int] = field(default_factory=dict)
    extra: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    erased_to: int = 0

    @property
    def began(self) -> int:
        """When the earliest click happened (ms): before its effective time, where it came late."""
        return min(self.times[0], *self.carried.values()) if self.carried else self.times[0]


@dataclass(frozen=True, eq=False)
class ItemColumns(Collection[tuple[str, ...]]):
    """Item ids of S sessions, in columns: 4 bytes a click and 8 a session, wherever they lie.

    Going through it yields each session's items; a few thousand sessions are in memory at a time.

    Parameters
    ----------
    names
        Item ids.
    codes
        Positions in `names` of all N clicks, the sessions end to end (N,).
    offsets
        Between sessions (S + 1,).

    >>> list(ItemColumns(("hat", "shoe"), np.array([1, 0, 1]), np.array([0, 2, 3])))
    [('shoe', 'hat'), ('shoe',)]
    """

    names: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    @property
    def clicks(self) -> int:
        """Clicks of all sessions."""
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
    """A click that is scored, the items of its session before it, and the session's key."""

    prefix: tuple[str, ...]
    item: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Ranked items with their scores, best first.

    `fallback` is true where no item of the session is known: the last block's most frequent items,
    with score 0.
    """

    version: int
    fallback: bool
    items: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Prequential counts: sums of them are exact, so a crash changes none.

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
        """Recall and MRR at 10 and 20 in percent, as in the paper; empty without a target."""
        if not self.targets:
            return {}
        share = 100 / self.targets
        return {
            "recall@10": self.hits10 * share,
            "recall@20": self.hits20 * share,
            "mrr@10": self.reciprocal10 / RECIPROCAL_UNIT * share,
            "mrr@20": self.reciprocal20 / RECIPROCAL_UNIT * share,
        }


RECIPROCAL_UNIT = 232_792_560
"""lcm(1 … 20): every 1 / (rank + 1) for rank < 20 is a whole number of these units."""
