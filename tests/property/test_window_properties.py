from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import BlockEnd
from ader_stream.stream.sessions.window import SessionWindow, WindowState
from ader_stream.types import BlockRule, Click, SessionRule
from tests.property.plain_sessions import Log, PlainSession, PlainSessions

GAP = 10
NEAR = (1, GAP - 1, GAP, GAP + 1, 2 * GAP, 2 * GAP + 1)
"""Steps in time at which something is decided."""

blocks = st.builds(BlockRule, origin=st.sampled_from([0, 7, -33]), length=st.sampled_from([25, 60]))


SessionRules = st.SearchStrategy[SessionRule]

FAR = 10**6
"""A bound that no log here reaches."""


def rules(*late: str, max_open: Sequence[int] = (1, 2, 3, FAR, FAR)) -> SessionRules:
    return st.builds(
        SessionRule,
        st.just(GAP),
        st.sampled_from([0, 3, 12, 40, 100]),
        st.sampled_from(late),
        st.sampled_from([1, 2, 4, FAR, FAR]),
        st.sampled_from([GAP + 1, 25, FAR, FAR]),
        st.sampled_from(max_open),
        st.sampled_from([60, 150, 700, 3_000, FAR, FAR, FAR]),
    )


carrying = rules("carry")
refusing = rules("dead-letter")
either = rules("carry", "dead-letter")


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Clicks of a few keys around a stream time that moves on, and some heartbeats."""
    log: Log = []
    time = draw(st.integers(0, 120))
    steps = st.sampled_from([0, *NEAR, *(-step for step in NEAR), -45]) | st.integers(-30, 15)
    records = st.tuples(st.sampled_from(["a", "a", "é", ""]), steps)
    for number, (key, step) in enumerate(draw(st.lists(records, max_size=40))):
        at = max(0, time + step)
        item = f"i{number}" + "." * draw(st.sampled_from([0, 0, 0, 0, 60, 300]))
        log.append(Click(key, item, at) if key else at)
        time = max(time, at)
    return log


@dataclass
class Run:
    """What a window put out for a log."""

    outputs: list[PlainSession | BlockEnd] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    @property
    def sessions(self) -> list[PlainSession]:
        return [output for output in self.outputs if isinstance(output, PlainSession)]

    @property
    def ends(self) -> list[BlockEnd]:
        return [output for output in self.outputs if isinstance(output, BlockEnd)]

    def take(self, window: SessionWindow, log: Log, start: int) -> None:
        for offset, record in enumerate(log, start):
            if isinstance(record, int):
                window.advance(record)
                continue
            try:
                window.observe(record, offset)
            except ClickError as error:
                assert error.reason == "late"
                self.refused.append(offset)
        self.outputs += map(frozen, window.take_output())


def run(log: Log, rule: BlockRule, session_rule: SessionRule) -> Run:
    found = Run()
    found.take(SessionWindow(rule, session_rule), log, 0)
    return found


def frozen(output: OpenSession | BlockEnd) -> PlainSession | BlockEnd:
    if isinstance(output, BlockEnd):
        return output
    return PlainSession(output.block, output.key, output.first, tuple(clicks_of(output)))


def clicks_of(session: OpenSession) -> list[tuple[int, str, int | None]]:
    """Effective time, item, and the original time of a late one."""
    return [
        (time, item, session.carried.get(position))
        for position, (time, item) in enumerate(zip(session.times, session.items, strict=True))
    ]


def closed(log: Log, rule: BlockRule) -> Log:
    """The log, and a heartbeat behind which nothing stays open."""
    last = max((r.time if isinstance(r, Click) else r for r in log), default=0)
    return [*log, rule.start(rule.block_of(last) + 4)]


def copied(
    window: SessionWindow,
    rule: BlockRule,
    session_rule: SessionRule,
    before: SessionRule | None = None,
) -> SessionWindow:
    """Another process's window, from what the changelog keeps of this one, which had a rule."""
    state = deepcopy(window.state)
    if before:
        state.keep_closed(before.gap)
    kept = [
        OpenSession(s.key, s.block, s.times[:], s.texts, {**s.carried}, is_full=s.is_full)
        for s in window.open_sessions()
    ]
    return SessionWindow(rule, session_rule, state, reversed(kept))


def assert_ended(found: Run, expected: PlainSessions) -> None:
    """Every block has ended that must have, some empty ones with those behind them."""
    ended = [end.block for end in found.ends]
    assert ended[-1:] == expected.ended[-1:]
    assert ended == sorted(set(ended) & set(expected.ended))
    assert set(ended) >= {session.block for session in found.sessions} & set(expected.ended)


@settings(max_examples=300)
@given(log=logs(), rule=blocks, session_rule=either)
def test_sessions_are_those_of_the_definitions_and_close_at_the_same_record(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    found, window = Run(), SessionWindow(rule, session_rule)
    expected = PlainSessions(rule, session_rule)
    for offset, record in enumerate(closed(log, rule)):
        found.take(window, [record], offset)
        expected.take(record, offset)
        assert sorted(found.sessions) == sorted(expected.sessions)
        assert_ended(found, expected)
        assert found.refused == expected.refused


@given(log=logs(), rule=blocks, session_rule=carrying)
def test_every_click_stands_in_exactly_one_session(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    found = run(closed(log, rule), rule, session_rule)
    items = [item for session in found.sessions for _, item, _ in session.clicks]
    assert sorted(items) == sorted(record.item for record in log if isinstance(record, Click))
    assert not found.refused


@given(log=logs(), rule=blocks, session_rule=refusing)
def test_every_click_is_taken_with_its_own_time_or_refused(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    found = run(closed(log, rule), rule, session_rule)
    taken = {(s.key, t, i, o) for s in found.sessions for t, i, o in s.clicks}
    assert taken == {
        (record.key, record.time, record.item, None)
        for offset, record in enumerate(log)
        if isinstance(record, Click) and offset not in found.refused
    }


@given(log=logs(), rule=blocks, session_rule=either)
def test_a_session_lies_in_one_block_in_order_with_neighbours_within_the_gap(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    for session in run(closed(log, rule), rule, session_rule).sessions:
        times = [time for time, _, _ in session.clicks]
        assert {rule.block_of(time) for time in times} == {session.block}
        assert all(0 <= later - time <= GAP for time, later in pairwise(times))


@given(log=logs(), rule=blocks, session_rule=either)
def test_clicks_of_one_effective_time_stand_in_the_order_of_their_offsets(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    for session in run(closed(log, rule), rule, session_rule).sessions:
        places = [(time, int(item.strip("i."))) for time, item, _ in session.clicks]
        assert places == sorted(places)


@given(log=logs(), rule=blocks, session_rule=either)
def test_a_session_has_one_identity(log: Log, rule: BlockRule, session_rule: SessionRule) -> None:
    found = run(closed(log, rule), rule, session_rule)
    identities = Counter((session.key, session.block, session.first) for session in found.sessions)
    assert all(count == 1 for count in identities.values())


@given(log=logs(), rule=blocks, lateness=st.sampled_from([0, 3, 12, 40]))
def test_sessions_of_a_key_and_block_lie_further_apart_than_the_gap_where_no_click_is_behind(
    log: Log, rule: BlockRule, lateness: int
) -> None:
    """A click behind the watermark may begin a session where an earlier one has closed."""
    punctual, reached = Log(), -lateness
    for record in log:
        time = record.time if isinstance(record, Click) else record
        if time >= reached or isinstance(record, int):
            punctual.append(record)
            reached = max(reached, time - lateness if isinstance(record, Click) else time)
    session_rule = SessionRule(GAP, lateness, "dead-letter", FAR, FAR, FAR)
    found = run(closed(punctual, rule), rule, session_rule)
    assert not found.refused
    spans = defaultdict(list)
    for session in found.sessions:
        spans[session.key, session.block].append((session.first, session.clicks[-1][0]))
    for of_key in spans.values():
        of_key.sort()
        assert all(begin - end > GAP for (_, end), (begin, _) in pairwise(of_key))


@given(log=logs(), rule=blocks, session_rule=either)
def test_nothing_of_a_block_precedes_the_end_of_the_one_before(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    ended: int | None = None
    for output in run(closed(log, rule), rule, session_rule).outputs:
        if isinstance(output, BlockEnd):
            assert ended is None or output.block > ended
            ended = output.block
        else:
            assert ended is not None
            assert output.block > ended


@given(log=logs(), rule=blocks, session_rule=either)
def test_counts_of_a_block_end_are_those_of_its_sessions(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    found = run(closed(log, rule), rule, session_rule)
    clicks, sessions, late = Counter[int](), Counter[int](), Counter[int]()
    for session in found.sessions:
        sessions[session.block] += 1
        clicks[session.block] += len(session.clicks)
        late[session.block] += sum(original is not None for _, _, original in session.clicks)
    for block, counts in found.ends:
        assert (counts.clicks, counts.sessions, counts.late) == (
            clicks[block],
            sessions[block],
            late[block],
        )


@given(log=logs(), rule=blocks, session_rule=carrying)
def test_a_late_click_moves_forward_and_keeps_its_original_time_beside(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    own = {record.item: record.time for record in log if isinstance(record, Click)}
    for session in run(closed(log, rule), rule, session_rule).sessions:
        for time, item, original in session.clicks:
            assert own[item] == (time if original is None else original)
            assert original is None or original < time


@given(log=logs(), rule=blocks, session_rule=either, data=st.data())
def test_cuts_and_restarts_change_nothing(
    log: Log, rule: BlockRule, session_rule: SessionRule, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.tuples(st.integers(0, len(log)), st.booleans()), max_size=6))
    found, window, start = Run(), SessionWindow(rule, session_rule), 0
    for cut, restarts in sorted(cuts):
        found.take(window, log[start:cut], start)
        start = cut
        if restarts:
            window = copied(window, rule, session_rule)
    found.take(window, log[start:], start)
    whole = run(log, rule, session_rule)
    assert found.outputs == whole.outputs
    assert found.refused == whole.refused


@settings(max_examples=300)
@given(log=logs(), rule=blocks, data=st.data())
def test_other_bounds_hold_from_the_offset_on_at_which_they_change(
    log: Log, rule: BlockRule, data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(st.tuples(st.integers(0, len(log)), either), min_size=1, max_size=4))
    changes, session_rule = dict(drawn), data.draw(either)
    found, window = Run(), SessionWindow(rule, session_rule)
    expected = PlainSessions(rule, session_rule)
    for offset, record in enumerate(closed(log, rule)):
        if session_rule := changes.get(offset):
            window = copied(window, rule, session_rule)
            expected.change_rule(session_rule)
        found.take(window, [record], offset)
        expected.take(record, offset)
        assert sorted(found.sessions) == sorted(expected.sessions)
        assert found.refused == expected.refused


any_gap = st.builds(
    SessionRule,
    st.sampled_from([1, GAP, 24]),
    st.sampled_from([0, 3, 12]),
    max_age=st.just(FAR),
    max_open=st.sampled_from([2, FAR, FAR, FAR]),
)


@settings(max_examples=300)
@given(log=logs(), rule=blocks, session_rule=any_gap, data=st.data())
def test_under_gaps_that_change_every_click_stands_in_one_session_and_each_has_one_identity(
    log: Log, rule: BlockRule, session_rule: SessionRule, data: st.DataObject
) -> None:
    """A session that a shorter gap has closed never begins again in the same place.

    After each change some clicks come once more, as those of a phone do that was offline.
    """
    offsets = st.integers(1, max(1, len(log) - 1))
    changes = dict(data.draw(st.lists(st.tuples(offsets, any_gap), min_size=1, max_size=4)))
    found, window, rest, offset = Run(), SessionWindow(rule, session_rule), [*log], 0
    sent = list[Click]()
    while rest:
        if later := changes.pop(offset, None):
            window = copied(window, rule, later, before=session_rule)
            session_rule = later
            again = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
            clicks = [sent[-back] for back in again if back <= len(sent)]
            rest[:0] = [click._replace(item=f"{click.item}+") for click in clicks]
        record = rest.pop(0)
        sent += [record] if isinstance(record, Click) else []
        found.take(window, [record], offset)
        offset += 1
    found.take(window, closed([*log, 0], rule)[-1:], offset)
    items = [item for session in found.sessions for _, item, _ in session.clicks]
    assert sorted(items) == sorted(click.item for click in sent)
    identities = Counter((session.key, session.block, session.first) for session in found.sessions)
    assert all(count == 1 for count in identities.values())


@given(log=logs(), rule=blocks, session_rule=carrying, data=st.data())
def test_where_keys_mean_something_else_no_session_holds_clicks_of_before_and_after(
    log: Log, rule: BlockRule, session_rule: SessionRule, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(log)))
    found, window = Run(), SessionWindow(rule, session_rule)
    found.take(window, log[:cut], 0)
    window.close_all()
    found.take(window, closed(log, rule)[cut:], cut)
    offsets = [[int(i.strip("i.")) for _, i, _ in session.clicks] for session in found.sessions]
    assert all((min(of_one) < cut) == (max(of_one) < cut) for of_one in offsets)
    assert sorted(offset for of_one in offsets for offset in of_one) == [
        offset for offset, record in enumerate(log) if isinstance(record, Click)
    ]
    identities = Counter((session.key, session.block, session.first) for session in found.sessions)
    assert all(count == 1 for count in identities.values())


@given(log=logs(), rule=blocks, session_rule=either, data=st.data())
def test_a_changelog_of_what_has_changed_restores_what_is_open(
    log: Log, rule: BlockRule, session_rule: SessionRule, data: st.DataObject
) -> None:
    """And nothing is written of a key that has come and gone between two commits."""
    changelog: dict[str, list[list[tuple[int, str, int | None]]]] = {}
    capped: dict[str, int | None] = {}
    ever_capped: set[str] = set()
    window = SessionWindow(rule, session_rule)
    for offset, record in enumerate(log):
        Run().take(window, [record], offset)
        ever_capped |= window.state.capped_until.keys()
        if data.draw(st.booleans()):
            full = set(window.full_sessions())
            for key, sessions in window.take_changed():
                assert sessions == [s for s in window.sessions_of(key) if s not in full]
                capped[key] = window.state.capped_until.get(key)
                assert sessions or changelog.get(key) or key in ever_capped
                changelog[key] = [clicks_of(session) for session in sessions]
            assert {key: until for key, until in capped.items() if until is not None} == (
                window.state.capped_until
            )
            expected = {key: sessions for key, sessions in changelog.items() if sessions}
            assert expected == growing_clicks(window)


def open_clicks(
    window: SessionWindow,
) -> Iterator[tuple[str, list[list[tuple[int, str, int | None]]]]]:
    for key in {session.key for session in window.open_sessions()}:
        yield key, [clicks_of(session) for session in window.sessions_of(key)]


def growing_clicks(window: SessionWindow) -> dict[str, list[list[tuple[int, str, int | None]]]]:
    """Key → its sessions that may still grow."""
    growing = {}
    for key in {session.key for session in window.open_sessions() if not session.is_full}:
        growing[key] = [clicks_of(s) for s in window.sessions_of(key) if not s.is_full]
    return growing


@given(log=logs(), rule=blocks, session_rule=either)
def test_what_is_open_is_counted(log: Log, rule: BlockRule, session_rule: SessionRule) -> None:
    window = SessionWindow(rule, session_rule)
    Run().take(window, log, 0)
    assert window.open_count == len(list(window.open_sessions()))
    Run().take(window, closed(log, rule)[-1:], len(log))
    assert window.open_count == 0
    assert not window.state.counts
    assert not window.state.capped_until
    assert sum(window.early.values()) <= len(log)


@given(log=logs(), rule=blocks, session_rule=rules("carry", "dead-letter"))
def test_bounds_hold_but_for_sessions_of_blocks_that_are_not_open_yet(
    log: Log, rule: BlockRule, session_rule: SessionRule
) -> None:
    window = SessionWindow(rule, session_rule)
    for offset, record in enumerate(log):
        Run().take(window, [record], offset)
        sessions = [*window.open_sessions()]
        growing = [session for session in sessions if not session.is_full]
        assert {*window.full_sessions()} == {*sessions} - {*growing}
        assert all(len(session.times) < session_rule.max_clicks for session in growing)
        assert all(session.last - session.first < session_rule.max_age for session in growing)
        size = Counter[str]()
        for session in growing:
            size[session.key] += session.size
        assert all(of_key < session_rule.max_bytes for of_key in size.values())
        if all(session.block == window.state.open_block for session in sessions):
            assert window.open_count <= session_rule.max_open
    for session in run(closed(log, rule), rule, session_rule).sessions:
        assert len(session.clicks) < 2 * session_rule.max_clicks


@given(
    log=logs(),
    rule=blocks,
    session_rule=rules("carry", "dead-letter", max_open=[FAR]),
    data=st.data(),
)
def test_reading_again_from_what_the_open_sessions_need_gives_the_same_prefixes(
    log: Log, rule: BlockRule, session_rule: SessionRule, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(log)))
    window = SessionWindow(rule, session_rule)
    Run().take(window, log[:cut], 0)
    needed = window.needed_from()
    if needed is None:
        return
    again = SessionWindow(rule, session_rule, WindowState(needed.watermark, needed.open_block))
    Run().take(again, log[needed.offset : cut], needed.offset)
    assert again.state.capped_until == window.state.capped_until
    assert dict(open_clicks(again)) == dict(open_clicks(window))
    assert again.state.watermark == window.state.watermark
    assert again.state.open_block == window.state.open_block
