"""How the sessions that came out differ from those that were expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.integration.system import SessionRow


@dataclass
class Differences:
    """Sessions by their identity: key, block, first time.

    Parameters
    ----------
    expected
        How many there are to be.
    lost, doubled, wrong
        Those that are not there, there more than once, or other than expected.
    """

    expected: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether every session is there once, as expected."""
        return not (self.lost or self.doubled or self.wrong)


def compare(expected: Sequence[SessionRow], found: Sequence[SessionRow]) -> Differences:
    """Count what differs."""
    wanted = {identity(row): row for row in expected}
    times = Counter(map(identity, found))
    return Differences(
        expected=len(wanted),
        lost=len(wanted.keys() - times.keys()),
        doubled=sum(count - 1 for count in times.values()),
        wrong=sum(wanted.get(identity(row)) != row for row in found),
    )


def identity(row: SessionRow) -> tuple[str, int, int]:
    """What tells a session from every other."""
    return row.key, row.block, row.first_time
