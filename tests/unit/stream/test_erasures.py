from __future__ import annotations

from ader_stream.stream.control import Command
from ader_stream.stream.forgetting import Forgotten, forget_request, key_hash
from ader_stream.stream.sessions.block_feed import TrainingBlock
from ader_stream.stream.sessions.columns import SessionColumns
from ader_stream.types import Session


def asked(*keys: str, at: int = 1_000) -> list[Command]:
    commands: list[Command] = []
    for key in keys:
        commands.append(forget_request(key, commands, at))
    return commands


def test_what_began_before_the_request_is_covered_and_nothing_else() -> None:
    forgotten = Forgotten.of(asked("a", "b"))
    assert forgotten.covers("a", 0)
    assert forgotten.covers("b", 1_000)
    assert not forgotten.covers("b", 1_001)
    assert not forgotten.covers("c", 0)


def test_asking_again_covers_more() -> None:
    first = asked("a")
    again = forget_request("a", first, at=2_000)
    assert again.key == first[0].key
    assert Forgotten.of([*first, again]).covers("a", 2_000)


def test_the_key_is_not_in_the_request_and_its_hash_differs_from_cluster_to_cluster() -> None:
    [here], [there] = asked("visit-1"), asked("visit-1")
    assert here.key_hash != there.key_hash
    assert "visit-1" not in str(here)
    assert here.salt and here.key_hash == key_hash("visit-1", here.salt)


def test_one_salt_serves_all_requests() -> None:
    assert len({command.salt for command in asked("a", "b", "c")}) == 1


def test_nothing_was_asked_before_the_first_request() -> None:
    assert not Forgotten.of([Command("pin", 1), Command("unpin")])
    assert not Forgotten().covers("a", 0)


def test_a_block_is_trained_without_the_sessions_that_are_forgotten() -> None:
    sessions = tuple(Session(key, ("x",), (time,)) for key, time in (("a", 5), ("b", 6), ("a", 9)))
    block = TrainingBlock((0,), SessionColumns.of(sessions), {}, {})
    kept = block.without(Forgotten.of(asked("a", at=8)))
    assert list(kept.sessions.keys()) == ["b", "a"]
    assert kept.sessions.first.tolist() == [6, 9]
    assert list(kept.sessions.items) == [("x",)] * 2
    assert block.without(Forgotten()) is block
    assert (kept.skipped, kept.without(Forgotten.of(asked("b"))).skipped) == (1, 2)


def test_a_click_that_came_late_happened_when_it_happened() -> None:
    late = Session("a", ("x", "y"), (500, 510), carried={1: 90})
    block = TrainingBlock((0,), SessionColumns.of([late]), {}, {})
    assert block.without(Forgotten.of(asked("a", at=89))) is block
    assert len(block.without(Forgotten.of(asked("a", at=90))).sessions) == 0
