"""Readiness says whether the last commit happened, health whether any has for long."""

from __future__ import annotations

import pytest

from ader_stream.stream.exactly_once.commit_health import CommitHealth
from tests.fakes import Clock

LIMIT = 60.0


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def commits(clock: Clock, failures: list[str]) -> CommitHealth:
    return CommitHealth(10.0, failures.append, clock, wall_clock=lambda: 1_000.0)


def test_who_has_nothing_to_commit_is_well_for_ever(commits: CommitHealth, clock: Clock) -> None:
    clock.seconds += 10 * LIMIT

    assert (commits.not_ready(), commits.not_healthy(LIMIT)) == ("", "")
    assert (commits.waiting_seconds, commits.last_commit) == (0.0, 0.0)


def test_a_commit_that_is_under_way_is_no_failure(commits: CommitHealth, clock: Clock) -> None:
    commits.note_due()
    clock.seconds += 9

    assert commits.not_ready() == ""
    assert commits.waiting_seconds == 9


def test_a_commit_that_hangs_is_reported(commits: CommitHealth, clock: Clock) -> None:
    commits.note_due()
    clock.seconds += 11

    assert commits.not_ready() == "a commit has taken 11 s so far"


def test_a_commit_that_failed_is_reported_at_once_and_counted(
    commits: CommitHealth, failures: list[str]
) -> None:
    commits.note_failure("_TIMED_OUT", "the broker is silent")

    assert commits.not_ready() == "cannot commit: the broker is silent"
    assert failures == ["_TIMED_OUT"]


def test_health_fails_when_nothing_was_committed_for_long(
    commits: CommitHealth, clock: Clock
) -> None:
    commits.note_due()
    clock.seconds += LIMIT
    commits.note_failure("_TIMED_OUT", "the broker is silent")
    assert commits.not_healthy(LIMIT) == ""

    clock.seconds += 1

    said = commits.not_healthy(LIMIT)
    assert said == "nothing could be committed for 61 s: the broker is silent"


@pytest.mark.parametrize("ends", ["note_commit", "note_nothing_due"])
def test_a_commit_makes_all_well_again(commits: CommitHealth, clock: Clock, ends: str) -> None:
    commits.note_failure("_TIMED_OUT", "the broker is silent")
    clock.seconds += 2 * LIMIT

    getattr(commits, ends)()

    assert (commits.not_ready(), commits.not_healthy(LIMIT), commits.waiting_seconds) == ("", "", 0)
    assert commits.last_commit == (1_000.0 if ends == "note_commit" else 0.0)


def test_an_obstacle_is_reported_and_not_counted(
    commits: CommitHealth, failures: list[str]
) -> None:
    commits.note_obstacle("a right lacks")

    assert commits.not_ready() == "cannot commit: a right lacks"
    assert failures == []
