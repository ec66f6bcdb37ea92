"""What every data set is: a name, and clicks block by block."""

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
        """What reports call it."""

    @property
    def simulated(self) -> bool:
        """Whether nobody ever clicked this."""

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 by which a published data set is recognised; None where there is none."""

    def blocks(self) -> Iterator[Block]:
        """Read block after block, ascending; one is in memory at a time, empty ones are left out.

        Raises
        ------
        DatasetError
            A file is missing or malformed.
        SettingsError
            Gap or block length cannot hold the clicks.
        """


class Extent(NamedTuple):
    """How many clicks a data set has, and when the first and the last of them happened (ms)."""

    clicks: int
    first_time: int
    last_time: int


def read_through(dataset: Dataset, blocks: int | None = None) -> Extent:
    """Read the first blocks (all of them by default) through and return what they hold.

    Whatever reading raises is raised here, before the first click is sent anywhere.
    """
    parts = [
        Extent(len(clicks), clicks[0].time, clicks[-1].time)
        for _, clicks in islice(dataset.blocks(), blocks)
        if clicks
    ]
    if not parts:
        raise DatasetError(f"{dataset.name}: holds no click; expected one a row")
    return Extent(sum(part.clicks for part in parts), parts[0].first_time, parts[-1].last_time)
