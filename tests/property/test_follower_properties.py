"""Whoever follows the log and the logged decisions has the sessionizer's own open sessions."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.scores.sessionizer_decisions import Decision, LoggedDecision
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.outputs import ClockRefusal, IdleAdvance, WatermarkReset
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import BlockRule, Click, IntakeRule, SessionRule
from tests.fakes import FakeRecord
from tests.property.plain_intake import Written
from tests.property.test_intake_properties import AHEAD, FAR, GAP, JUMP, Log, wild_logs

BLOCKS = BlockRule(0, 60)
INTAKE = IntakeRule(JUMP, 1, 8, FAR, AHEAD)


def as_record(written: Written, offset: int, **more: object) -> FakeRecord:
    entry, at = written.record, -1 if written.at is None else written.at
    if isinstance(entry, int):
        headers = [(WATERMARK_HEADER, str(entry).encode())]
        return FakeRecord(headers=headers, offset=offset, timestamp=at)
    value = {"session": entry.key, "item": entry.item, "time": entry.time, "id": entry.event_id}
    value |= more
    return FakeRecord(json.dumps(value).encode(), offset=offset, timestamp=at)


def begun(rule: SessionRule) -> PrefixFollower:
    return PrefixFollower(
        ClickDecoder(ClickFormat(event_id="id", where="not other")),
        BLOCKS,
        rule,
        INTAKE,
        PartitionErasures(Erasures(), 0, ""),
    )


def is_open(intake: Intake) -> list[tuple[str, int, list[int], list[str]]]:
    return sorted((s.key, s.block, s.times, s.items) for s in intake.window.open_sessions())


def decision(kind: type[Decision], offset: int, watermark: int) -> Decision:
    if kind is WatermarkReset:
        return WatermarkReset(offset, watermark, BLOCKS.block_of(watermark))
    return IdleAdvance(offset, watermark)


def is_certain(written: Written) -> bool:
    """Whether nothing can refuse a click."""
    record, at, is_ahead = written
    time = record.time if isinstance(record, Click) else record
    return at is not None and not is_ahead and time - AHEAD <= at <= time + JUMP


def without_id(written: Written) -> Written:
    record = written.record
    is_click = isinstance(record, Click)
    return written._replace(record=record._replace(event_id=None)) if is_click else written


def observe(sessionizer: Intake, written: Written, offset: int, *, is_ignored: bool) -> None:
    if is_ignored:
        return
    if isinstance(written.record, Click):
        sessionizer.observe(written.record, offset, written.at)
    else:
        with suppress(ClickError):
            sessionizer.heartbeat(written.record, offset, written.at)


@given(log=wild_logs(), lateness=st.sampled_from([0, 12]), data=st.data())
def test_a_follower_takes_every_click_once_as_the_sessionizer_does_wherever_it_was_replaced(
    log: Log, lateness: int, data: st.DataObject
) -> None:
    """But for ids of clicks that may be refused: they stay known to whoever reads them again."""
    log = [written if is_certain(written) else without_id(written) for written in log]
    rule = SessionRule(GAP, lateness)
    taken, scored = list[str](), list[str]()
    sessionizer = Intake(
        SessionWindow(BLOCKS, rule),
        INTAKE,
        lateness,
        on_join=lambda s, at: taken.append(s.items[at]),
        is_ahead_of_clock=lambda place, *_: log[place.offset].is_ahead_of_clock,
    )
    follower = begun(rule)
    records, logged = [], list[LoggedDecision]()

    def decide(decision: Decision) -> None:
        logged.append(LoggedDecision(decision, len(logged)))
        follower.follow(logged[-1:], len(logged))

    for offset, written in enumerate(log):
        for watermark in data.draw(st.lists(st.integers(0, 400), max_size=2)):
            kind = data.draw(st.sampled_from([IdleAdvance, IdleAdvance, WatermarkReset]))
            if kind is WatermarkReset and watermark < (sessionizer.window.watermark or 0):
                sessionizer.reset(watermark, offset)
            elif kind is IdleAdvance and watermark > (sessionizer.window.watermark or -1):
                sessionizer.follow(watermark, offset)
            else:
                continue
            decide(decision(kind, offset, watermark))
        if sessionizer.held and data.draw(st.booleans()):
            sessionizer.window.take_output()
            if sessionizer.settle(offset):
                output = sessionizer.window.take_output()
                decide(next(one for one in output if isinstance(one, IdleAdvance)))
        is_ignored = data.draw(st.sampled_from([False, False, False, True]))
        is_ignored &= isinstance(written.record, Click)
        records.append(as_record(written, offset, other=is_ignored))
        sessionizer.window.take_output()
        observe(sessionizer, written, offset, is_ignored=is_ignored)
        if ClockRefusal(offset) in sessionizer.window.take_output():
            decide(ClockRefusal(offset))
        scored += [one.items[-1] for one in follower.observe(records[-1:])]
        if data.draw(st.booleans()):
            metadata, follower = follower.metadata(), begun(rule)
            read_from = follower.resume(metadata, offset + 1)
            follower.follow(logged[follower.advances_from :], len(logged))
            again = follower.observe(records[read_from:])
            assert not [one for one in again if one.offset > offset]
        assert is_open(follower._intake) == is_open(sessionizer)
        assert follower.open_block == sessionizer.window.open_block
    assert scored == taken
