"""Records that hold many clicks: restarts change nothing, and inference follows the same sessions.

The clicks of a record are taken one by one, but a log is read again by records.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.scores.prefixes import Joined, PrefixFollower
from ader_stream.stream.sessions.partition_erasures import PartitionErasures
from ader_stream.types import BlockRule, IntakeRule, SessionRule
from tests.fakes import FakeRecord

clicks = st.tuples(st.sampled_from("abc"), st.integers(0, 2_000), st.integers(0, 20))
logs = st.lists(st.lists(clicks, min_size=1, max_size=4), min_size=1, max_size=12)
rules = st.builds(
    SessionRule,
    st.just(100),
    lateness=st.sampled_from([0, 50]),
    max_clicks=st.sampled_from([3, 1_000]),
)
intakes = st.builds(
    IntakeRule, st.sampled_from([0, 300]), st.just(1), st.just(4), max_event_ids=st.just(5)
)
FORMAT = ClickFormat(explode="clicks", event_id="id")


def records_of(log: list[list[tuple[str, int, int]]]) -> list[FakeRecord]:
    values = [
        [{"session": key, "item": f"{key}{time}", "time": time, "id": id_} for key, time, id_ in c]
        for c in log
    ]
    return [
        FakeRecord(json.dumps({"clicks": value}).encode(), offset=at, timestamp=1)
        for at, value in enumerate(values)
    ]


def follower(rule: SessionRule, intake: IntakeRule) -> PrefixFollower:
    erasures = PartitionErasures(Erasures(), 0, "")
    return PrefixFollower(ClickDecoder(FORMAT), BlockRule(0, 700), rule, intake, erasures)


@given(log=logs, rule=rules, intake=intakes, data=st.data())
def test_a_new_owner_of_records_of_many_clicks_goes_on_as_the_old_one(
    log: list[list[tuple[str, int, int]]],
    rule: SessionRule,
    intake: IntakeRule,
    data: st.DataObject,
) -> None:
    records = records_of(log)
    cut = data.draw(st.integers(0, len(records)))
    whole, old = follower(rule, intake), follower(rule, intake)
    whole.resume("", 0)
    old.resume("", 0)
    whole.observe(records[:cut])
    old.observe(records[:cut])
    new = follower(rule, intake)
    start = new.resume(old.metadata(), cut)
    new.observe(records[start:cut])
    assert named(new.observe(records[cut:])) == named(whole.observe(records[cut:]))


def named(joined: list[Joined]) -> list[tuple[int, int, str, tuple[str, ...], int]]:
    return [(j.offset, j.block, j.key, j.items, j.last) for j in joined]
