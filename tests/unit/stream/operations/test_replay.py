from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ader_stream.errors import SettingsError, TopicError
from ader_stream.stream.clicks.decoder import (
    RECORD_TIME,
    ClickDecoder,
    ClickFormat,
    decode_heartbeat,
)
from ader_stream.stream.model_registry.manifest_record import encode_manifest
from ader_stream.stream.model_registry.serving_log import ServingLog
from ader_stream.stream.operations.replay import Replayer, wait_until_served
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule, Click
from tests.fakes import FakeKafka, complete_manifest

TOPICS = Topics("ader")
BLOCKS = BlockRule(origin=0, length=1000)
CLICKS = [Click("a", "x", 5), Click("b", "y", 7), Click("a", "z", 9)]
BY_ITS_KEY = -1
"""The partition that leaves the choice to the producer's partitioner."""


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka({name: count for name, count, _ in TOPICS.specifications(2)})


def replayer(kafka: FakeKafka, format_: ClickFormat | None = None) -> Replayer:
    return Replayer(kafka, TOPICS, BLOCKS, format_ or ClickFormat(), rate=None)


def test_clicks_are_written_in_order_each_with_its_key(kafka: FakeKafka) -> None:
    replaying = replayer(kafka)
    replaying.send(CLICKS)
    records = kafka.records(TOPICS.clicks, BY_ITS_KEY)
    decoder = ClickDecoder(ClickFormat())
    assert [decoder.decode(record) for record in records] == CLICKS
    assert [record.key() for record in records] == [b"a", b"b", b"a"]
    assert replaying.clicks_sent == 3


def test_the_records_timestamp_is_the_event_time_where_it_is_read_from_there(
    kafka: FakeKafka,
) -> None:
    format_ = ClickFormat(time=RECORD_TIME)
    replayer(kafka, format_).send(CLICKS)
    records = kafka.records(TOPICS.clicks, BY_ITS_KEY)
    assert [ClickDecoder(format_).decode(record) for record in records] == CLICKS


def test_the_end_of_a_block_is_a_heartbeat_to_every_partition(kafka: FakeKafka) -> None:
    replayer(kafka).end_block(4)
    for partition in (0, 1):
        [record] = kafka.records(TOPICS.clicks, partition)
        assert (record.key(), record.value()) == (None, None)
        assert decode_heartbeat(record.headers()) == 5000


@pytest.mark.parametrize(
    "names", [{"session": "user + device"}, {"item": "%item"}, {"time": "ps[key=at].value"}]
)
def test_settings_that_would_not_read_what_is_written_are_refused(
    kafka: FakeKafka, names: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match=r"would not read as the same click: no field"):
        replayer(kafka, ClickFormat(**names))


def test_clicks_that_the_broker_refuses_are_not_counted_as_sent(kafka: FakeKafka) -> None:
    replaying = replayer(kafka)
    kafka.producers[-1].refusal = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not allowed")
    with pytest.raises(TopicError, match=r"ader\.clicks: not written: not allowed"):
        replaying.send(CLICKS)
    assert replaying.clicks_sent == 0


@pytest.mark.parametrize(
    "format_", [ClickFormat("avro-registry"), ClickFormat("avro", avro_schema=Path("own.avsc"))]
)
def test_clicks_of_a_schema_of_the_users_own_are_not_written(
    kafka: FakeKafka, format_: ClickFormat
) -> None:
    with pytest.raises(SettingsError, match=r"set clicks\.format for this run"):
        replayer(kafka, format_)


def test_without_its_topics_nothing_is_sent() -> None:
    with pytest.raises(TopicError, match=r"ader\.clicks \(missing\)"):
        replayer(FakeKafka())


def test_a_block_is_waited_for_until_it_is_served_everywhere(kafka: FakeKafka) -> None:
    serving = ServingLog(kafka, TOPICS, "worker")
    waits = iter([{0: 0}, {0: 0, 1: 0}])

    def resume() -> None:
        serving.show(1, 5, None, next(waits))
        kafka.producers[-1].flush(0)

    value, headers = encode_manifest(complete_manifest(1, blocks=[3]))
    kafka.append(TOPICS.models, value, "1", headers)
    wait_until_served(SystemView(kafka, TOPICS), 3, resume)
    assert list(waits) == []
