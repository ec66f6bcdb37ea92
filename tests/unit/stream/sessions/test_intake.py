from __future__ import annotations

from dataclasses import replace

import pytest

from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open.session import OpenSession, ReplayPoint
from ader_stream.stream.sessions.outputs import ClockRefusal, IdleAdvance
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import DAY_MS, BlockRule, Click, IntakeRule, SessionRule

HOUR = 3_600_000
YEAR = 365 * DAY_MS
NOW = 50 * YEAR
RULE = IntakeRule(
    max_jump=DAY_MS, confirmations=3, held_offsets=8, max_event_ids=2, max_ahead=1000, max_behind=0
)


def intake(lateness: int = 0, rule: IntakeRule = RULE) -> Intake:
    window = SessionWindow(BlockRule(0, 7 * DAY_MS), SessionRule(1000, lateness))
    return Intake(window, rule, lateness)


def begun(*clicks: tuple[str, int], rule: IntakeRule = RULE) -> Intake:
    """An intake whose stream stands at time 10, and that has observed more clicks."""
    into = intake(rule=rule)
    into.observe(Click("a", "at 10", 10), 0)
    observe(into, *clicks, start=1)
    return into


def observe(into: Intake, *clicks: tuple[str, int], start: int = 0) -> None:
    """Old clicks, as they come when a log is replayed."""
    for offset, (key, time) in enumerate(clicks, start):
        into.observe(Click(key, f"at {time}", time), offset, NOW)


def held(into: Intake) -> list[int]:
    return [place.offset for place in into.held]


def refused(into: Intake) -> list[tuple[int, str]]:
    return [(place.offset, error.reason) for place, error in into.take_refused()]


# --- what a click's own record supports


@pytest.mark.parametrize("first", [True, False])
def test_a_click_ahead_of_its_own_record_is_refused_wherever_it_stands(first: bool) -> None:
    into = intake()
    if not first:
        into.observe(Click("a", "x", NOW), 0, NOW)
    into.observe(Click("bad", "x", NOW + 1001), 1, NOW)
    into.observe(Click("b", "x", NOW + 1000), 2, NOW)
    assert refused(into) == [(1, "future")]
    assert into.window.watermark == NOW + 1000


def test_a_jump_that_its_own_record_supports_needs_nobody() -> None:
    into = intake()
    into.observe(Click("a", "x", NOW), 0, NOW)
    into.observe(Click("a", "x", NOW + YEAR), 1, NOW + YEAR + DAY_MS)
    assert into.window.watermark == NOW + YEAR


def test_a_supported_click_releases_what_waits_before_it_in_time_order() -> None:
    into = begun(("b", NOW - 2 * DAY_MS), ("b", NOW - 3 * DAY_MS))
    assert held(into) == [1, 2]
    into.observe(Click("c", "x", NOW), 3, NOW + 1)
    assert (into.held, into.window.late_clicks) == ({}, 0)


def test_a_timestamp_that_only_says_the_event_time_again_is_no_witness() -> None:
    into = begun(("b", 20))
    into.observe(Click("c", "x", NOW), 2, NOW)
    assert held(into) == [2]
    into.observe(Click("d", "x", 30), 3, 30)
    into.observe(Click("d", "x", 40), 2 + RULE.held_offsets, 40)
    assert refused(into) == [(2, "future")]
    assert into.window.watermark == 40


@pytest.mark.parametrize("fast", [0, 1])
def test_a_log_of_copied_timestamps_does_not_begin_with_a_wrong_clock(fast: int) -> None:
    into = intake()
    for offset in range(2):
        time = 10 + offset + (YEAR if offset == fast else 0)
        into.observe(Click(f"key {offset}", "x", time), offset, time)
    assert into.window.watermark == 11 - fast
    assert held(into) == [fast]


def test_a_log_begins_with_a_click_that_its_record_supports_however_old_one_before_it_is() -> None:
    into = intake(rule=replace(RULE, max_behind=7 * DAY_MS))
    into.observe(Click("a", "x", 5_000), 0, NOW)
    assert into.window.watermark is None
    into.observe(Click("b", "x", NOW), 1, NOW + 1)
    assert (into.window.watermark, into.held) == (NOW, {})
    assert refused(into) == [(0, "late")]


@pytest.mark.parametrize(
    ("behind", "is_refused"), [(0, False), (DAY_MS, False), (DAY_MS + 1, True)]
)
def test_a_click_too_far_behind_is_of_another_unit_and_no_late_one(
    behind: int, is_refused: bool
) -> None:
    into = intake(rule=replace(RULE, max_behind=DAY_MS))
    into.observe(Click("a", "x", NOW), 0, NOW + 1)
    into.observe(Click("b", "x", NOW - behind), 1, NOW + 1)
    assert refused(into) == [(1, "late")] * is_refused


def test_the_clock_refuses_a_click_whose_record_is_ahead_of_it_and_says_so_in_the_output() -> None:
    window = SessionWindow(BlockRule(0, 7 * DAY_MS), SessionRule(1000))
    into = Intake(window, RULE, 0, is_ahead_of_clock=lambda place, *_: place.offset == 1)
    for offset in range(3):
        into.observe(Click("a", "x", NOW + 200 * offset), offset, NOW)
    assert refused(into) == [(1, "future")]
    assert [o for o in window.take_output() if isinstance(o, ClockRefusal)] == [ClockRefusal(1)]


def test_a_heartbeat_is_believed_as_far_as_its_record_supports_it() -> None:
    into = intake()
    into.heartbeat(NOW + YEAR, 0, NOW)
    assert (into.window.watermark, into.capped_heartbeats) == (NOW + 1000, 1)
    into.heartbeat(NOW + 1500, 1, NOW + 501)
    assert (into.window.watermark, into.capped_heartbeats) == (NOW + 1500, 1)


# --- what others say of old clicks


def test_one_click_with_a_clock_years_ahead_does_not_close_the_world() -> None:
    into = begun(("bad", 20 * YEAR), ("b", 20), ("a", 30))
    assert into.window.state.watermark == 30
    assert held(into) == [1]
    assert into.window.sessions_of("a")[0].times.tolist() == [10, 30]


def test_a_click_that_others_contradict_is_refused_after_a_while() -> None:
    into = begun(("bad", YEAR), *[("b", 20)] * 7)
    assert refused(into) == []
    observe(into, ("f", 20), start=9)
    assert refused(into) == [(1, "future")]
    assert not into.held


def test_a_click_that_nobody_contradicts_is_taken_after_a_while() -> None:
    into = begun(*[("b", YEAR + n) for n in range(9)])
    assert (refused(into), into.held) == ([], {})
    assert into.window.watermark == YEAR + 8


def test_the_only_key_of_a_log_waits_for_nobody() -> None:
    into = begun(("a", YEAR), ("a", 2 * YEAR))
    assert (into.held, into.window.watermark) == ({}, 2 * YEAR)
    observe(into, ("b", 2 * YEAR), ("a", 9 * YEAR), start=3)
    assert held(into) == [4]


def test_after_a_pause_two_other_keys_are_enough() -> None:
    into = begun(("b", YEAR), ("b", YEAR + 5), ("c", YEAR + HOUR))
    assert held(into) == [1, 2, 3]
    observe(into, ("a", YEAR + 2 * HOUR), start=4)
    assert (refused(into), into.held) == ([], {})
    assert into.window.state.watermark == YEAR + 2 * HOUR


def test_three_visitors_far_apart_never_wait_for_a_fourth() -> None:
    visits = [(f"visitor{n % 3}", n * 30 * HOUR + step) for n in range(20) for step in range(3)]
    into = intake(rule=IntakeRule(max_jump=HOUR))
    observe(into, *visits)
    assert (refused(into), into.held) == ([], {})
    assert into.window.watermark == visits[-1][1]
    assert len([o for o in into.window.take_output() if isinstance(o, OpenSession)]) == 19


def test_contradicted_clicks_need_three_other_keys_near_them() -> None:
    into = begun(("b", YEAR), ("c", YEAR + 5), ("a", 20), ("d", YEAR + 3))
    assert held(into) == [1, 2, 4]
    observe(into, ("e", YEAR + 9), start=5)
    assert not into.held
    assert into.window.watermark == YEAR + 9


def test_a_click_that_was_long_under_way_contradicts_nobody() -> None:
    into = begun(("b", YEAR), ("c", YEAR))
    observe(into, ("d", YEAR), start=3)
    observe(into, ("b", 2 * YEAR), ("late", 20), ("c", 2 * YEAR), ("d", 2 * YEAR), start=4)
    assert (refused(into), into.held) == ([], {})


def test_one_key_does_not_confirm_its_own_clock() -> None:
    into = begun(*[("bad", YEAR + n) for n in range(4)])
    assert held(into) == [1, 2, 3, 4]


def test_clicks_that_confirm_one_another_leave_a_wilder_one_behind() -> None:
    into = begun(("bad", 20 * YEAR), ("b", YEAR), ("c", YEAR), ("d", YEAR))
    assert held(into) == [1]
    assert into.window.state.watermark == YEAR


def test_a_held_click_is_taken_when_the_stream_has_come_near_it() -> None:
    into = begun(("b", DAY_MS + 12), ("c", 12))
    assert not into.held
    assert into.window.state.watermark == DAY_MS + 12


def test_a_heartbeat_takes_what_is_held_in_time_order_before_it_moves_the_watermark() -> None:
    into = begun(("fast", 3 * DAY_MS), ("b", 2 * DAY_MS), ("fast", 3 * DAY_MS + 1))
    into.heartbeat(4 * DAY_MS, 4, NOW)
    assert not into.held
    assert into.window.late_clicks == 0
    assert into.window.state.watermark == 4 * DAY_MS


def test_a_log_that_has_come_to_rest_is_believed_where_nobody_contradicts() -> None:
    into = begun(("bad", 2 * YEAR), ("a", 20), ("b", YEAR))
    assert into.settle(4)
    assert (held(into), into.window.watermark) == ([1], YEAR)
    advances = [o for o in into.window.take_output() if isinstance(o, IdleAdvance)]
    assert advances == [IdleAdvance(4, YEAR - DAY_MS)]
    assert not into.settle(4)


def test_without_a_limit_every_click_is_taken() -> None:
    into = begun(("b", YEAR), rule=IntakeRule(max_jump=0))
    assert into.window.state.watermark == YEAR


# --- the first clicks of an old log


def test_the_first_click_of_an_old_log_waits_for_a_second_key() -> None:
    into = intake()
    observe(into, ("bad", YEAR))
    assert (into.window.watermark, held(into)) == (None, [0])
    observe(into, ("a", 10), start=1)
    assert (into.window.watermark, held(into)) == (10, [0])


def test_a_log_of_one_key_begins_with_its_third_click() -> None:
    into = intake()
    observe(into, ("me", 10), ("me", 20))
    assert into.window.watermark is None
    observe(into, ("me", 30), start=2)
    assert (into.window.watermark, into.held) == (30, {})


def test_the_log_is_needed_from_the_first_click_that_is_held() -> None:
    into = intake()
    into.observe(Click("b", "x", YEAR), 7)
    observe(into, ("bad", 20 * YEAR), ("a", YEAR + 10), start=8)
    assert into.needed_from() == ReplayPoint(7, None, into.window.state.open_block)
    into.window.advance(YEAR + 5000)
    assert into.needed_from() == ReplayPoint(8, YEAR, into.window.state.open_block, sole_key="b")


def click(event_id: str, time: int = 10) -> Click:
    return Click("a", event_id, time, event_id)


def test_a_click_that_comes_twice_counts_once() -> None:
    into = intake()
    for offset in range(3):
        into.observe(click("x"), offset)
    assert into.window.sessions_of("a")[0].items == ["x"]
    assert into.duplicates == 2


def test_as_many_ids_are_remembered_as_the_rule_says() -> None:
    into = intake()
    for offset, event_id in enumerate("xyxzxy"):  # z drives y out, and y comes again
        into.observe(click(event_id), offset)
    assert into.window.sessions_of("a")[0].items == ["x", "y", "z", "y"]


def test_the_id_of_a_refused_click_is_free_for_the_corrected_one() -> None:
    into = intake()
    into.observe(click("x", NOW + YEAR), 1, NOW)
    assert refused(into) == [(1, "future")]
    into.observe(click("x", 30), 7)
    assert into.window.sessions_of("a")[0].times.tolist() == [30]
