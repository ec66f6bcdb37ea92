from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from fastavro import schemaless_writer
from structlog.testing import capture_logs

from ader_stream.errors import EventTimeError
from ader_stream.stream.clicks.decoder import RECORD_TIME, ClickDecoder, ClickFormat
from ader_stream.stream.clicks.start_check import SAMPLE, StartCheck
from ader_stream.types import DAY_MS, MINUTE_MS
from tests.fakes import FakeKafka, FakeReader

TOPIC, GROUP = "clicks", "ader.sessionizer"
NOW = int(time.time() * 1000)
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def minutes(count: int, since: int = NOW - DAY_MS) -> list[int]:
    return [since + number * MINUTE_MS for number in range(count)]


def append(kafka: FakeKafka, times: Iterable[Any], partition: int = 0) -> FakeKafka:
    for number, time_ in enumerate(times):
        value = {"session": f"v{number}", "item": "hat", "at": {"time": time_}}
        kafka.append(TOPIC, json.dumps(value).encode(), partition=partition, timestamp=NOW)
    return kafka


def require(kafka: FakeKafka, partitions: int = 1, start: str = "earliest", **fields: Any) -> None:
    format_ = ClickFormat(**{"time": "at.time"} | fields)
    StartCheck(
        kafka,  # type: ignore[arg-type]
        TOPIC,
        GROUP,
        start,
        ClickDecoder(format_),
        format_,
    ).require_plausible_times(partitions)


def refusal(kafka: FakeKafka, partitions: int = 1, **fields: Any) -> str:
    with pytest.raises(EventTimeError) as refused:
        require(kafka, partitions, **fields)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_an_empty_topic_and_a_sound_one_let_a_worker_start() -> None:
    require(FakeKafka())
    with capture_logs() as logs:
        require(append(FakeKafka(), minutes(50)))
    assert [(entry["event"], entry["records"]) for entry in logs] == [("event times checked", 50)]


@pytest.mark.parametrize(
    ("time_format", "write", "right"),
    [
        ("ms", lambda ms: ms // 1000, "s"),
        ("ms", lambda ms: ms * 1000, "us"),
        ("s", lambda ms: ms, "ms"),
        ("us", lambda ms: ms, "ms"),
        ("us", lambda ms: ms // 1000, "s"),
        ("ms", lambda ms: str(ms * 1_000_000), "ns"),
        ("s", float, "ms"),
    ],
)
def test_the_setting_that_reads_the_times_right_is_named(
    time_format: str, write: Callable[[int], Any], right: str
) -> None:
    reason = refusal(append(FakeKafka(), map(write, minutes(30))), time_format=time_format)
    assert f"; set clicks.time_format = {right}, or" in reason
    assert "clicks.check_times = false" in reason


def test_a_field_that_is_no_time_of_ours_is_named() -> None:
    reason = refusal(append(FakeKafka(), range(1, 31)))
    assert "30 of 30 event times lie before the year 2000, 1 is 1970-01-01T00:00:00.001Z" in reason
    assert "check clicks.time_field = at.time and clicks.time_format = ms" in reason


def test_no_setting_is_named_that_would_not_help(tmp_path: Path) -> None:
    kafka, fields = FakeKafka(), {"session": "string", "item": "string", "time": MILLIS}
    columns = [{"name": name, "type": type_} for name, type_ in fields.items()]
    schema = {"type": "record", "name": "C", "fields": columns}
    (tmp_path / "c.avsc").write_text(json.dumps(schema))
    for at in minutes(30):
        value = io.BytesIO()
        schemaless_writer(value, schema, {"session": "v", "item": "hat", "time": at // 1000})
        kafka.append(TOPIC, value.getvalue(), timestamp=NOW)
    reason = refusal(kafka, encoding="avro", time="time", avro_schema=tmp_path / "c.avsc")
    assert "1,000 times too small" in reason
    assert "check clicks.time_field = time and clicks.time_format = ms" in reason


def test_the_clock_that_wrote_the_records_is_named_where_it_is_the_event_time() -> None:
    kafka = FakeKafka()
    for at in minutes(30):
        kafka.append(TOPIC, b'{"session": "v", "item": "hat"}', timestamp=at // 1000)
    reason = refusal(kafka, time=RECORD_TIME, time_format="iso8601")
    assert "name the event time's field in clicks.time_field, or correct the producer" in reason


def test_a_partition_whose_producer_differs_is_found_among_many() -> None:
    kafka = FakeKafka()
    for partition in range(40):
        append(kafka, minutes(30), partition)
    append(kafka, (at // 1000 for at in minutes(30)), partition=40)
    assert "30 of 30 event times are 1,000 times too small" in refusal(kafka, partitions=41)


def test_what_the_group_has_read_is_no_reason_unless_it_is_the_newest() -> None:
    kafka = append(FakeKafka(), (at // 1000 for at in minutes(5 * SAMPLE)))
    append(kafka, minutes(SAMPLE))
    refusal(kafka)
    kafka.committed[GROUP, (TOPIC, 0)] = 5 * SAMPLE
    require(kafka)
    append(kafka, (at // 1000 for at in minutes(SAMPLE)))
    refusal(kafka)


def test_a_log_that_has_lost_its_beginning_is_looked_at_from_where_it_begins() -> None:
    kafka = append(FakeKafka(), (at // 1000 for at in minutes(500)))
    append(kafka, minutes(500))
    kafka.trimmed[TOPIC, 0] = 500
    kafka.committed[GROUP, (TOPIC, 0)] = 3
    require(kafka)


def test_a_group_that_starts_at_the_end_is_judged_by_the_newest() -> None:
    kafka = append(FakeKafka(), (at // 1000 for at in minutes(500)))
    append(kafka, minutes(500))
    require(kafka, start="latest")
    refusal(kafka)


def test_heartbeats_and_what_cannot_be_decoded_have_no_event_time() -> None:
    kafka = append(FakeKafka(), minutes(30))
    for value in (None, b"poison", b"{}", b'{"at": {"time": "soon"}}', b'{"at": {"time": -1}}'):
        kafka.append(TOPIC, value)
    require(kafka)


def test_a_few_wrong_clocks_are_logged_and_keep_nobody_away() -> None:
    kafka = append(FakeKafka(), [*minutes(100), 5])
    with capture_logs() as logs:
        require(kafka)
    [entry] = logs
    assert (entry["event"], entry["log_level"]) == ("event times look wrong", "warning")
    assert "1 of 101 event times lie before the year 2000" in entry["reason"]


def test_what_cannot_be_looked_at_keeps_nobody_away(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = append(FakeKafka(), [5] * 50)
    kafka.trimmed[TOPIC, 0] = 2
    monkeypatch.setattr(FakeReader, "get_watermark_offsets", lambda *_, **__: (0, 50))
    with capture_logs() as logs:
        require(kafka)
    assert [entry["event"] for entry in logs] == ["event times not checked"]
