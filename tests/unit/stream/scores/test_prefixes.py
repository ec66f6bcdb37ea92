from __future__ import annotations

import json
from typing import Any

from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.scores.sessionizer_decisions import LoggedDecision
from ader_stream.stream.sessions.outputs import IdleAdvance
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.types import BlockRule, IntakeRule, SessionRule
from tests.fakes import FakeRecord

GAP = 100
INTAKE = IntakeRule(max_jump=10_000, confirmations=1, max_event_ids=2)


def follower(lateness: int = 0, erasures: Erasures | None = None) -> PrefixFollower:
    rules = BlockRule(0, 1000), SessionRule(GAP, lateness), INTAKE
    applying = PartitionErasures(Erasures() if erasures is None else erasures, 0, "id")
    return PrefixFollower(ClickDecoder(ClickFormat(event_id="id")), *rules, applying)


def log(*clicks: tuple[str, str, int]) -> list[FakeRecord]:
    """Clicks (session, item, time) from offset 0 on."""
    return [
        FakeRecord(json.dumps({"session": s, "item": i, "time": t}).encode(), offset=offset)
        for offset, (s, i, t) in enumerate(clicks)
    ]


def heartbeat(watermark: int, offset: int) -> FakeRecord:
    headers = [(WATERMARK_HEADER, str(watermark).encode())]
    return FakeRecord(headers=headers, offset=offset)


def joined(follower: PrefixFollower, records: list[FakeRecord]) -> list[tuple[int, list[str]]]:
    """Offset, and the session's items up to the click that has joined."""
    return [(click.offset, [*click.items]) for click in follower.observe(records)]


def test_each_click_comes_with_its_session_as_it_joins() -> None:
    records = log(("a", "x", 10), ("b", "y", 20), ("a", "z", 30))
    assert joined(follower(), records) == [(0, ["x"]), (1, ["y"]), (2, ["x", "z"])]


def test_a_click_between_others_comes_with_its_place() -> None:
    records = log(("a", "x", 10), ("a", "z", 30), ("a", "y", 20))
    assert joined(follower(lateness=50), records)[-1] == (2, ["x", "y"])


def test_what_the_sessionizer_refuses_is_passed_over() -> None:
    poison = [FakeRecord(b"{", offset=0), FakeRecord(headers=[(WATERMARK_HEADER, b"x")], offset=1)]
    records = [*poison, FakeRecord(b'{"session": "a", "item": "x", "time": 1}', offset=2)]
    assert [offset for offset, _ in joined(follower(), records)] == [2]


def test_a_heartbeat_closes_sessions_and_blocks() -> None:
    following = follower()
    joined(following, [*log(("a", "x", 10)), heartbeat(1000, 1)])
    assert (following.items_of("a"), following.open_block) == (None, 1)


def test_the_newest_open_session_of_a_key_answers() -> None:
    following = follower(lateness=500)
    joined(following, log(("a", "x", 10), ("a", "y", 300)))
    assert following.items_of("a") == ("y",)
    assert following.items_of("b") is None


def test_before_the_first_commit_reading_starts_where_it_was_asked_to() -> None:
    following = follower()
    assert following.resume("", 7) == 7
    assert following.open_block is None


def test_with_nothing_open_reading_continues_where_it_was() -> None:
    following, again = follower(), follower()
    joined(following, [*log(("a", "x", 10)), heartbeat(1500, 1)])
    assert again.resume(following.metadata(), 2) == 2
    assert again.open_block == 1
    assert joined(
        again, [FakeRecord(b'{"session": "a", "item": "y", "time": 1200}', offset=2)]
    ) == [(2, ["y"])]
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


def test_a_held_click_joins_at_the_record_that_confirms_it() -> None:
    following = follower()
    assert joined(following, log(("a", "x", 10), ("b", "y", 50_000))) == [(0, ["x"])]
    confirmed = FakeRecord(b'{"session": "c", "item": "z", "time": 50001}', offset=2)
    assert joined(following, [confirmed]) == [(2, ["y"]), (2, ["z"])]


def test_a_new_owner_knows_what_is_held() -> None:
    records = log(("a", "x", 10), ("b", "y", 50_000), ("a", "w", 20), ("c", "z", 50_001))
    following, again = follower(), follower()
    joined(following, records[:3])
    place = again.resume(following.metadata(), 3)
    joined(again, records[place:3])
    assert joined(again, records[3:]) == joined(following, records[3:]) == [(3, ["y"]), (3, ["z"])]


# --- where the partition is idle


def follow(following: PrefixFollower, *advances: tuple[int, int]) -> None:
    """Tell advances (next offset, watermark), each logged at ten times its next offset."""
    logged = [LoggedDecision(IdleAdvance(*one), 10 * one[0]) for one in advances]
    following.follow(logged, logged[-1].offset + 1)


def test_what_the_sessionizer_closes_on_an_idle_partition_is_closed_here_too() -> None:
    following = follower()
    joined(following, log(("a", "x", 10)))
    follow(following, (1, 1500))
    assert (following.items_of("a"), following.open_block) == (None, 1)


def test_an_advance_comes_before_the_click_of_its_offset_and_after_the_one_before() -> None:
    following = follower()
    follow(following, (2, 1500))
    records = log(("a", "x", 10), ("a", "y", 20), ("a", "z", 30))
    assert joined(following, records) == [(0, ["x"]), (1, ["x", "y"]), (2, ["z"])]
    assert following.open_block == 1


def test_an_advance_that_is_heard_of_late_is_followed_then() -> None:
    following = follower()
    joined(following, log(("a", "x", 10), ("a", "y", 20)))
    follow(following, (1, 1500))
    assert (following.items_of("a"), following.open_block) == (None, 1)


def test_a_held_click_that_an_advance_takes_joins_with_the_next_record() -> None:
    following, again = follower(), follower()
    records = log(("a", "x", 10), ("b", "y", 50_000), ("b", "z", 50_010))
    joined(following, records[:2])
    follow(following, (2, 49_000))
    assert joined(following, records[2:]) == [(2, ["y"]), (2, ["y", "z"])]
    place = again.resume(following.metadata(), 3)
    follow(again, (2, 49_000))
    joined(again, records[place:])
    assert again.items_of("b") == following.items_of("b") == ("y", "z")


def test_a_new_owner_hears_the_advances_that_it_needs_again() -> None:
    following, again = follower(lateness=500), follower(lateness=500)
    records = log(("a", "x", 10), ("b", "y", 450), ("b", "z", 460))
    joined(following, records[:1])
    follow(following, (1, -40))
    joined(following, records[1:])
    follow(following, (3, 300))
    again.resume(following.metadata(), 3)
    assert (again.advances_from, following.items_of("a")) == (30, None)


def test_a_new_owner_carries_a_late_click_to_where_an_advance_had_brought_the_watermark() -> None:
    records = log(("a", "x", 100), ("b", "y", 50), ("c", "z", 199), ("c", "w", 280))
    following, again = follower(), follower()
    joined(following, records[:1])
    follow(following, (1, 190))
    joined(following, records[1:3])
    place = again.resume(following.metadata(), 3)
    assert (place, again.advances_from) == (0, 10)
    follow(again, (1, 190))
    joined(again, records[place:])
    assert again.items_of("b") == ("y",)


def identified(*clicks: tuple[str, int, str | None]) -> list[FakeRecord]:
    """Clicks (session, time, event id) from offset 0 on."""
    values = [{"session": s, "item": f"{e}", "time": t, "id": e} for s, t, e in clicks]
    return [FakeRecord(json.dumps(v).encode(), offset=at) for at, v in enumerate(values)]


def test_a_new_owner_knows_the_duplicates() -> None:
    """The second x was known from before the only open session began."""
    records = identified(
        ("a", 10, "x"), ("b", 20, "y"), ("c", 490, None), ("c", 500, "x"), ("c", 510, "y")
    )
    following, again = follower(), follower()
    for record in records[:4]:
        joined(following, [record])
    place = again.resume(following.metadata(), 4)
    assert place == 0
    joined(again, records[place:4])
    assert joined(again, records[4:]) == joined(following, records[4:]) == []
    assert again.items_of("c") == following.items_of("c") == ("None",)


def ask(erasures: Erasures, key: str, **request: Any) -> None:
    erasures.take(erasure_request(key, erasures, **request), erasures.next_offset)


def test_a_late_click_of_an_erased_key_answers_no_more_where_times_decide() -> None:
    following = follower(erasures=(erasures := Erasures()))
    joined(following, log(("a", "x", 300), ("b", "y", 600)))
    ask(erasures, "a", at=400)
    following.erase()
    assert following.take_erased() == []  # its session had closed
    [late] = log(("a", "z", 350))
    [click] = following.observe([FakeRecord(late.value(), offset=2)])
    assert (click.last, click.began) == (600, 350)
    assert following.is_erased(click)
    assert following.items_of("a") is None
    ask(erasures, "c")
    following.erase()
    assert following.take_erased() == ["a"]


def test_who_comes_back_after_the_request_is_a_new_visitor() -> None:
    by_time, by_offset = Erasures(), Erasures()
    ask(by_time, "a", at=400)
    ask(by_offset, "a", clicks_end=(0,), clicks_id="id")
    for erasures in (by_time, by_offset):
        following = follower(erasures=erasures)
        joined(following, log(("a", "x", 401)))
        following.erase()
        assert following.items_of("a") == ("x",)


def test_a_session_is_erased_by_where_it_begins_whatever_its_clock_says() -> None:
    records = log(("a", "x", 5_000_000), ("b", "y", 5_000_010), ("a", "z", 5_000_020))
    following = follower(erasures=(erasures := Erasures()))
    joined(following, records[:2])
    ask(erasures, "a", clicks_end=(2,), clicks_id="id")
    assert following.items_of("a") is None  # at once, be it open still
    assert joined(following, records[2:]) == [(2, ["z"])]
    assert following.take_erased() == ["a"]
    assert (following.items_of("a"), following.items_of("b")) == (("z",), ("y",))


def test_a_new_owner_erases_what_it_reads_again() -> None:
    records = log(("a", "x", 10), ("b", "y", 20), ("b", "z", 30))
    following = follower()
    joined(following, records)
    ask(erasures := Erasures(), "a", clicks_end=(2,), clicks_id="id")
    again = follower(erasures=erasures)
    assert again.resume(following.metadata(), 3) == 0
    joined(again, records)
    again.erase()
    assert (again.items_of("a"), again.items_of("b")) == (None, ("y", "z"))
