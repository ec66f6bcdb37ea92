from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import AderError, ClickError, FencedError, InputError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.clicks.decoder import RECORD_TIME, WATERMARK_HEADER, ClickFormat
from ader_stream.stream.control.commands import ask
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.dead_letters.letters import (
    LetterFilter,
    LetterId,
    find_letter,
    read_letters,
)
from ader_stream.stream.dead_letters.letters_json import letter_as_json, read_changed_letters
from ader_stream.stream.dead_letters.sending_back import (
    BATCH_LETTERS,
    DeadLetterReplay,
    ReplayReport,
)
from ader_stream.stream.sessions.records.dead_letter import dead_letter, with_reason
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka, FakeProducer

TOPICS = Topics("ader")
EVERYTHING = LetterFilter(replayed=True)
JSON = ClickFormat()
GOOD = b'{"session": "a", "item": "x", "time": 1}'
STRINGLY = b'{"session": "a", "item": "x", "time": "1970-01-01T00:00:00.001Z"}'


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka({name: count for name, count, _ in TOPICS.specifications(2)})


def refuse(
    kafka: FakeKafka,
    value: bytes | None,
    reason: str = "bad-value",
    partition: int = 0,
    **other: Any,
) -> LetterId:
    """Write a dead letter; its original stood at offset 7."""
    fields = {
        "topic": TOPICS.clicks,
        "partition": partition,
        "offset": 7,
        "timestamp": 1234,
        "key": b"a",
        "value": value,
        "headers": [],
        "reason": reason,
        "error": "time: expected another",
    }
    refused_at = other.pop("refused_at", 1000)
    data, headers = encode("DeadLetter", fields | other)
    offset = kafka.append(TOPICS.dead_letters, data, b"a", headers, partition, refused_at)
    return LetterId(partition, offset)


def letters(kafka: FakeKafka, **wanted: Any) -> list[LetterId]:
    return [letter.id for letter in read_letters(kafka, TOPICS, LetterFilter(**wanted))]


def replay(
    kafka: FakeKafka, format_: ClickFormat = JSON, corrected: Any = None, **wanted: Any
) -> ReplayReport:
    replaying = DeadLetterReplay(kafka, TOPICS, format_, corrected)
    return replaying.send(LetterFilter(**wanted), lambda _: None)


def sent(kafka: FakeKafka, partition: int = 0) -> list[bytes | None]:
    return [record.value() for record in kafka.records(TOPICS.clicks, partition)]


# --- looking


def test_letters_are_chosen_by_reason_partition_and_time(kafka: FakeKafka) -> None:
    late = refuse(kafka, GOOD, "late", refused_at=2000)
    bad = refuse(kafka, b"{", "malformed", refused_at=3000)
    other = refuse(kafka, b"{", "malformed", partition=1, refused_at=2500)
    assert letters(kafka) == [late, bad, other]
    assert letters(kafka, reasons=["late"]) == [late]
    assert letters(kafka, partition=1) == [other]
    assert letters(kafka, since=2500) == [bad, other]
    assert letters(kafka, until=2500) == [late]
    with pytest.raises(InputError, match=r"partition 2: ader\.dead-letters has 2"):
        letters(kafka, partition=2)


def test_a_letter_is_found_where_it_stands(kafka: FakeKafka) -> None:
    place = refuse(kafka, b"{", "malformed", partition=1)
    letter = find_letter(kafka, TOPICS, place)
    assert (letter.value(), letter.partition(), letter.offset()) == (b"{", 1, 7)
    for nothing in (LetterId(1, 1), LetterId(0, 0), LetterId(9, 0)):
        with pytest.raises(InputError, match="no dead letter there"):
            find_letter(kafka, TOPICS, nothing)


@pytest.mark.parametrize("text", ["", "2", "2:", ":1", "a:1", "2:-1", "2:1:3"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected PARTITION:OFFSET"):
        LetterId.parse(text)


def test_a_letter_is_json_whatever_its_bytes(kafka: FakeKafka) -> None:
    headers = [{"name": "trace", "value": b"\xff"}, {"name": "none", "value": None}]
    refuse(kafka, b"\xff\0", key=None, headers=headers)
    [letter] = read_letters(kafka, TOPICS, EVERYTHING)
    assert json.loads(json.dumps(letter_as_json(letter))) == {
        "id": "0:0",
        "refused_at": "1970-01-01T00:00:01.000+00:00",
        "reason": "bad-value",
        "error": "time: expected another",
        "topic": "ader.clicks",
        "partition": 0,
        "offset": 7,
        "timestamp": 1234,
        "key": None,
        "value_base64": base64.b64encode(b"\xff\0").decode(),
        "headers": [
            {"name": "trace", "value_base64": "/w=="},
            {"name": "none", "value": None},
        ],
        "replayed": False,
    }


# --- sending back


def test_what_the_settings_make_a_click_now_is_sent_as_it_was(kafka: FakeKafka) -> None:
    headers = [{"name": "trace", "value": b"\xff"}]
    refuse(kafka, STRINGLY, headers=headers, partition=1)
    refuse(kafka, b"{", "malformed")
    report = replay(kafka, ClickFormat(time_format="iso8601"))
    [click] = kafka.records(TOPICS.clicks, 1)
    assert (click.key(), click.value(), click.headers()) == (b"a", STRINGLY, [("trace", b"\xff")])
    assert (report.sent, report.refused) == (1, {"malformed": 1})


def test_each_is_sent_once_however_often_it_is_asked_for(kafka: FakeKafka) -> None:
    refuse(kafka, GOOD)
    assert [replay(kafka).sent for _ in range(3)] == [1, 0, 0]
    assert sent(kafka) == [GOOD]
    assert letters(kafka) == []
    [letter] = read_letters(kafka, TOPICS, EVERYTHING)
    assert letter.is_replayed


def test_one_filter_leaves_the_letters_of_another(kafka: FakeKafka) -> None:
    refuse(kafka, GOOD, "malformed", refused_at=2000)
    refuse(kafka, GOOD, "bad-value", refused_at=1000)
    assert replay(kafka, reasons=["bad-value"]).sent == 1
    assert replay(kafka, since=2000).sent == 1
    assert len(sent(kafka)) == 2


def test_late_clicks_are_sent_only_where_they_are_asked_for(kafka: FakeKafka) -> None:
    refuse(kafka, GOOD, "late")
    assert replay(kafka).skipped == {"late": 1}
    assert replay(kafka, reasons=["late"]).sent == 1


def test_corrected_bytes_are_sent_and_nothing_else(kafka: FakeKafka) -> None:
    refuse(kafka, GOOD)
    first, second = (refuse(kafka, b"{") for _ in range(2))
    lines = [json.dumps({"id": str(first), "value": GOOD.decode()}), ""]
    lines.append(json.dumps({"id": str(second), "value_base64": base64.b64encode(GOOD).decode()}))
    assert replay(kafka, corrected=read_changed_letters(lines)).sent == 2
    assert sent(kafka) == [GOOD, GOOD]


def test_what_comes_out_of_the_list_goes_in_again(kafka: FakeKafka) -> None:
    refuse(kafka, b"\xff\0", key=b"\xff")
    [letter] = read_letters(kafka, TOPICS, EVERYTHING)
    line = json.dumps(letter_as_json(letter))
    assert read_changed_letters([line]) == {letter.id: {"key": b"\xff", "value": b"\xff\0"}}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "7",
        '{"value": "x"}',
        '{"id": "2"}',
        '{"id": "1:2", "value": 5}',
        '{"id": "1:2", "value_base64": "é"}',
        '{"id": "1:2", "value_base64": "x"}',
    ],
)
def test_corrected_lines_that_are_none_are_named(line: str) -> None:
    with pytest.raises(InputError, match="line 2 of the changed letters"):
        read_changed_letters(["", line])


def test_a_corrected_heartbeat_is_sent(kafka: FakeKafka) -> None:
    header = {"name": WATERMARK_HEADER, "value": b"500"}
    refuse(kafka, None, "bad-value", headers=[header])
    refuse(kafka, None, "malformed")
    assert (replay(kafka).sent, sent(kafka)) == (1, [None])


def test_the_originals_timestamp_is_kept_where_it_is_the_event_time(kafka: FakeKafka) -> None:
    refuse(kafka, GOOD)
    replay(kafka, ClickFormat(time=RECORD_TIME))
    [click] = kafka.records(TOPICS.clicks)
    assert click.timestamp()[1] == 1234


@pytest.mark.parametrize("offset", [6, 7])
def test_what_was_erased_is_not_sent_back(kafka: FakeKafka, offset: int) -> None:
    """Behind the request it would be a new visitor's."""
    refuse(kafka, GOOD)
    request = erasure_request("a", Erasures(), (7 + (offset < 7), 0), TOPICS.clicks)
    refuse(kafka, GOOD, offset=8)
    refuse(kafka, GOOD.replace(b'"a"', b'"b"'))
    ask(kafka, TOPICS, request)
    report = replay(kafka)
    assert (report.sent, report.erased) == ((2, 1) if offset < 7 else (3, 0))


def test_of_a_record_of_many_clicks_only_the_refused_ones_are_sent_back(kafka: FakeKafka) -> None:
    value = b'{"clicks": [{"session": "a", "item": 1, "time": 1}, {"session": "a", "item": 2}]}'
    old = [{"name": "ader-elements", "value": b"0,1"}]
    refuse(kafka, value, elements=[1], headers=old)
    assert replay(kafka, ClickFormat(explode="clicks")).refused == {"missing-field": 1}
    report = replay(kafka, ClickFormat(explode="clicks", time="time | $timestamp"))
    assert report.sent == 1
    [record] = kafka.records(TOPICS.clicks, 0)
    assert (record.value(), record.headers()) == (value, [("ader-elements", b"1")])


def test_a_dry_run_sends_nothing(kafka: FakeKafka) -> None:
    refuse(kafka, GOOD)
    assert DeadLetterReplay(kafka, TOPICS, JSON).check(EVERYTHING).sent == 1
    assert not kafka.producers
    assert sent(kafka) == []


class FailingKafka(FakeKafka):
    """Its producers' second commit fails."""

    code = KafkaError.REQUEST_TIMED_OUT
    fatal = False

    def producer(self, transactional_id: str | None = None, **_: object) -> Any:
        producer = super().producer(transactional_id)
        producer.failures = {1: KafkaError(self.code, "no answer", fatal=self.fatal)}
        return producer


def test_a_replay_that_failed_continues_where_it_was(kafka: FakeKafka) -> None:
    failing = FailingKafka(kafka.partitions, kafka.log)
    for _ in range(2 * BATCH_LETTERS + 1):
        refuse(failing, GOOD)
    with pytest.raises(AderError, match="run it again, and nothing is sent twice"):
        replay(failing)
    assert len(sent(kafka)) == BATCH_LETTERS
    assert replay(kafka).sent == BATCH_LETTERS + 1
    assert len(sent(kafka)) == 2 * BATCH_LETTERS + 1


def test_a_replay_that_another_has_fenced_says_so(kafka: FakeKafka) -> None:
    failing = FailingKafka(kafka.partitions, kafka.log)
    failing.code, failing.fatal = KafkaError._FENCED, True
    for _ in range(BATCH_LETTERS + 1):
        refuse(failing, GOOD)
    with pytest.raises(FencedError, match="another replay"):
        replay(failing)


def test_a_replay_that_cannot_begin_says_so(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        error = KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        raise KafkaException(KafkaError(error, "not for you"))

    monkeypatch.setattr(FakeProducer, "init_transactions", refused)
    refuse(kafka, GOOD)
    with pytest.raises(AderError, match="not for you"):
        replay(kafka)


def test_a_letter_that_is_no_click_by_the_present_filter_is_left(kafka: FakeKafka) -> None:
    refuse(kafka, GOOD, "bad-value")
    report = replay(kafka, ClickFormat(where='event == "view"'))
    assert (report.sent, report.ignored, sent(kafka)) == (0, {"where": 1}, [])


# --- letters that hold the first bytes alone

LARGE = b'{"session": "a", "item": "x", "time": 1, "html": "' + b"x" * 300_000 + b'"}'


def refuse_truncated(kafka: FakeKafka, value: bytes = LARGE, **original: Any) -> LetterId:
    """Write a click, and the letter of it that was truncated."""
    offset = kafka.append(TOPICS.clicks, value, b"k" * 2_000, [("trace", b"1")])
    record = kafka.log[TOPICS.clicks, 0][offset]
    assert record
    letter = with_reason(dead_letter(record, None, 10_000), ClickError("bad-value", "time"))
    assert letter["truncated"]
    data, headers = encode("DeadLetter", letter | original)
    return LetterId(0, kafka.append(TOPICS.dead_letters, data, b"k", headers))


def test_a_truncated_letter_is_sent_back_from_where_its_original_stands(kafka: FakeKafka) -> None:
    refuse_truncated(kafka)
    assert replay(kafka).sent == 1
    original, again = kafka.records(TOPICS.clicks)
    assert again.value() == LARGE
    assert (again.key(), again.headers()) == (original.key(), original.headers())
    assert replay(kafka).sent == 0


@pytest.mark.parametrize(
    "original", [{"offset": 5}, {"topic": "another"}, {"truncated": {"value_sha256": "0" * 64}}]
)
def test_a_truncated_letter_whose_original_is_gone_is_left_and_counted(
    kafka: FakeKafka, original: dict[str, Any]
) -> None:
    if "truncated" in original:
        original["truncated"] |= dict.fromkeys(
            ("key_bytes", "value_bytes", "headers", "headers_bytes"), 0
        )
    refuse_truncated(kafka, **original)
    report = replay(kafka)
    assert (report.sent, report.gone) == (0, 1)
    assert len(kafka.records(TOPICS.clicks)) == 1


def test_a_truncated_letter_whose_original_retention_has_deleted_is_left(kafka: FakeKafka) -> None:
    refuse_truncated(kafka)
    kafka.trimmed[TOPICS.clicks, 0] = 1
    assert replay(kafka).gone == 1


def test_what_is_corrected_of_a_truncated_letter_is_sent_with_the_rest_of_the_original(
    kafka: FakeKafka,
) -> None:
    broken = LARGE.replace(b'"time": 1', b'"time": "x"')
    refuse_truncated(kafka, broken)
    [letter] = read_letters(kafka, TOPICS, EVERYTHING)
    line = letter_as_json(letter)
    assert line["truncated"]["value_bytes"] == len(broken)
    untouched = read_changed_letters([json.dumps(line)])
    assert replay(kafka, corrected=untouched).refused == {"bad-value": 1}
    corrected = read_changed_letters([json.dumps(line | {"value": GOOD.decode()})])
    assert replay(kafka, corrected=corrected).sent == 1
    *_, again = kafka.records(TOPICS.clicks)
    assert (again.value(), again.key(), again.headers()) == (GOOD, b"k" * 2_000, [("trace", b"1")])


def test_a_click_that_is_too_large_is_sent_back_when_the_limit_is_raised(kafka: FakeKafka) -> None:
    large = GOOD.replace(b'"x"', b'"' + b"x" * 2_000 + b'"')
    refuse(kafka, large, "too-large")
    assert replay(kafka, ClickFormat(max_bytes=1_000)).refused == {"too-large": 1}
    assert replay(kafka, ClickFormat(max_bytes=3_000)).sent == 1
