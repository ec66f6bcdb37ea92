from __future__ import annotations

from dataclasses import replace

from ader_stream.stream.blocks.columns import SessionColumns
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.control.commands import Command
from ader_stream.stream.control.erasures import Erasures, erasure_request, key_hash
from ader_stream.types import Session


def asked(*keys: str, at: int = 1_000, clicks_end: tuple[int, ...] = ()) -> Erasures:
    erasures = Erasures()
    for offset, key in enumerate(keys):
        erasures.take(erasure_request(key, erasures, clicks_end, "id", at), offset)
    return erasures


def block_of(*sessions: Session) -> TrainingBlock:
    return TrainingBlock((0,), SessionColumns.of(sessions), {}, {})


# --- requests


def test_the_last_request_for_a_key_counts() -> None:
    erasures = asked("a", "b", "a", clicks_end=(4,))
    assert [found and found.offset for found in map(erasures.of, "abc")] == [2, 1, None]
    assert len(erasures) == 3


def test_the_key_is_not_in_the_request_and_its_hash_differs_from_cluster_to_cluster() -> None:
    here, there = (erasure_request("visit-1", Erasures()) for _ in range(2))
    assert here.key_hash != there.key_hash
    assert "visit-1" not in str(here)
    assert here.salt and here.key_hash == key_hash("visit-1", here.salt)


def test_one_salt_serves_all_requests() -> None:
    assert len(asked("a", "b", "c").salts) == 1


def test_requests_that_were_the_first_at_the_same_time_are_found_by_both_salts() -> None:
    erasures = Erasures()
    for offset, key in enumerate("ab"):
        erasures.take(erasure_request(key, Erasures()), offset)
    assert len(erasures.salts) == 2
    assert [found and found.offset for found in map(erasures.of, "abc")] == [0, 1, None]


def test_a_control_topic_that_is_read_again_adds_nothing() -> None:
    request, erasures = erasure_request("a", Erasures()), Erasures()
    for offset in (3, 7, 3, 7):
        erasures.take(request, offset)
    assert ([one.offset for one in erasures.since(0)], erasures.next_offset) == ([3, 7], 8)
    assert [one.offset for one in erasures.since(4)] == [7]


def test_other_commands_are_no_requests() -> None:
    erasures = Erasures()
    erasures.take(Command("pin", 1), 0)
    assert (len(erasures), erasures.of("a"), erasures.salts) == (0, None, ())


def test_a_partition_that_was_added_later_and_another_topic_have_nothing_to_erase() -> None:
    erasure = asked("a", clicks_end=(4, 5)).of("a")
    assert erasure
    assert [erasure.end_of(partition, "id") for partition in range(3)] == [4, 5, 0]
    assert erasure.end_of(0, "another") == 0


# --- what the trainer leaves out


def test_a_block_is_trained_without_what_was_written_before_its_partition_erased() -> None:
    """Whatever the clocks say: those of the sessions are in no order with the request's."""
    erasures = asked("x", "y", "a", at=8, clicks_end=(9,))
    closed = [
        Session(key, ("x",), (time,), erased_to=erased_to)
        for key, time, erased_to in (("a", 5, 0), ("a", 6_000, 2), ("a", 7, 3), ("b", 8, 0))
    ]
    block = block_of(*closed)
    kept = block.without(erasures)
    assert [(key, first) for key, first in zip(kept.sessions.keys(), [7, 8], strict=True)] == [
        ("a", 7),
        ("b", 8),
    ]
    assert kept.sessions.first.tolist() == [7, 8]
    assert kept.skipped == 2
    assert block.without(Erasures()) is block


def test_a_request_without_offsets_covers_what_happened_up_to_it() -> None:
    sessions = (Session(key, ("x",), (time,)) for key, time in (("a", 5), ("b", 6), ("a", 9)))
    kept = block_of(*sessions).without(asked("a", at=8))
    assert list(kept.sessions.keys()) == ["b", "a"]
    assert kept.sessions.first.tolist() == [6, 9]


def test_a_click_that_came_late_happened_when_it_happened() -> None:
    block = block_of(Session("a", ("x", "y"), (500, 510), carried={1: 90}))
    assert block.without(asked("a", at=89)) is block
    assert len(block.without(asked("a", at=90)).sessions) == 0


def test_a_request_that_comes_later_finds_what_is_left() -> None:
    erasures = asked("a", clicks_end=(9,))
    block = block_of(*(Session(key, ("x",), (0,)) for key in "abc")).without(erasures)
    assert block.without(erasures, since=1) is block
    erasures.take(erasure_request("c", erasures, (9,), "id"), 1)
    kept = block.without(erasures, since=1)
    assert (list(kept.sessions.keys()), kept.skipped) == (["b"], 2)


def test_earlier_blocks_that_are_trained_again_are_without_them_too() -> None:
    erasures = asked("a", clicks_end=(9,))
    earlier = block_of(*(Session(key, ("x",), (0,)) for key in "ab"))
    block = replace(block_of(Session("c", ("x",), (1,))), earlier=earlier)
    kept = block.without(erasures)
    assert kept.earlier
    assert list(kept.earlier.sessions.keys()) == ["b"]
    assert list(kept.sessions.keys()) == ["c"]
    assert (block.erased, kept.erased) == (0, 1)
    assert kept.without(erasures) is kept
    both = replace(earlier, earlier=earlier).without(erasures)
    assert both.earlier
    assert [len(each.sessions) for each in (both, both.earlier)] == [1, 1]


def test_the_keys_of_a_block_are_hashed_once_for_all_requests() -> None:
    erasures = asked("a", clicks_end=(9,))
    block = block_of(*(Session(key, ("x",), (0,)) for key in "bcd"))
    assert block.without(erasures) is block
    [hashed] = block.hashed.by_salt.values()
    erasures.take(erasure_request("e", erasures, (9,), "id"), 1)
    assert block.without(erasures, since=1) is block
    [again] = block.hashed.by_salt.values()
    assert again is hashed
