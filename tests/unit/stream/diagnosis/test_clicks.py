"""What would become of the clicks, worked out by the sessionizer's own pieces."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from ader_stream.stream.clicks.decoder import RECORD_KEY
from ader_stream.stream.diagnosis import Finding
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS
from tests.unit.stream.diagnosis.shop import (
    NOW,
    SINCE,
    cluster,
    diagnosed,
    heartbeat,
    of,
    said,
    send,
    visits,
)


def one(findings: list[Finding], check: str, level: str = "ok") -> Finding:
    return next(f for f in findings if (f.check, f.level) == (check, level))


def test_the_sample_is_counted_by_what_its_records_are() -> None:
    kafka = send(cluster(), [*visits(10), None, None, b"poison"])
    heartbeat(kafka, SINCE + 20 * HOUR_MS)
    send(kafka, [{**next(visits(1)), "id": "x"}] * 3)
    details = one(diagnosed(kafka, event_id="id"), "contents").details
    assert details["records"] == 37
    assert details["clicks"] == 33
    assert details["heartbeats"] == 1
    assert details["tombstones"] == 2
    assert details["refused"] == 1
    assert details["duplicates"] == 2
    assert details["is_whole_log"]


def test_only_the_newest_of_a_long_log_are_looked_at() -> None:
    kafka = send(cluster(), visits(1_000))
    contents = one(diagnosed(kafka), "contents")
    assert (contents.details["records"], contents.details["is_whole_log"]) == (2_000, False)
    assert "the newest 2,000 records" in contents.text


def test_a_few_clicks_that_cannot_be_taken_are_a_warning_with_an_example_of_each_reason() -> None:
    bad = [b"poison", {"sku": "hat"}, {"session": "a", "item": "hat", "time": -5}]
    findings = diagnosed(send(cluster(), [*visits(30), *bad, b"more"]))
    texts = said(of(findings, "refusals"), "warning")
    assert len(texts) == 3
    assert any("2 of 94 clicks (2%) would become dead letters, malformed: partition 0, offset 90"
               in text for text in texts)  # fmt: skip
    assert any("missing-field" in text and "found: 'sku'" in text for text in texts)
    assert any("bad-value" in text and "time = -5" in text for text in texts)
    assert said(findings, "error") == []


def test_a_topic_of_which_most_are_no_clicks_would_stop_the_worker() -> None:
    searches = [{"session": "a", "query": "shoe", "time": SINCE}] * 6
    mixed = [value for visit in visits(400) for value in (visit, *searches[:3])]
    errors = said(diagnosed(send(cluster(), mixed)), "error")
    assert any("of the last 1000 clicks of partition 0 were refused" in text for text in errors)
    assert any("1,500 of 2,000 clicks (75%)" in text and "missing-field" in text for text in errors)


def test_records_that_a_filter_leaves_out_are_counted_and_are_no_clicks() -> None:
    others = [{"event": "page", "time": 5}, {"event": "page"}] * 600
    values = [*others, *(visit | {"event": "view"} for visit in visits(10)), b"poison"]
    findings = diagnosed(send(cluster(), values), where='event == "view"')
    details = one(findings, "contents").details
    assert (details["clicks"], details["ignored"], details["refused"]) == (30, 1_200, 1)
    assert any("1 of 31 clicks" in text for text in said(of(findings, "refusals"), "warning"))
    assert said(findings, "error") == []


def test_a_filter_that_leaves_no_click_is_an_error() -> None:
    errors = said(diagnosed(send(cluster(), visits(10)), where='event == "View"'), "error")
    assert any("no click is left → check clicks.where" in text for text in errors)


def test_a_run_of_refusals_would_stop_the_worker() -> None:
    errors = said(diagnosed(send(cluster(), [*visits(100), *[b"poison"] * 501])), "error")
    assert any("the sessionizer would stop: 501 clicks in a row" in text for text in errors)


def test_tombstones_stop_nobody() -> None:
    kafka = send(cluster(), [*visits(20), *[None] * 1_500])
    assert {finding.level for finding in diagnosed(kafka)} == {"ok"}


@pytest.mark.parametrize(
    ("written", "time_format"),
    [
        (lambda time: datetime.fromtimestamp(time / 1_000, UTC).isoformat(), "iso8601"),
        (lambda time: time * 1_000, "us"),
    ],
)
def test_the_format_that_reads_refused_times_is_named(written: Any, time_format: str) -> None:
    values = [value | {"time": written(value["time"])} for value in visits(5)]
    texts = said(of(diagnosed(send(cluster(), values)), "refusals"), "error")
    assert any(f"set clicks.time_format = {time_format}: these" in text for text in texts)


def test_seconds_read_as_milliseconds_are_an_error_and_the_unit_is_named() -> None:
    values = [value | {"time": value["time"] // 1_000} for value in visits(20)]
    findings = diagnosed(send(cluster(), values))
    [error] = said(of(findings, "event times"), "error")
    assert "1,000 times too small" in error
    assert error.endswith("set clicks.time_format = s")
    unchecked = of(diagnosed(send(cluster(), values), checks_times=False), "event times")
    assert [finding.level for finding in unchecked] == ["ok", "warning"]


def test_seconds_of_a_burst_are_alike_and_still_seconds() -> None:
    values = [{"session": f"v{n}", "item": "hat", "time": NOW // 1_000} for n in range(30)]
    [error] = said(of(diagnosed(send(cluster(), values)), "event times"), "error")
    assert error.endswith("set clicks.time_format = s")


@pytest.mark.parametrize("watermark", [SINCE // 1_000, SINCE * 1_000 // 1_000_000])
def test_heartbeats_in_another_unit_are_a_warning(watermark: int) -> None:
    kafka = send(cluster(), visits(5))
    for number in range(3):
        heartbeat(kafka, watermark + number)
    [warning] = said(of(diagnosed(kafka), "heartbeats"), "warning")
    assert "heartbeats: 3 of 3 event times are" in warning


def test_heartbeats_at_the_ends_of_blocks_are_fine() -> None:
    kafka = send(cluster(), visits(5))
    for day in range(30):
        heartbeat(kafka, SINCE // DAY_MS * DAY_MS + day * DAY_MS)
        heartbeat(kafka, SINCE // DAY_MS * DAY_MS + day * DAY_MS)
    assert of(diagnosed(kafka), "heartbeats") == []


def test_one_click_of_the_future_is_refused_and_in_no_range() -> None:
    kafka = send(cluster(), [next(visits(1)) | {"time": 4_070_908_800_000}, *visits(20)])
    findings = diagnosed(kafka)
    assert said(findings, "error") == []
    assert any("future" in text for text in said(of(findings, "refusals"), "warning"))
    assert one(findings, "event times").details["last_time"].startswith("2025-")
    assert one(findings, "sessions").details["closed"] == 19


def test_session_keys_that_stand_in_several_partitions_are_an_error() -> None:
    kafka = cluster(partitions=2)
    for number, value in enumerate(visits(20)):
        send(kafka, [value], partition=number % 2)
    [error] = said(of(diagnosed(kafka), "session keys"), "error")
    assert "20 of 20 session keys sampled are in several partitions, 'visit-0' for one" in error


def test_records_without_a_key_are_a_warning_where_there_are_several_partitions() -> None:
    for partitions, warnings in ((1, 0), (2, 1)):
        kafka = send(cluster(partitions=partitions), visits(20), key=None)
        texts = said(of(diagnosed(kafka), "session keys"), "warning")
        assert len(texts) == warnings
    assert "60 of 60 clicks have no record key" in texts[0]


def test_a_key_that_is_no_visitors_is_a_warning() -> None:
    placeholder = [value | {"session": "undefined"} for value in visits(30)]
    findings = of(diagnosed(send(cluster(), [*placeholder, *visits(50)])), "session keys")
    [warning] = said(findings, "warning")
    assert "session key 'undefined' has 90 of 240 clicks (38%)" in warning


def test_a_shop_of_few_customers_has_no_such_key() -> None:
    few = [value | {"session": f"b2b-{n % 3}"} for n, value in enumerate(visits(50))]
    assert said(of(diagnosed(send(cluster(), few)), "session keys"), "warning") == []


def test_a_key_that_holds_more_than_the_visit_is_shown_as_it_is() -> None:
    key = '{"payload": {"visit": "v1"}}'
    findings = diagnosed(send(cluster(), visits(9), key=key), session=RECORD_KEY)
    assert one(findings, "session keys").details["keys"] == 1
    assert any(repr(key)[:40] in finding.text for finding in findings)


# --- sessions and blocks


def test_sessions_and_blocks_are_counted() -> None:
    kafka = send(cluster(), visits(400))  # one an hour: more than two weeks
    findings = diagnosed(kafka)
    assert one(findings, "sessions").details == {"closed": 399, "closed_when_idle": 0, "open": 1}
    assert one(findings, "blocks").details["ended"] == 2


def test_a_first_try_by_hand_is_shown_why_nothing_closes() -> None:
    kafka = send(cluster(), visits(1))
    findings = diagnosed(kafka)
    texts = said(findings, "waiting")
    assert any("sessions that close: 0; that stay open: 1" in text for text in texts)
    [why] = [text for text in texts if "event time has reached" in text]
    assert "partition 0: event time has reached 2025-10-30T23:48:40Z" in why
    assert "(key 'visit-0', last click 2025-10-30T23:48:40Z) closes when event time there passes " \
        "2025-10-31T00:18:40Z" in why  # fmt: skip
    assert "it is the only partition, so that there is none to follow" in why


def test_one_visitor_with_pauses_of_a_day_has_sessions() -> None:
    days = [
        value | {"session": "me"} for day in range(3) for value in visits(1, SINCE + day * DAY_MS)
    ]
    findings = diagnosed(send(cluster(), days))
    details = one(findings, "sessions").details
    assert details["closed"] + details["closed_when_idle"] == 2
    assert "waiting" not in {finding.level for finding in findings}


def test_sessions_of_a_silent_partition_close_when_it_follows_another() -> None:
    kafka = cluster(partitions=2)
    send(kafka, visits(1), partition=0)
    send(kafka, [v | {"session": f"late-{v['session']}"} for v in visits(10)], partition=1)
    assert one(diagnosed(kafka), "sessions").details == {
        "closed": 9,
        "closed_when_idle": 1,
        "open": 1,
    }
    off = diagnosed(kafka, idle=None)
    assert one(off, "sessions").details["open"] == 2
    assert any("it follows no other partition" in finding.text for finding in off)


def test_a_heartbeat_closes_what_it_passes() -> None:
    kafka = send(cluster(), visits(1))
    heartbeat(kafka, SINCE + HOUR_MS)
    assert one(diagnosed(kafka), "sessions").details["closed"] == 1


def test_clicks_that_come_late_are_reported_with_the_setting() -> None:
    values = list(visits(40))
    disordered = [value for pair in zip(values[6:], values, strict=False) for value in pair]
    [warning] = said(of(diagnosed(send(cluster(), disordered)), "contents"), "warning")
    assert "clicks are late" in warning
    assert "raise sessions.lateness" in warning


def test_a_topic_without_clicks_has_nothing_to_say_about_them() -> None:
    kafka = cluster(partitions=3)
    checks = {finding.check for finding in diagnosed(kafka)}
    assert "sample" in checks
    assert not checks & {"contents", "refusals", "event times", "session keys", "sessions"}


def test_many_partitions_are_sampled_thinly() -> None:
    kafka = cluster(partitions=600)
    for partition in range(600):
        send(kafka, islice(visits(50), 120), partition=partition)
    contents = one(diagnosed(kafka), "contents")
    assert contents.details["records"] == 600 * 100


def test_nothing_is_written() -> None:
    kafka = send(cluster(), [*visits(20), b"poison"])
    before = {place: len(records) for place, records in kafka.log.items() if records}
    diagnosed(kafka)
    assert {place: len(records) for place, records in kafka.log.items() if records} == before
    assert kafka.producers == []


def test_minutes_between_clicks_are_what_the_fixture_says() -> None:
    first, second, *_ = visits(1)
    assert second["time"] - first["time"] == MINUTE_MS
    assert NOW - first["time"] == 30 * DAY_MS
