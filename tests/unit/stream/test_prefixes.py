from __future__ import annotations

import json

from ader_stream.stream.clicks import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.prefixes import PrefixFollower
from ader_stream.types import BlockRule, SessionRule
from tests.fakes import FakeRecord

GAP = 100


def follower(lateness: int = 0) -> PrefixFollower:
    return PrefixFollower(
        ClickDecoder(ClickFormat()), BlockRule(0, 1000), SessionRule(GAP, lateness)
    )


def log(*clicks: tuple[str, str, int]) -> list[FakeRecord]:
    """Clicks (session, item, time) from offset 0 on."""
    return [
        FakeRecord(json.dumps({"session": s, "item": i, "time": t}).encode(), offset=offset)
        for offset, (s, i, t) in enumerate(clicks)
    ]


def heartbeat(watermark: int, offset: int) -> FakeRecord:
    headers = [(WATERMARK_HEADER, str(watermark).encode())]
    return FakeRecord(headers=headers, offset=offset)


def joined(follower: PrefixFollower, records: list[FakeRecord]) -> list[tuple[int, list[str], int]]:
    """Offset, the session's items as they were then, the click's position."""
    return [
        (record.offset(), [click.item for click in session.clicks], position)
        for record, session, position in follower.observe(records)
    ]


def test_each_click_comes_with_its_session_as_it_joins() -> None:
    records = log(("a", "x", 10), ("b", "y", 20), ("a", "z", 30))
    assert joined(follower(), records) == [(0, ["x"], 0), (1, ["y"], 0), (2, ["x", "z"], 1)]


def test_a_click_between_others_comes_with_its_place() -> None:
    records = log(("a", "x", 10), ("a", "z", 30), ("a", "y", 20))
    assert joined(follower(lateness=50), records)[-1] == (2, ["x", "y", "z"], 1)


def test_what_the_sessionizer_refuses_is_passed_over() -> None:
    poison = [FakeRecord(b"{", offset=0), FakeRecord(headers=[(WATERMARK_HEADER, b"x")], offset=1)]
    records = [*poison, FakeRecord(b'{"session": "a", "item": "x", "time": 1}', offset=2)]
    assert [offset for offset, _, _ in joined(follower(), records)] == [2]


def test_a_heartbeat_closes_sessions_and_blocks() -> None:
    following = follower()
    joined(following, [*log(("a", "x", 10)), heartbeat(1000, 1)])
    assert (following.items_of("a"), following.open_block) == (None, 1)


def test_the_newest_open_session_of_a_key_answers() -> None:
    following = follower(lateness=500)
    joined(following, log(("a", "x", 10), ("a", "y", 300)))
    assert following.items_of("a") == ("y",)
    assert following.items_of("b") is None


def test_before_the_first_commit_reading_starts_where_it_is_told_to() -> None:
    following = follower()
    assert following.resume("", 7) == 7
    assert following.open_block is None


def test_with_nothing_open_reading_goes_on_where_it_was() -> None:
    following, again = follower(), follower()
    joined(following, [*log(("a", "x", 10)), heartbeat(1500, 1)])
    assert again.resume(following.metadata(), 2) == 2
    assert again.open_block == 1
    assert joined(
        again, [FakeRecord(b'{"session": "a", "item": "y", "time": 1200}', offset=2)]
    ) == [(2, ["y"], 0)]
    assert again.metadata() != following.metadata()


def test_a_new_owner_reads_from_the_oldest_open_session_on() -> None:
    records = log(("a", "x", 10), ("b", "y", 200), ("c", "z", 250), ("b", "w", 280))
    following, again = follower(), follower()
    joined(following, records)
    place = again.resume(following.metadata(), len(records))
    assert place == 1
    joined(again, records[place:])
    assert again.items_of("b") == ("y", "w")
    assert again.items_of("a") is None
    assert again.metadata() == following.metadata()


def test_a_new_owner_gives_a_click_to_the_same_one_of_two_open_sessions() -> None:
    """z belongs to the session of v and w; without them it would be carried to that of y."""
    before = (("a", "v", 200), ("a", "w", 300), ("a", "y", 450), ("b", "b", 590), ("a", "z", 250))
    records = log(*before, ("b", "c", 640))
    following, again = follower(lateness=200), follower(lateness=200)
    joined(following, records)
    joined(again, records[again.resume(following.metadata(), len(records)) :])
    assert again.items_of("a") == following.items_of("a") == ("y",)
