"""What a sessionizer reads next is looked at, however good the newest records are."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.stream.clicks.refusals import RefusalRule, Refusals
from ader_stream.stream.diagnosis import Finding, subject
from tests.fakes import FakeKafka
from tests.unit.stream.diagnosis.shop import (
    TOPICS,
    cluster,
    diagnosed,
    of,
    said,
    send,
    visits,
)

GROUP = TOPICS.group("sessionizer")
GOOD = [*visits(700)]  # more than are looked at of the newest
BAD = [b"poison"]


def begun(kafka: FakeKafka, offset: int, memory: str = "", partition: int = 0) -> FakeKafka:
    """Have the group stand at an offset."""
    place = GROUP, (TOPICS.clicks, partition)
    kafka.committed[place], kafka.metadata[place] = offset, memory
    return kafka


def unread(kafka: FakeKafka, start: str = "earliest") -> list[Finding]:
    return of(diagnosed(kafka, start=start), "unread")


def test_a_worker_that_would_stop_at_the_first_records_is_an_error() -> None:
    findings = diagnosed(send(cluster(), [*BAD * 501, *GOOD]))
    assert not said(of(findings, "refusals"), "error", "warning"), "the newest are good"
    stops, refused = said(of(findings, "unread"), "error")
    assert "the sessionizer would stop: 501 clicks in a row of partition 0 were refused" in stops
    assert "501 of 2,601 clicks that are read next (19%) would become dead letters" in refused


def test_what_a_worker_has_read_is_not_what_it_reads_next() -> None:
    kafka = send(cluster(), [*BAD * 501, *GOOD])
    [finding] = unread(begun(kafka, 501))
    assert (finding.level, finding.details) == (
        "ok",
        {"records": 2_100, "left": 2_100, "refused": 0},
    )


def test_what_the_group_knows_of_the_clicks_before_counts() -> None:
    refusals = Refusals(RefusalRule(run=500))
    for _ in range(500):
        refusals.refuse()
    kafka = send(cluster(), [*BAD * 501, *GOOD])
    stops, _ = said(unread(begun(kafka, 500, refusals.memory())), "error")
    assert "501 clicks in a row" in stops
    assert not said(unread(begun(kafka, 500)), "error")


def test_a_few_unread_records_that_are_no_clicks_are_a_warning() -> None:
    [warning] = said(unread(send(cluster(), [*BAD * 3, *GOOD])), "warning")
    assert "3 of 2,103 clicks that are read next" in warning


def test_what_the_newest_have_shown_is_not_said_twice() -> None:
    findings = diagnosed(send(cluster(), [*visits(100), *BAD * 501]))
    assert len(said(of(findings, "refusals"), "error")) == 2
    assert [finding.level for finding in of(findings, "unread")] == ["ok"]


def test_a_worker_that_begins_at_the_ends_reads_nothing_that_is_there() -> None:
    kafka = send(cluster(), [*BAD * 501, *GOOD])
    [finding] = unread(kafka, "latest")
    assert "starts after the 2,601 records" in finding.text
    assert finding.level == "ok"
    assert said(unread(begun(kafka, 0), "latest"), "error"), "it has begun before"


def test_a_partition_that_was_added_later_is_read_from_its_first_record() -> None:
    kafka = send(send(cluster(partitions=2), GOOD, partition=0), [*BAD * 501], partition=1)
    send(kafka, GOOD, partition=1)
    assert any("of partition 1" in t for t in said(unread(begun(kafka, 5), "latest"), "error"))


def test_event_times_for_which_the_worker_would_not_start_are_an_error() -> None:
    seconds = [value | {"time": value["time"] // 1_000} for value in visits(60)]
    findings = diagnosed(send(cluster(), [*seconds, *GOOD]))
    [error] = said(of(findings, "unread"), "error")
    assert "two units in one field: 180 of 400 event times are in s" in error
    assert not said(of(findings, "event times"), "error"), "the newest are good"


def test_a_log_is_read_from_where_it_still_begins() -> None:
    kafka = begun(send(cluster(), [*BAD * 501, *GOOD]), 0)
    kafka.trimmed[TOPICS.clicks, 0] = 501
    assert not said(unread(kafka), "error")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 600)), min_size=1, max_size=3))
def test_it_stops_where_the_workers_own_rule_does(runs: list[tuple[bool, int]]) -> None:
    clicks = visits(700)
    values = [next(clicks) if good else BAD[0] for good, count in runs for _ in range(count)]
    refusals, stops = Refusals(RefusalRule(ratio=0.5, run=500)), False
    for value in values:
        if isinstance(value, bytes):
            stops = bool(refusals.refuse()) or stops
        else:
            refusals.accepted += 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "SAMPLE", subject.FEWEST)
        errors = said(unread(send(cluster(), [*values, *islice(clicks, 120)])), "error")
    assert any("would stop" in text for text in errors) == stops
