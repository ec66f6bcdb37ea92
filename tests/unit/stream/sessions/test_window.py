from __future__ import annotations

import pytest

from ader_stream.errors import ClickError
from ader_stream.stream.sessions.open.session import OpenSession, ReplayPoint
from ader_stream.stream.sessions.outputs import BlockCounts, BlockEnd
from ader_stream.stream.sessions.window import SessionWindow, WindowState
from ader_stream.types import BlockRule, Click, SessionRule

BLOCKS = BlockRule(origin=0, length=1000)
GAP = 100

Output = tuple[str, int, list[int]] | int
"""A session as (key, block, times), or the number of a block that has ended."""


def window(lateness: int = 0, late: str = "carry", **bounds: int) -> SessionWindow:
    return SessionWindow(BLOCKS, SessionRule(GAP, lateness, late, **bounds))


def observe(window: SessionWindow, *clicks: tuple[str, int]) -> None:
    for offset, (key, time) in enumerate(clicks):
        window.observe(Click(key, f"at {time}", time), offset)


def output(window: SessionWindow) -> list[Output]:
    return [
        one.block if isinstance(one, BlockEnd) else (one.key, one.block, times(one))
        for one in window.take_output()
    ]


def times(session: OpenSession) -> list[int]:
    return session.times.tolist()


def test_neighbours_exactly_the_gap_apart_are_one_session() -> None:
    cut = window()
    observe(cut, ("a", 10), ("a", 10 + GAP), ("b", 10 + 2 * GAP))
    assert output(cut) == [-1]
    observe(cut, ("b", 10 + 2 * GAP + 1))
    assert output(cut) == [("a", 0, [10, 10 + GAP])]


def test_a_click_further_away_than_the_gap_begins_a_session() -> None:
    cut = window()
    observe(cut, ("a", 10), ("a", 10 + GAP + 1))
    assert output(cut) == [-1, ("a", 0, [10])]
    assert [times(session) for session in cut.sessions_of("a")] == [[10 + GAP + 1]]


def test_a_session_ends_with_its_block() -> None:
    cut = window()
    observe(cut, ("a", 990), ("a", 1010))
    assert output(cut) == [-1, ("a", 0, [990]), 0]


def test_the_first_record_ends_the_block_before_its_own() -> None:
    cut = window()
    observe(cut, ("a", 5100))
    assert output(cut) == [4]


def test_with_lateness_the_first_record_leaves_every_block_open_that_the_watermark_is_in() -> None:
    cut = window(lateness=200)
    observe(cut, ("a", 5100), ("b", 4950))
    assert output(cut) == [3]
    assert times(cut.sessions_of("b")[0]) == [4950]
    cut.advance(5000)
    assert output(cut) == [("b", 4, [4950]), 4]


def test_blocks_without_a_click_end_together() -> None:
    cut = window()
    observe(cut, ("a", 10), ("a", 3500))
    assert output(cut) == [-1, ("a", 0, [10]), 0, 2]


def test_a_first_click_of_long_ago_costs_no_more_than_one_of_yesterday() -> None:
    cut = window()
    observe(cut, ("a", 10), ("a", 10**15))
    assert output(cut) == [-1, ("a", 0, [10]), 0, 10**12 - 1]


def test_blocks_with_sessions_end_in_turn_however_far_the_stream_moves() -> None:
    cut = window(lateness=10_000)
    observe(cut, ("a", 10), ("b", 5_100), ("c", 5_200), ("d", 7_300))
    cut.take_output()
    cut.advance(10**6)
    assert [out for out in output(cut) if isinstance(out, int)] == [0, 5, 7, 999]


def test_a_heartbeat_moves_the_watermark_and_ends_blocks() -> None:
    cut = window()
    observe(cut, ("a", 10))
    cut.advance(1999)
    assert output(cut) == [-1, ("a", 0, [10]), 0]
    cut.advance(2000)
    assert output(cut) == [1]


def test_a_watermark_never_goes_back() -> None:
    cut = window()
    cut.advance(2500)
    cut.advance(300)
    assert cut.state.watermark == 2500


def test_a_late_click_of_an_ended_block_goes_to_the_start_of_the_open_one() -> None:
    cut = window()
    observe(cut, ("a", 10), ("b", 1050), ("a", 500))
    [session] = cut.sessions_of("a")
    assert (session.block, times(session), session.carried) == (1, [1000], {0: 500})
    assert cut.late_clicks == 1


def test_where_a_session_at_the_block_start_would_have_closed_it_goes_to_the_watermark() -> None:
    cut = window()
    observe(cut, ("a", 10), ("b", 1500), ("a", 500))
    assert times(cut.sessions_of("a")[0]) == [1500]


def test_a_click_whose_session_has_closed_goes_to_the_watermark() -> None:
    cut = window()
    observe(cut, ("a", 10), ("b", 400), ("a", 50))
    assert times(cut.sessions_of("a")[0]) == [400]


def test_a_click_behind_the_watermark_is_on_time_where_its_session_is_open() -> None:
    cut = window()
    observe(cut, ("a", 10), ("a", 90), ("a", 180), ("a", 270), ("a", 15))
    assert times(cut.sessions_of("a")[0]) == [10, 15, 90, 180, 270]
    assert cut.late_clicks == 0


def test_two_sessions_of_a_key_and_block_never_begin_at_the_same_time() -> None:
    cut = window()
    observe(cut, ("a", 10), ("b", 111), ("a", 11), ("a", 10))
    cut.advance(1000)
    sessions = [one for one in cut.take_output() if isinstance(one, OpenSession)]
    firsts = [session.first for session in sessions if session.key == "a"]
    assert firsts == [10, 11]


def test_a_late_click_is_refused_and_moves_no_watermark_where_late_ones_are_dead_letters() -> None:
    cut = window(late="dead-letter")
    observe(cut, ("a", 10), ("b", 400))
    with pytest.raises(ClickError, match="time 50 is behind the watermark 400") as refusal:
        cut.observe(Click("a", "shoe", 50), 2)
    assert refusal.value.reason == "late"
    assert cut.state.watermark == 400
    assert not cut.sessions_of("a")


def test_a_click_that_bridges_two_open_sessions_makes_them_one() -> None:
    cut = window(lateness=500)
    observe(cut, ("a", 10), ("a", 210))
    assert [times(session) for session in cut.sessions_of("a")] == [[10], [210]]
    observe(cut, ("a", 110))
    assert [times(session) for session in cut.sessions_of("a")] == [[10, 110, 210]]
    assert cut.open_count == 1


def test_a_click_does_not_bridge_the_end_of_a_block() -> None:
    cut = window(lateness=500)
    observe(cut, ("a", 960), ("a", 1010), ("a", 990))
    assert [times(session) for session in cut.sessions_of("a")] == [[960, 990], [1010]]


def test_clicks_of_one_time_keep_the_order_of_their_offsets() -> None:
    cut = window(lateness=500)
    for offset, (item, time) in enumerate([("x", 50), ("y", 60), ("z", 50)]):
        cut.observe(Click("a", item, time), offset)
    assert cut.sessions_of("a")[0].items == ["x", "z", "y"]


def test_observe_returns_the_session_of_a_click_and_its_place_in_it() -> None:
    cut = window(lateness=500)
    observe(cut, ("a", 50), ("a", 70))
    session, position = cut.observe(Click("a", "shoe", 60), 2)
    assert (times(session), position) == ([50, 60, 70], 1)


def test_sessions_that_close_together_come_in_the_order_of_last_time_and_key() -> None:
    cut = window(lateness=300)
    observe(cut, ("c", 20), ("b", 30), ("a", 30), ("d", 10))
    cut.advance(400)
    keys = [one.key for one in cut.take_output() if isinstance(one, OpenSession)]
    assert keys == ["d", "c", "a", "b"]


def test_a_block_end_counts_clicks_sessions_and_late_ones() -> None:
    cut = window()
    observe(cut, ("a", 10), ("a", 20), ("b", 400), ("a", 15))
    cut.advance(1000)
    [*_, end] = cut.take_output()
    assert end == BlockEnd(0, BlockCounts(clicks=4, sessions=3, late=1))


def test_output_and_what_has_changed_are_handed_out_once() -> None:
    cut = window()
    observe(cut, ("a", 10))
    [session] = cut.sessions_of("a")
    assert (output(cut), [*cut.take_changed()]) == ([-1], [("a", [session])])
    assert (output(cut), [*cut.take_changed()]) == ([], [])


def test_a_session_that_closes_changes_its_key() -> None:
    cut = window()
    observe(cut, ("a", 10))
    cut.drop_changes()
    cut.advance(500)
    assert [*cut.take_changed()] == [("a", [])]


def test_a_key_that_has_come_and_gone_has_not_changed() -> None:
    cut = window()
    observe(cut, ("a", 10))
    cut.advance(500)
    assert [*cut.take_changed()] == []


def test_a_session_that_was_given_to_the_window_changes_its_key_when_it_closes() -> None:
    given = OpenSession.of("a", 0, [10], ["shoe"])
    cut = SessionWindow(BLOCKS, SessionRule(GAP), WindowState(10, 0), [given])
    cut.advance(500)
    assert [*cut.take_changed()] == [("a", [])]


def test_extra_fields_pass_through() -> None:
    cut = window()
    session, _ = cut.observe(Click("a", "shoe", 10, extra={"price": "12.5"}), 0)
    assert session.extra == {0: {"price": "12.5"}}


def test_a_session_needs_the_log_from_where_an_older_open_one_of_its_key_begins() -> None:
    """Which of two sessions a click joins is decided by both of them."""
    cut = window(lateness=200)
    observe(cut, ("a", 300), ("b", 350), ("a", 450))
    older, newer = cut.sessions_of("a")
    assert times(newer) == [450]
    assert newer.reads_from == ReplayPoint(0, None, 0)
    assert older.reads_from == ReplayPoint(0, None, 0)


def test_a_session_needs_the_log_from_its_first_click_where_its_key_has_no_other() -> None:
    cut = window()
    observe(cut, ("b", 300), ("a", 450), ("a", 460))
    [session] = cut.sessions_of("a")
    assert session.reads_from == ReplayPoint(1, 300, 0)


def test_a_session_closes_as_soon_as_it_has_its_most_clicks() -> None:
    cut = window(max_clicks=3)
    observe(cut, ("bot", 10), ("bot", 11), ("bot", 12), ("bot", 13))
    assert output(cut) == [-1, ("bot", 0, [10, 11, 12])]
    assert [times(session) for session in cut.sessions_of("bot")] == [[13]]
    assert cut.early == {"clicks": 1}


def test_a_session_closes_as_soon_as_it_is_too_old() -> None:
    cut = window(max_age=150)
    observe(cut, ("bot", 10), ("bot", 100), ("bot", 160), ("bot", 170))
    assert output(cut) == [-1, ("bot", 0, [10, 100, 160])]
    assert cut.early == {"age": 1}


def test_a_click_of_a_session_that_closed_at_its_bound_is_late() -> None:
    """Two sessions of a key and block must never begin at the same time."""
    cut = window(max_clicks=2)
    observe(cut, ("bot", 10), ("bot", 10), ("bot", 10))
    [session] = cut.sessions_of("bot")
    assert (times(session), session.carried) == ([11], {0: 10})


def test_above_the_most_open_sessions_the_oldest_closes() -> None:
    cut = window(max_open=2)
    observe(cut, ("b", 10), ("a", 10), ("c", 20))
    assert output(cut) == [-1, ("a", 0, [10])]
    assert (cut.open_count, cut.early) == (2, {"open": 1})


def test_a_click_behind_a_session_that_had_to_close_is_late() -> None:
    cut = window(max_open=1)
    observe(cut, ("c", 10), ("b", 20), ("c", 10))
    [session] = cut.sessions_of("c")
    assert (times(session), session.carried) == ([20], {0: 10})


def test_a_full_session_of_a_block_that_is_not_open_waits_for_it() -> None:
    cut = window(lateness=500, max_clicks=2)
    observe(cut, ("a", 900), ("bot", 1010), ("bot", 1020), ("bot", 1030))
    assert output(cut) == [-1]
    assert [times(session) for session in cut.sessions_of("bot")] == [[1010, 1020], [1030]]
    cut.advance(1000)
    assert output(cut) == [("a", 0, [900]), 0, ("bot", 1, [1010, 1020])]


def test_what_a_bound_has_closed_is_forgotten_when_the_watermark_has_passed_it() -> None:
    cut = window(max_clicks=1)
    observe(cut, ("bot", 10))
    assert cut.state.capped_until == {"bot": 10}
    cut.drop_changes()
    cut.advance(10 + GAP + 1)
    assert cut.state.capped_until == {}
    assert [*cut.take_changed()] == [("bot", [])]
