"""How long a worker insists on its name in the group."""

from __future__ import annotations

import pytest

from ader_stream.errors import NameInUseError
from ader_stream.stream.groups.membership import RELEASE_SECONDS, NameClaim
from tests.fakes import Clock

REFUSED = NameInUseError("taken; give each its own")


@pytest.fixture
def claim(clock: Clock) -> NameClaim:
    claim = NameClaim(clock)
    claim.note_joined()
    claim.note_refusal(REFUSED)
    return claim


def test_a_dead_members_name_is_asked_for_until_the_group_must_have_given_it_up(
    claim: NameClaim, clock: Clock
) -> None:
    clock.seconds = RELEASE_SECONDS
    claim.note_refusal(REFUSED)
    clock.seconds += 1
    with pytest.raises(NameInUseError):
        claim.note_refusal(REFUSED)


def test_a_name_that_is_taken_away_again_soon_after_it_was_given_is_anothers(
    claim: NameClaim, clock: Clock
) -> None:
    claim.note_joined()
    clock.seconds = RELEASE_SECONDS
    with pytest.raises(NameInUseError):
        claim.note_refusal(REFUSED)


def test_a_broker_that_comes_back_once_in_a_while_takes_no_worker_away(
    claim: NameClaim, clock: Clock
) -> None:
    for _ in range(3):
        claim.note_joined()
        clock.seconds += RELEASE_SECONDS + 1
        claim.note_refusal(REFUSED)
