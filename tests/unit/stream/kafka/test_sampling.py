from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from ader_stream.errors import AuthorizationError
from ader_stream.stream.kafka import sampling
from ader_stream.stream.kafka.sampling import SampledRecord, sample_records
from tests.fakes import FakeKafka, FakeReader, FakeRecord

TOPIC = "clicks"


def written(*counts: int) -> FakeKafka:
    kafka = FakeKafka({TOPIC: len(counts)})
    for partition, count in enumerate(counts):
        for number in range(count):
            kafka.append(TOPIC, b"%d" % number, partition=partition)
    return kafka


def offsets(records: list[SampledRecord]) -> list[tuple[int, int]]:
    return [(record.partition(), record.offset()) for record in records]


def test_each_partition_gives_the_records_of_its_span() -> None:
    sample = sample_records(written(5, 1, 9), TOPIC, {0: (1, 3), 1: (1, 1), 2: (8, 9)})
    assert offsets(sample) == [(0, 1), (0, 2), (2, 8)]


def test_a_span_beyond_the_end_of_the_log_gives_what_there_is() -> None:
    assert offsets(sample_records(written(2, 1), TOPIC, {0: (0, 50), 1: (0, 9)})) == [
        (0, 0),
        (0, 1),
        (1, 0),
    ]


def test_offsets_that_hold_no_record_are_passed_over() -> None:
    kafka = written(4)
    for record in (kafka.records(TOPIC)[1], kafka.records(TOPIC)[-1]):
        kafka.remove(record)
    assert offsets(sample_records(kafka, TOPIC, {0: (0, 4)})) == [(0, 0), (0, 2)]


def test_a_copy_has_all_that_its_record_has() -> None:
    kafka = FakeKafka()
    kafka.append(TOPIC, b"value", b"key", [("trace", b"\xff")], timestamp=7)
    [original], [copy] = kafka.records(TOPIC), sample_records(kafka, TOPIC, {0: (0, 1)})
    for name in ("topic", "partition", "offset", "key", "value", "headers", "timestamp"):
        assert getattr(copy, name)() == getattr(original, name)()
    assert copy.size == len(b"valuekey")


def test_headers_are_asked_of_the_original_once_alone() -> None:
    class Fragile(FakeRecord):
        asked = 0

        def headers(self) -> None:
            self.asked += 1
            raise SystemError("not UTF-8")

    fragile = Fragile()
    copy = SampledRecord.of(fragile)
    assert (copy.headers(), copy.headers(), fragile.asked) == ([], [], 1)


def test_large_records_end_the_sample_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_BYTES", 10)
    monkeypatch.setattr(sampling, "AT_ONCE", 1)
    assert len(sample_records(written(99), TOPIC, {0: (0, 99)})) == 10


def test_a_silent_log_ends_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SILENT_SECONDS", 0.01)
    monkeypatch.setattr(FakeReader, "consume", lambda *_: [])
    assert sample_records(written(3), TOPIC, {0: (0, 3)}) == []


def test_what_may_not_be_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = FakeRecord(topic=TOPIC, error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    monkeypatch.setattr(FakeReader, "consume", lambda *_: [refusal])
    with pytest.raises(AuthorizationError, match="needs Read on Topic clicks"):
        sample_records(written(3), TOPIC, {0: (0, 3)})
