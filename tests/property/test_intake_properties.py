from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.stream.sessions.avro_bytes import text_bytes
from ader_stream.stream.sessions.event_ids import EventIds, Segment
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open_session import OpenSession
from ader_stream.stream.sessions.outputs import BlockEnd, IdleAdvance, Output
from ader_stream.stream.sessions.window import SessionWindow, WindowState
from ader_stream.types import BlockRule, Click, IntakeRule, SessionRule
from tests.property.plain_intake import PlainIntake
from tests.property.plain_sessions import Log, PlainSession

GAP = 10
JUMP = 50
FAR = 10**6
BLOCKS = BlockRule(7, 60)

session_rules = st.builds(
    SessionRule,
    st.just(GAP),
    st.sampled_from([0, 12, 70]),
    st.sampled_from(["carry", "dead-letter"]),
    st.sampled_from([3, FAR]),
    st.just(FAR),
    st.just(FAR),
)
intake_rules = st.builds(
    IntakeRule,
    st.sampled_from([0, JUMP, JUMP]),
    st.sampled_from([1, 2]),
    st.sampled_from([3, 8]),
    st.sampled_from([1, 3]),
)


@st.composite
def wild_logs(draw: st.DrawFn) -> Log:
    """Clicks of a few keys, some of which come twice or from a clock that is far ahead."""
    log: Log = []
    time = draw(st.integers(0, 120))
    steps = st.integers(-15, 15) | st.sampled_from([JUMP, JUMP + 1, 2 * JUMP, 5 * JUMP, -5 * JUMP])
    ids = st.none() | st.sampled_from("uvwxyz")
    records = st.tuples(st.sampled_from(["a", "b", "c", "d", ""]), steps, st.booleans(), ids)
    for number, (key, step, is_kept, event_id) in enumerate(draw(st.lists(records, max_size=40))):
        at = max(0, time + step)
        log.append(Click(key, f"i{number}", at, event_id) if key else at)
        time = at if is_kept else time
    return log


def opened(session_rule: SessionRule, rule: IntakeRule) -> Intake:
    return Intake(SessionWindow(BLOCKS, session_rule), rule, session_rule.lateness)


class Run:
    """Feeds an intake, and keeps what comes of it."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.outputs: list[PlainSession | BlockEnd | IdleAdvance] = []
        self.refused: list[tuple[int, str]] = []

    def take(self, log: Log, start: int = 0) -> Run:
        for offset, record in enumerate(log, start):
            if isinstance(record, Click):
                self.intake.observe(record, offset)
            else:
                self.intake.advance(record, offset)
        self.outputs += map(frozen, self.intake.window.take_output())
        self.refused += [(at, error.reason) for at, error in self.intake.take_refused()]
        return self

    def take_many(self, log: Log, start: int) -> Run:
        """Take records as a worker does: the plain clicks of a batch together."""
        rows = [
            (r.key, text_bytes(r.item), r.time, at)
            if isinstance(r, Click)
            else ("", b"", -(2**63), at)
            for at, r in enumerate(log, start)
        ]
        ids = [r.event_id if isinstance(r, Click) else None for r in log]
        clicks = self.intake.new_clicks(rows, ids)
        while other := self.intake.observe_plain(clicks):
            record = log[other[3] - start]
            if isinstance(record, Click):
                self.intake.observe(record, other[3], is_new=True)
            else:
                self.intake.advance(record, other[3])
        return self.take([])

    @property
    def sessions(self) -> list[PlainSession]:
        return sorted(output for output in self.outputs if isinstance(output, PlainSession))


def frozen(output: Output) -> PlainSession | BlockEnd | IdleAdvance:
    if not isinstance(output, OpenSession):
        return deepcopy(output)
    clicks = zip(output.times, output.items, map(output.carried.get, range(FAR)), strict=False)
    return PlainSession(output.block, output.key, output.first, tuple(clicks))


def state_of(intake: Intake) -> tuple[Any, ...]:
    window = intake.window
    clicks = sorted(
        (s.key, s.block, s.times.tolist(), s.items, s.carried, s.is_full)
        for s in window.open_sessions()
    )
    state = window.state
    return clicks, state.watermark, state.open_block, state.capped_until, intake.held


def changed(intake: Intake) -> dict[str, list[tuple[list[int], list[str]]]]:
    return {
        key: [(session.times.tolist(), session.items) for session in sessions]
        for key, sessions in intake.window.take_changed()
    }


class Changelog:
    """Event ids as the changelog keeps them."""

    def __init__(self) -> None:
        self.segments: dict[int, Segment] = {}

    def write(self, ids: EventIds) -> None:
        for number, segment in ids.take_segments():
            if segment is None:
                self.segments.pop(number, None)
            else:
                self.segments[number] = deepcopy(segment)


@settings(max_examples=300)
@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules)
def test_clicks_are_taken_held_and_refused_as_the_words_define_it(
    log: Log, session_rule: SessionRule, rule: IntakeRule
) -> None:
    found, expected = Run(opened(session_rule, rule)), PlainIntake(BLOCKS, session_rule, rule)
    for offset, record in enumerate(log):
        found.take([record], offset)
        expected.take(record, offset)
        assert found.sessions == sorted(expected.sessions.sessions)
        assert found.intake.duplicates == len(expected.duplicates)
        assert sorted(found.refused) == sorted(
            [(at, "future") for at in expected.future]
            + [(at, "late") for at in expected.sessions.refused]
        )
        assert [*found.intake.held.items()] == expected.held


@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules, data=st.data())
def test_cuts_and_restarts_change_nothing(
    log: Log, session_rule: SessionRule, rule: IntakeRule, data: st.DataObject
) -> None:
    found, changelog, start = Run(opened(session_rule, rule)), Changelog(), 0
    duplicates = 0
    for cut in sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=5))):
        found.take(log[start:cut], start)
        start, intake = cut, found.intake
        duplicates += intake.duplicates
        changelog.write(intake.event_ids)
        window = SessionWindow(
            BLOCKS,
            session_rule,
            deepcopy(intake.window.state),
            deepcopy([*intake.window.open_sessions()]),
        )
        ids = EventIds(rule.event_ids, deepcopy([*changelog.segments.values()]))
        assert [*ids._seen.items()] == [*intake.event_ids._seen.items()]
        found.intake = Intake(window, rule, session_rule.lateness, intake.held, ids)
    found.take(log[start:], start)
    whole = Run(opened(session_rule, rule)).take(log)
    assert (found.outputs, found.refused) == (whole.outputs, whole.refused)
    assert duplicates + found.intake.duplicates == whole.intake.duplicates


@settings(max_examples=300)
@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules, data=st.data())
def test_many_clicks_at_once_are_taken_as_one_after_the_other(
    log: Log, session_rule: SessionRule, rule: IntakeRule, data: st.DataObject
) -> None:
    log = [
        r._replace(event_id=None) if isinstance(r, Click) and r.time % 3 == 0 else r for r in log
    ]
    many, start = Run(opened(session_rule, rule)), 0
    for cut in sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=3))):
        many.take_many(log[start:cut], start)
        start = cut
    many.take_many(log[start:], start)
    one = Run(opened(session_rule, rule)).take(log)
    assert (many.outputs, many.refused) == (one.outputs, one.refused)
    assert state_of(many.intake) == state_of(one.intake)
    assert changed(many.intake) == changed(one.intake)
    assert many.intake.duplicates == one.intake.duplicates
    assert [*many.intake.event_ids.take_segments()] == [*one.intake.event_ids.take_segments()]
    needed, exactly = many.intake.needed_from(), one.intake.needed_from()
    assert needed == exactly or (needed and exactly and needed.offset < exactly.offset)


@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules, data=st.data())
def test_reading_again_from_where_it_is_needed_comes_back_to_the_same_state(
    log: Log, session_rule: SessionRule, rule: IntakeRule, data: st.DataObject
) -> None:
    """But for ids of refused clicks, which may come again: nothing is refused here."""
    cut = data.draw(st.integers(0, len(log)))
    session_rule = SessionRule(GAP, session_rule.lateness, "carry", session_rule.max_clicks)
    rule = IntakeRule(rule.max_jump, rule.confirmations, FAR, rule.event_ids)
    intake, since = opened(session_rule, rule), list[int | None]()
    for offset, entry in enumerate(log[:cut]):
        since.append(intake.event_ids.since)
        Run(intake).take([entry], offset)
    needed = intake.needed_from()
    if needed is None:
        return
    known_from = since[needed.offset]
    state = WindowState(needed.watermark, needed.open_block)
    again = Intake(SessionWindow(BLOCKS, session_rule, state), rule, session_rule.lateness)
    for offset in range(needed.offset if known_from is None else known_from, needed.offset):
        record = log[offset]
        if isinstance(record, Click) and record.event_id is not None:
            again.event_ids.add(record.event_id, offset)
    Run(again).take(log[needed.offset : cut], needed.offset)
    assert state_of(again) == state_of(intake)


@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules)
def test_every_click_is_in_one_session_or_a_duplicate_or_refused_or_held(
    log: Log, session_rule: SessionRule, rule: IntakeRule
) -> None:
    found = Run(opened(session_rule, rule)).take(log)
    found.intake.window.advance(BLOCKS.start(1000))
    found.take([])
    clicks = sum(len(session.clicks) for session in found.sessions)
    gone = len(found.refused) + found.intake.duplicates + len(found.intake.held)
    assert clicks + gone == sum(isinstance(record, Click) for record in log)


@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules, data=st.data())
def test_the_log_and_its_idle_advances_decide_the_sessions(
    log: Log, session_rule: SessionRule, rule: IntakeRule, data: st.DataObject
) -> None:
    live = Run(opened(session_rule, rule))
    for offset, record in enumerate(log):
        if data.draw(st.booleans()):
            live.intake.follow(data.draw(st.integers(0, 400)), offset)
        live.take([record], offset)
    advances = [output for output in live.outputs if isinstance(output, IdleAdvance)]
    again = Run(opened(session_rule, rule))
    for offset, record in enumerate(log):
        for advance in advances:
            if advance.next_offset == offset:
                again.intake.follow(advance.watermark, offset)
        again.take([record], offset)
    assert (again.outputs, again.refused) == (live.outputs, live.refused)
