from __future__ import annotations

from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open_session import Place
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import DAY_MS, BlockRule, Click, IntakeRule, SessionRule

YEAR = 365 * DAY_MS
RULE = IntakeRule(max_jump=DAY_MS, confirmations=2, held_offsets=5, event_ids=2)


def intake(lateness: int = 0, rule: IntakeRule = RULE) -> Intake:
    window = SessionWindow(BlockRule(0, 7 * DAY_MS), SessionRule(1000, lateness))
    return Intake(window, rule, lateness)


def observe(into: Intake, *clicks: tuple[str, int], start: int = 0) -> None:
    for offset, (key, time) in enumerate(clicks, start):
        into.observe(Click(key, f"at {time}", time), offset)


def refused(into: Intake) -> list[tuple[int, str]]:
    return [(offset, error.reason) for offset, error in into.take_refused()]


def test_one_click_with_a_clock_years_ahead_does_not_close_the_world() -> None:
    into = intake()
    observe(into, ("a", 10), ("bad", 20 * YEAR), ("b", 20), ("a", 30))
    assert into.window.state.watermark == 30
    assert [*into.held] == [1]
    assert into.window.sessions_of("a")[0].times.tolist() == [10, 30]


def test_a_click_that_nothing_confirms_is_refused_after_a_while() -> None:
    into = intake()
    observe(into, ("a", 10), ("bad", YEAR), ("b", 20), ("c", 20), ("d", 20), ("e", 20))
    assert refused(into) == []
    observe(into, ("f", 20), start=6)
    assert refused(into) == [(1, "future")]
    assert not into.held


def test_a_pause_longer_than_the_limit_does_not_make_every_later_click_future() -> None:
    into = intake()
    observe(into, ("a", 10), ("b", YEAR), ("c", YEAR + 5))
    assert [*into.held] == [1, 2]
    observe(into, ("d", YEAR + 3), ("e", YEAR + 9), start=3)
    assert not into.held
    assert refused(into) == []
    assert into.window.state.watermark == YEAR + 9
    assert {s.key for s in into.window.open_sessions()} == {"b", "c", "d", "e"}


def test_one_key_does_not_confirm_its_own_clock() -> None:
    into = intake()
    observe(into, ("a", 10), *[("bad", YEAR + n) for n in range(4)])
    assert [*into.held] == [1, 2, 3, 4]


def test_clicks_far_from_one_another_do_not_confirm_one_another() -> None:
    into = intake()
    observe(into, ("a", 10), ("b", YEAR), ("c", 2 * YEAR), ("d", 3 * YEAR))
    assert [*into.held] == [1, 2, 3]


def test_clicks_that_confirm_one_another_leave_a_wilder_one_behind() -> None:
    into = intake()
    observe(into, ("a", 10), ("bad", 20 * YEAR), ("b", YEAR), ("c", YEAR), ("d", YEAR))
    assert [*into.held] == [1]
    assert into.window.state.watermark == YEAR


def test_a_held_click_is_taken_when_the_stream_has_come_near_it() -> None:
    into = intake()
    observe(into, ("a", 0), ("b", DAY_MS + 2), ("c", 2))
    assert not into.held
    assert into.window.state.watermark == DAY_MS + 2


def test_a_heartbeat_takes_what_is_held_before_it_moves_the_watermark() -> None:
    into = intake()
    observe(into, ("a", 10), ("b", 2 * DAY_MS))
    into.advance(3 * DAY_MS, 2)
    assert not into.held
    assert into.window.late_clicks == 0
    assert into.window.state.watermark == 3 * DAY_MS


def test_without_a_limit_every_click_is_taken() -> None:
    into = intake(rule=IntakeRule(max_jump=0))
    observe(into, ("a", 10), ("b", YEAR))
    assert into.window.state.watermark == YEAR


def test_the_log_is_needed_from_the_first_click_that_is_held() -> None:
    into = intake()
    observe(into, ("b", YEAR), ("bad", 20 * YEAR), ("a", YEAR + 10), start=7)
    assert into.needed_from() == Place(7, None, into.window.state.open_block)
    into.window.advance(YEAR + 5000)
    assert into.needed_from() == Place(8, YEAR, into.window.state.open_block)


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


def test_the_id_of_a_refused_click_is_free_for_the_mended_one() -> None:
    into = intake()
    observe(into, ("b", 10))
    into.observe(click("x", YEAR), 1)
    observe(into, ("b", 20), start=6)
    assert refused(into) == [(1, "future")]
    into.observe(click("x", 30), 7)
    assert into.window.sessions_of("a")[0].times.tolist() == [30]
