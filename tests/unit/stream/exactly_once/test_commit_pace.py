from __future__ import annotations

import pytest

from ader_stream.stream.exactly_once.commit_pace import CommitPace
from tests.fakes import Clock


@pytest.fixture
def pace(clock: Clock) -> CommitPace:
    return CommitPace(interval=200, most_left=10, clock=clock)


def test_commits_come_an_interval_apart(pace: CommitPace, clock: Clock) -> None:
    clock.seconds += 0.19
    assert not pace.is_due(left=0)
    assert pace.seconds_to_next() == pytest.approx(0.01)
    clock.seconds += 0.02
    assert pace.is_due(left=10)
    assert pace.seconds_to_next() < 0
    pace.note_commit()
    assert not pace.is_due(left=0)
    assert pace.seconds_to_next() == pytest.approx(0.2)


def test_a_worker_that_is_behind_commits_less_often(pace: CommitPace, clock: Clock) -> None:
    clock.seconds += 1.99
    assert not pace.is_due(left=11)
    clock.seconds += 0.02
    assert pace.is_due(left=11)


def test_a_commit_that_was_put_off_comes_once_the_worker_has_caught_up(
    pace: CommitPace, clock: Clock
) -> None:
    clock.seconds += 0.5
    assert not pace.is_due(left=11)
    assert pace.is_due(left=10)
