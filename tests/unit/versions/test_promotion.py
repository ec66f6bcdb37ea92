from __future__ import annotations

import pytest

from ader_stream.errors import NotBetterError
from ader_stream.paired import GROUPS, NO_PAIRED_CLICKS, Pair, PairedCounts, Sums
from ader_stream.versions.promotion import LOOK_SECONDS, wait_until_better

PAIR = Pair(stable=3, canary=5)


def counts(hits: int) -> PairedCounts:
    """Sums of a canary that has so many hits more in each group."""
    differences = tuple(Sums(100, hits + group % 2, 0) for group in range(GROUPS))
    return PairedCounts(Sums(100 * GROUPS, 20, 20), differences)


UNDECIDED = PairedCounts(
    Sums(100 * GROUPS, 20, 20), tuple(Sums(100, 9 * (-1) ** group, 0) for group in range(GROUPS))
)


class Looks:
    """Shows one of these sums after the other; the clock moves only in sleep."""

    def __init__(self, *found: PairedCounts) -> None:
        self._found = [*found]
        self.slept: list[float] = []

    def wait(self, seconds: float = 0.0) -> tuple[Pair, PairedCounts]:
        return wait_until_better(
            lambda: (PAIR, self._found.pop(0)),
            1_000,
            seconds,
            lambda: sum(self.slept),
            self.slept.append,
        )


def test_what_is_better_is_returned_with_what_was_measured() -> None:
    assert Looks(counts(10)).wait() == (PAIR, counts(10))


def test_without_time_to_wait_it_is_looked_at_once() -> None:
    looks = Looks(NO_PAIRED_CLICKS)
    with pytest.raises(NotBetterError, match=r"version 5 is not promoted; minus version 3 .* 0 cl"):
        looks.wait()
    assert looks.slept == []


def test_what_is_not_decided_is_looked_at_again_until_the_time_is_up() -> None:
    looks = Looks(NO_PAIRED_CLICKS, UNDECIDED, counts(10))
    assert looks.wait(60) == (PAIR, counts(10))
    assert looks.slept == [LOOK_SECONDS, LOOK_SECONDS]
    looks = Looks(*[UNDECIDED] * 3)
    with pytest.raises(NotBetterError, match="--wait"):
        looks.wait(LOOK_SECONDS + 1)
    assert looks.slept == [LOOK_SECONDS, 1]


def test_what_is_worse_is_not_waited_for() -> None:
    looks = Looks(NO_PAIRED_CLICKS, counts(-10))
    with pytest.raises(NotBetterError, match=r"Recall@20 -9\.50 .*: it is worse"):
        looks.wait(3_600)
    assert looks.slept == [LOOK_SECONDS]
