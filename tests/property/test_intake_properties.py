from __future__ import annotations

from copy import deepcopy
from operator import length_hint
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.avro.encoding import text_bytes
from ader_stream.stream.sessions.event_ids import EventIds, Segment
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import BlockEnd, ClockRefusal, IdleAdvance, Output
from ader_stream.stream.sessions.window import SessionWindow, WindowState
from ader_stream.types import BlockRule, Click, ClickPlace, IntakeRule, SessionRule
from tests.property.plain_intake import PlainIntake, Written
from tests.property.plain_sessions import PlainSession

Log = list[Written]

GAP = 10
JUMP = 50
AHEAD = 20
BEHIND = 100
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
    st.sampled_from([3, 8, 25]),
    st.sampled_from([1, 3]),
    st.sampled_from([0, AHEAD]),
    st.sampled_from([0, BEHIND, FAR]),
)


@st.composite
def wild_logs(draw: st.DrawFn) -> Log:
    """Clicks of a few keys: some come twice, some from a wrong clock, some are old when written."""
    log: Log = []
    time = draw(st.integers(0, 120))
    steps = st.integers(-15, 15) | st.sampled_from([JUMP, JUMP + 1, 2 * JUMP, 5 * JUMP, -5 * JUMP])
    ids = st.none() | st.sampled_from("uvwxyz")
    delays = st.sampled_from([None, 0, 0, 10, -AHEAD, -AHEAD - 1, JUMP, JUMP + 1, 10_000, 10_000])
    key = st.sampled_from(["a", "b", "c", "d", "e", ""])
    records = st.tuples(key, steps, st.booleans(), ids, delays, st.integers(0, 9))
    for number, drawn in enumerate(draw(st.lists(records, max_size=40))):
        key_, step, is_kept, event_id, delay, clock = drawn
        at = max(0, time + step)
        record = Click(key_, f"i{number}", at, event_id) if key_ else at
        written_at = None if delay is None else max(0, at + delay)
        log.append(Written(record, written_at, clock == 0))
        time = at if is_kept else time
    return log


def opened(session_rule: SessionRule, rule: IntakeRule, log: Log = ()) -> Intake:  # type: ignore[assignment]
    """An intake that knows what the clock said of each record of a log."""
    return reopened(SessionWindow(BLOCKS, session_rule), session_rule, rule, log)


def reopened(
    window: SessionWindow, session_rule: SessionRule, rule: IntakeRule, log: Log, **state: Any
) -> Intake:
    return Intake(
        window,
        rule,
        session_rule.lateness,
        is_ahead_of_clock=lambda place, *_: log[place.offset].is_ahead_of_clock,
        **state,
    )


class Run:
    """Feeds an intake, and keeps what comes of it."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.outputs: list[PlainSession | BlockEnd | IdleAdvance | ClockRefusal] = []
        self.refused: list[tuple[int, str]] = []

    def take(self, log: Log, start: int = 0) -> Run:
        for offset, written in enumerate(log, start):
            self._take_one(written, offset)
        self.outputs += map(frozen, self.intake.window.take_output())
        self.refused += [(at.offset, error.reason) for at, error in self.intake.take_refused()]
        return self

    def _take_one(self, written: Written, offset: int, *, is_new: bool = False) -> None:
        record, at, _ = written
        if isinstance(record, Click):
            self.intake.observe(record, offset, at, is_new=is_new)
        else:
            try:
                self.intake.heartbeat(record, offset, at)
            except ClickError as error:
                self.intake.refused.append((ClickPlace(offset), error))

    def take_many(self, log: Log, start: int) -> Run:
        """Take records as a worker does: the plain clicks of a batch together."""
        rows, ids = [], []
        for offset, (record, _, _) in enumerate(log, start):
            is_plain = isinstance(record, Click)
            rows.append(
                (record.key, text_bytes(record.item), record.time, offset)
                if is_plain
                else ("", b"", -(2**63), offset)
            )
            ids.append(record.event_id if is_plain else None)
        drawn = iter(range(len(log)))
        rows_drawn = (row for row, _ in zip(rows, drawn, strict=True))
        clicks = self.intake.new_clicks(rows_drawn, ids)
        last = lambda: log[len(log) - length_hint(drawn) - 1].at  # noqa: E731
        while other := self.intake.observe_plain(clicks, last):
            is_new = other[2] != -(2**63)
            self._take_one(log[other[3] - start], other[3], is_new=is_new)
        return self.take([])

    @property
    def sessions(self) -> list[PlainSession]:
        return sorted(output for output in self.outputs if isinstance(output, PlainSession))


def frozen(output: Output) -> PlainSession | BlockEnd | IdleAdvance | ClockRefusal:
    if not isinstance(output, OpenSession):
        return deepcopy(output)
    clicks = zip(output.times, output.items, map(output.carried.get, range(FAR)), strict=False)
    return PlainSession(output.block, output.key, output.first, tuple(clicks))


def opened_refuses(written: Written, rule: IntakeRule) -> bool:
    """Whether a click's own record, or the clock, refuses it."""
    record, at, is_ahead = written
    time = record.time if isinstance(record, Click) else record
    return is_ahead or (at is not None and 0 < rule.max_ahead < time - at)


def state_of(intake: Intake) -> tuple[Any, ...]:
    window = intake.window
    clicks = sorted(
        (s.key, s.block, s.times.tolist(), s.items, s.carried, s.is_full)
        for s in window.open_sessions()
    )
    state = window.state
    held = [(at, h.click, h.is_contradicted) for at, h in intake.held.items()]
    place = state.watermark, state.open_block, state.jumps, state.sole_key
    return clicks, *place, state.capped_until, held


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
    found = Run(opened(session_rule, rule, log))
    expected = PlainIntake(BLOCKS, session_rule, rule)
    for offset, record in enumerate(log):
        found.take([record], offset)
        expected.take(record, offset)
        assert found.sessions == sorted(expected.sessions.sessions)
        assert found.intake.duplicates == len(expected.duplicates)
        assert sorted(found.refused) == sorted(
            [(at, "future") for at in expected.future]
            + [(at, "late") for at in expected.sessions.refused]
        )
        assert [
            (at.offset, h.click, h.is_contradicted) for at, h in found.intake.held.items()
        ] == expected.held
    assert found.intake.capped_heartbeats == len(expected.capped)


@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules, data=st.data())
def test_cuts_and_restarts_change_nothing(
    log: Log, session_rule: SessionRule, rule: IntakeRule, data: st.DataObject
) -> None:
    found, changelog, start = Run(opened(session_rule, rule, log)), Changelog(), 0
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
        ids = EventIds(rule.max_event_ids, deepcopy([*changelog.segments.values()]))
        assert [*ids._seen.items()] == [*intake.event_ids._seen.items()]
        found.intake = reopened(window, session_rule, rule, log, held=intake.held, event_ids=ids)
    found.take(log[start:], start)
    whole = Run(opened(session_rule, rule, log)).take(log)
    assert (found.outputs, found.refused) == (whole.outputs, whole.refused)
    assert duplicates + found.intake.duplicates == whole.intake.duplicates


@settings(max_examples=300)
@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules, data=st.data())
def test_many_clicks_at_once_are_taken_as_one_after_the_other(
    log: Log, session_rule: SessionRule, rule: IntakeRule, data: st.DataObject
) -> None:
    many, start = Run(opened(session_rule, rule, log)), 0
    for cut in sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=3))):
        many.take_many(log[start:cut], start)
        start = cut
    many.take_many(log[start:], start)
    one = Run(opened(session_rule, rule, log)).take(log)
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
    """But for ids of refused clicks, which may come again: no id is known here to be free."""
    log = [
        w._replace(record=w.record._replace(event_id=None))
        if isinstance(w.record, Click) and opened_refuses(w, rule)
        else w
        for w in log
    ]
    cut = data.draw(st.integers(0, len(log)))
    session_rule = SessionRule(GAP, session_rule.lateness, "carry", session_rule.max_clicks)
    rule = IntakeRule(rule.max_jump, rule.confirmations, FAR, rule.max_event_ids, rule.max_ahead)
    intake, since = opened(session_rule, rule, log), list[int | None]()
    for offset, entry in enumerate(log[:cut]):
        since.append(intake.event_ids.since)
        Run(intake).take([entry], offset)
    needed = intake.needed_from()
    if needed is None:
        return
    known_from = since[needed.offset]
    known = needed.watermark, needed.open_block
    state = WindowState(*known, jumps=needed.jumps, sole_key=needed.sole_key)
    again = reopened(SessionWindow(BLOCKS, session_rule, state), session_rule, rule, log)
    for offset in range(needed.offset if known_from is None else known_from, needed.offset):
        record = log[offset].record
        if isinstance(record, Click) and record.event_id is not None:
            again.event_ids.add(record.event_id, offset)
    Run(again).take(log[needed.offset : cut], needed.offset)
    assert state_of(again) == state_of(intake)


@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules)
def test_every_click_is_in_one_session_or_a_duplicate_or_refused_or_held(
    log: Log, session_rule: SessionRule, rule: IntakeRule
) -> None:
    found = Run(opened(session_rule, rule, log)).take(log)
    found.intake.window.advance(BLOCKS.start(1000))
    found.take([])
    clicks = sum(len(session.clicks) for session in found.sessions)
    refused = sum(isinstance(log[at].record, Click) for at, _ in found.refused)
    gone = refused + found.intake.duplicates + len(found.intake.held)
    assert clicks + gone == sum(isinstance(written.record, Click) for written in log)


@given(log=wild_logs(), session_rule=session_rules, rule=intake_rules, data=st.data())
def test_the_log_and_the_logged_decisions_decide_the_sessions(
    log: Log, session_rule: SessionRule, rule: IntakeRule, data: st.DataObject
) -> None:
    live = Run(opened(session_rule, rule, log))
    for offset, record in enumerate(log):
        decided = data.draw(st.integers(0, 3))
        if decided == 1:
            live.intake.follow(data.draw(st.integers(0, 400)), offset)
        elif decided == 2:
            live.intake.settle(offset)
        live.take([record], offset)
    advances = [output for output in live.outputs if isinstance(output, IdleAdvance)]
    clock = {output.offset for output in live.outputs if isinstance(output, ClockRefusal)}
    said = [w._replace(is_ahead_of_clock=at in clock) for at, w in enumerate(log)]
    again = Run(opened(session_rule, rule, said))
    for offset, record in enumerate(log):
        for advance in advances:
            if advance.next_offset == offset:
                again.intake.follow(advance.watermark, offset)
        again.take([record], offset)
    assert (again.outputs, again.refused) == (live.outputs, live.refused)
