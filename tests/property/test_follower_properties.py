"""Whoever follows the log and its idle advances has the sessionizer's own open sessions."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder, ClickFormat
from ader_stream.stream.scores.idle_advances import LoggedAdvance
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.outputs import IdleAdvance
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import BlockRule, Click, IntakeRule, SessionRule
from tests.fakes import FakeRecord
from tests.property.plain_sessions import Log
from tests.property.test_intake_properties import FAR, GAP, JUMP, wild_logs

BLOCKS = BlockRule(0, 60)
INTAKE = IntakeRule(JUMP, 1, FAR, FAR)


def as_record(entry: Click | int, offset: int) -> FakeRecord:
    if isinstance(entry, int):
        headers = [(WATERMARK_HEADER, str(entry).encode())]
        return FakeRecord(headers=headers, offset=offset)
    value = {"session": entry.key, "item": entry.item, "time": entry.time, "id": entry.event_id}
    return FakeRecord(json.dumps(value).encode(), offset=offset)


def begun(rule: SessionRule) -> PrefixFollower:
    return PrefixFollower(ClickDecoder(ClickFormat(event_id="id")), BLOCKS, rule, INTAKE)


def is_open(intake: Intake) -> list[tuple[str, int, list[int], list[str]]]:
    return sorted((s.key, s.block, s.times, s.items) for s in intake.window.open_sessions())


@given(log=wild_logs(), lateness=st.sampled_from([0, 12]), data=st.data())
def test_a_follower_takes_every_click_once_as_the_sessionizer_does_wherever_it_was_replaced(
    log: Log, lateness: int, data: st.DataObject
) -> None:
    rule = SessionRule(GAP, lateness)
    taken, scored = list[str](), list[str]()
    sessionizer = Intake(
        SessionWindow(BLOCKS, rule),
        INTAKE,
        lateness,
        on_join=lambda s, at: taken.append(s.items[at]),
    )
    follower = begun(rule)
    records, logged = [], list[LoggedAdvance]()
    for offset, entry in enumerate(log):
        for watermark in sorted(data.draw(st.lists(st.integers(0, 400), max_size=2))):
            if sessionizer.window.watermark is None or watermark > sessionizer.window.watermark:
                sessionizer.follow(watermark, offset)
                logged.append(LoggedAdvance(IdleAdvance(offset, watermark), len(logged)))
                follower.follow(logged[-1:], len(logged))
        records.append(as_record(entry, offset))
        if isinstance(entry, Click):
            sessionizer.observe(entry, offset)
        else:
            sessionizer.advance(entry, offset)
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
