"""Which topics are there, and what they keep."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.stream.avro.codec import encode
from ader_stream.stream.clicks.decoder import RECORD_TIME
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import DAY_MS, HOUR_MS
from tests.fakes import FakeAdmin, FakeKafka, FakeReader, example
from tests.unit.stream.diagnosis.shop import (
    NOW,
    SINCE,
    TOPICS,
    cluster,
    diagnosed,
    of,
    said,
    send,
    visits,
)


def shop(**config: str) -> FakeKafka:
    kafka = send(cluster(), visits(20))
    kafka.configs[TOPICS.clicks] |= {name.replace("_", "."): v for name, v in config.items()}
    return kafka


def test_a_sound_topic_is_sound_in_every_respect() -> None:
    findings = diagnosed(shop())
    assert {finding.level for finding in findings} == {"ok"}
    assert [finding.remedy for finding in findings] == [""] * len(findings)
    assert all(finding.check for finding in findings)


def test_a_missing_topic_is_named_with_those_that_its_name_may_be_a_misspelling_of() -> None:
    kafka = cluster(Topics("ader", "web.clicks"))
    send(kafka, visits(3), "web.clicks")
    kafka.partitions |= {"web.clocks": 1, "logs": 1, "web.things": 1}
    send(kafka, visits(3), "web.things")
    findings = diagnosed(kafka, topics=Topics("ader", "web.clikcs"))
    assert said(findings, "warning") == []
    assert said(findings, "error") == [
        "web.clikcs: no such topic → did you mean web.clicks? Set clicks.topic (ADER_CLICKS_TOPIC)"
    ]


def test_a_misspelled_name_of_the_own_prefix_is_compared_with_the_others_there() -> None:
    kafka = send(cluster(), visits(3))
    for other in ("odes", "oder", "aber", "ade"):
        kafka.partitions[f"{other}.clicks"] = 1
        send(kafka, visits(3), f"{other}.clicks")
    first, *rest = said(diagnosed(kafka, topics=Topics("ader", "ader.click")), "error")
    assert first.startswith("ader.click: no such topic → did you mean ader.clicks or ")
    assert not any("did you mean ader.clicks?" in text for text in rest)


def test_a_topic_that_may_not_be_seen_is_not_taken_for_missing() -> None:
    kafka = shop()
    kafka.hidden.add(TOPICS.clicks)
    [error] = said(diagnosed(kafka), "error")
    assert f"doctor needs Describe on Topic {TOPICS.clicks}" in error
    assert "no such topic" not in error


def test_a_misspelled_topic_that_was_made_is_empty_and_the_right_one_is_near() -> None:
    topics = Topics("ader", "web.clikcs")
    kafka = cluster(topics)
    kafka.partitions["web.clicks"] = 2
    send(kafka, visits(3), "web.clicks")
    [waiting] = said(diagnosed(kafka, topics=topics), "waiting")
    assert "web.clikcs holds no records that can be read yet" in waiting
    assert "did you mean web.clicks?" in waiting


@pytest.mark.parametrize("name", ["ader.sessions", "ader.dead-letters", "__consumer_offsets"])
def test_a_topic_that_is_no_topic_of_clicks_is_refused_by_its_name(name: str) -> None:
    kafka = cluster()
    kafka.partitions["__consumer_offsets"] = 50
    errors = said(diagnosed(kafka, topics=Topics("ader", name)), "error")
    assert any(f"clicks.topic = {name}: a topic" in text for text in errors)
    assert any("set clicks.topic to the topic in which your clicks are" in text for text in errors)


def test_a_topic_of_another_system_of_ours_is_known_by_what_it_holds() -> None:
    topics = Topics("ader", "other.sessions")
    kafka = cluster(topics)
    value, headers = encode("SessionBatch", example("SessionBatch"))
    kafka.append("other.sessions", value, headers=headers, timestamp=NOW)
    assert any(
        "other.sessions holds SessionBatch: records that ader-stream writes, and no clicks" in text
        for text in said(diagnosed(kafka, topics=topics), "error")
    )


def test_our_missing_topics_are_named_though_the_clicks_are_missing_too() -> None:
    kafka = cluster()
    for name in (TOPICS.clicks, TOPICS.models):
        del kafka.partitions[name]
    errors = said(diagnosed(kafka), "error")
    assert any(text.startswith("ader.clicks: no such topic") for text in errors)
    assert any(text.startswith("missing: ader.models → run") for text in errors)


def test_what_our_topics_would_lose_is_named() -> None:
    kafka = shop()
    kafka.configs[TOPICS.sessions]["retention.ms"] = "1000"
    [error] = said(diagnosed(kafka), "error")
    assert "ader.sessions: retention.ms=1000 (expected -1)" in error


def test_dead_letters_that_nobody_could_see_in_time_are_an_error() -> None:
    kafka = shop()
    kafka.configs[TOPICS.dead_letters]["retention.ms"] = "1000"
    [error] = said(diagnosed(kafka), "error")
    assert "ader.dead-letters: retention.ms=1000 (expected 604800000)" in error
    assert "`ader-stream topics alter` sets what is expected" in error


def test_a_compacted_topic_loses_all_but_the_last_click_of_a_visit() -> None:
    [error] = said(diagnosed(shop(cleanup_policy="compact,delete")), "error")
    assert "cleanup.policy=compact,delete: of all records with one key only the last" in error
    assert "of 3 records with key b'visit-0' sampled one would stay" in error
    assert "set cleanup.policy=delete for ader.clicks" in error


def test_a_compacted_topic_with_a_key_of_its_own_for_each_click_is_a_warning() -> None:
    kafka = cluster()
    kafka.configs[TOPICS.clicks]["cleanup.policy"] = "compact"
    for number, value in enumerate(visits(5)):
        send(kafka, [value], key=f"event-{number}")
    findings = of(diagnosed(kafka), "clean-up")
    assert [finding.level for finding in findings] == ["warning"]


def test_retention_shorter_than_a_block_is_reported_in_time_and_in_bytes() -> None:
    short = said(diagnosed(shop(retention_ms=str(6 * HOUR_MS))), "warning")
    assert any("keeps its records for 6 hours (retention.ms=21600000), a block is 7 days" in text
               for text in short)  # fmt: skip
    kafka = shop(retention_bytes="500")
    for number, value in enumerate(visits(30, SINCE + DAY_MS)):
        send(kafka, [value], timestamp=NOW + number * HOUR_MS)
    [warning] = said(diagnosed(kafka), "warning")
    assert "keeps 500 bytes of each partition (retention.bytes)" in warning
    assert "at the rate of the sample, and a block is 7 days" in warning


def test_retention_that_is_long_enough_is_fine() -> None:
    levels = {f.level for f in of(diagnosed(shop(retention_ms=str(30 * DAY_MS))), "retention")}
    assert levels == {"ok"}


def test_replayed_clicks_with_timestamps_beyond_retention_are_about_to_be_deleted() -> None:
    kafka = shop(retention_ms=str(8 * DAY_MS))
    send(kafka, visits(2, SINCE + DAY_MS), timestamp=NOW - 9 * DAY_MS)
    [warning] = said(diagnosed(kafka), "warning")
    assert "the oldest one sampled is 9 days old, ader.clicks keeps 8 days" in warning


def test_an_event_time_that_the_broker_makes_is_a_warning() -> None:
    kafka = shop(message_timestamp_type="LogAppendTime")
    warnings = said(diagnosed(kafka, time=RECORD_TIME), "warning")
    assert any("the event time is when a click reaches the broker" in text for text in warnings)
    assert said(diagnosed(kafka), "warning") == []


def test_a_time_out_beyond_the_brokers_limit_is_an_error() -> None:
    kafka = shop()
    kafka.configs["1"]["transaction.max.timeout.ms"] = "5000"
    [error] = said(diagnosed(kafka), "error")
    assert "kafka.transaction_timeout = 10000 ms, the broker allows 5000 ms" in error


def forbid(*_: Any, **__: Any) -> Any:
    raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))


def test_rights_that_no_worker_needs_hide_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeAdmin, "describe_configs", forbid)
    findings = diagnosed(shop())
    assert {finding.level for finding in findings} == {"ok", "warning"}
    assert {f.check for f in findings if f.level == "warning"} == {
        "topics' configuration",
        "broker's limits",
        "clean-up",
    }
    assert of(findings, "sessions")


def test_clicks_that_may_not_be_read_are_reported_once_and_hide_no_topic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeReader, "consume", forbid)
    findings = diagnosed(shop())
    [error] = [finding for finding in findings if finding.level == "error"]
    assert "authorization failed" in error.text
    assert {f.check for f in findings} >= {"clicks topic", "topics", "clean-up", "retention"}


def test_no_broker_is_all_that_can_be_said() -> None:
    class Nowhere(FakeKafka):
        def check_reachable(self) -> None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    [finding] = diagnosed(Nowhere())
    assert finding.level == "error"
