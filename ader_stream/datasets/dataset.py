"""Protocol of a data set: a name, and clicks block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from ader_stream.errors import DatasetError
from ader_stream.types import Click


class Block(NamedTuple):
    """The clicks of one block, in time order."""

    number: int
    clicks: Sequence[Click]


class Dataset(Protocol):
    """Recorded or simulated clicks."""

    @property
    def name(self) -> str:
        """Return the name in reports."""

    @property
    def simulated(self) -> bool:
        """Return whether the clicks are simulated."""

    @property
    def fingerprint(self) -> str | None:
        """Return the SHA-256 that identifies a published data set; None for others."""

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in ascending order; one is in memory at a time, empty ones are left out.

        Raises
        ------
        DatasetError
            A file is missing or malformed.
        SettingsError
            Gap or block length cannot hold the clicks.
        """


class Extent(NamedTuple):
    """Number of clicks in a data set, and the times of its first and last click (ms)."""

    clicks: int
    first_time: int
    last_time: int


def read_through(dataset: Dataset, blocks: int | None = None) -> Extent:
    """Read the first blocks (by default all) to their end, and return their extent.

    All errors of reading are raised here, before the first click is sent anywhere.
    """
    parts = [
        Extent(len(clicks), clicks[0].time, clicks[-1].time)
        for _, clicks in islice(dataset.blocks(), blocks)
        if clicks
    ]
    if not parts:
        raise DatasetError(f"{dataset.name}: holds no click; expected one a row")
    return Extent(sum(part.clicks for part in parts), parts[0].first_time, parts[-1].last_time)
