"""What every data set is: a name, and clicks block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

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


def count_clicks(dataset: Dataset, blocks: int | None = None) -> int:
    """Read the first blocks (all of them by default) through and count their clicks.

    Whatever reading raises is raised here, before the first click is sent anywhere.
    """
    return sum(len(block.clicks) for block in islice(dataset.blocks(), blocks))
