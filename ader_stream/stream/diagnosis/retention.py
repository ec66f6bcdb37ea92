"""Check what the clicks topic keeps, for how long, and by which timestamps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from ader_stream.plausible_times import EARLIEST_MS
from ader_stream.stream.diagnosis.finding import Finding, as_duration
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.kafka.sampling import SampledRecord
from ader_stream.types import MINUTE_MS

SHORTEST_MS = MINUTE_MS
"""Shortest time of a sample that gives a rate."""


def check_cleanup(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check whether the topic keeps every click, or only the last one of a key."""
    topic = subject.topics.clicks
    if not subject.partitions:
        return
    policy = subject.clicks_config().get("cleanup.policy", "delete")
    if "compact" not in policy.split(","):
        yield Finding("ok", f"{topic} keeps every click (cleanup.policy={policy})")
        return
    keys = Counter(r.key() for r in subject.records if r.key() is not None)
    key, count = next(iter(keys.most_common(1)), (b"", 0))
    seen = f"; of {count} records with key {key!r:.60} sampled one would stay" if count > 1 else ""
    yield Finding(
        "error" if count > 1 else "warning",
        f"{topic} has cleanup.policy={policy}: of all records with one key only the last one is "
        f"kept{seen}",
        f"set cleanup.policy=delete for {topic}, or feed clicks into a topic that is not compacted",
    )


def check_retention(subject: DiagnosisInput) -> Iterator[Finding]:
    """Compare the retention with a block, and with the timestamps on which retention depends."""
    if not subject.partitions:
        return
    yield _kept_time(subject)
    if finding := _kept_bytes(subject):
        yield finding
    if finding := _old_timestamps(subject, subject.records):
        yield finding


def check_timestamps(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check what the records' own timestamps are, if they are the event times."""
    if not subject.format.reads_record_time or not subject.partitions:
        return
    topic, config = subject.topics.clicks, subject.clicks_config()
    if config.get("message.timestamp.type", "CreateTime") == "CreateTime":
        yield Finding("ok", f"{topic} keeps the timestamp that a click was sent with")
        return
    yield Finding(
        "warning",
        f"{topic} has message.timestamp.type=LogAppendTime: the event time is when a click reaches "
        "the broker, and clicks sent again would be new ones",
        "set CreateTime, or name a field in clicks.time_field",
    )


def _kept_time(subject: DiagnosisInput) -> Finding:
    topic, retention = subject.topics.clicks, _retention_ms(subject)
    block = subject.rules.blocks.length
    if retention < 0:
        return Finding("ok", f"{topic} keeps its records for ever (retention.ms=-1)")
    text = f"{topic} keeps its records for {as_duration(retention)} (retention.ms={retention})"
    if retention >= block:
        return Finding("ok", text)
    return Finding(
        "warning",
        f"{text}, a block is {as_duration(block)}: what a worker has not read by then is lost, and "
        "no block can be read again",
        f"set retention.ms of {topic} to more than blocks.length = {block} ms",
    )


def _kept_bytes(subject: DiagnosisInput) -> Finding | None:
    """Compare the time that the kept bytes last, at the rate of the sample, with a block."""
    topic, block = subject.topics.clicks, subject.rules.blocks.length
    limit = int(subject.clicks_config().get("retention.bytes", "-1"))
    if limit < 0:
        return None
    logs = groupby(subject.records, key=SampledRecord.partition)
    rates = [_bytes_per_ms(list(of_log)) for _, of_log in logs]
    fastest = max(rates, default=0.0)
    lasts = limit / fastest if fastest else float("inf")
    text = f"{topic} keeps {limit:,} bytes of each partition (retention.bytes)"
    if lasts >= block:
        return Finding("ok", text)
    return Finding(
        "warning",
        f"{text}: {as_duration(int(lasts))} at the rate of the sample, and a block is "
        f"{as_duration(block)}",
        f"set retention.bytes of {topic} to -1, or to what a block takes and more",
    )


def _old_timestamps(subject: DiagnosisInput, records: Sequence[SampledRecord]) -> Finding | None:
    """Check whether retention sees the timestamps of old events."""
    topic, retention = subject.topics.clicks, _retention_ms(subject)
    if not records or retention < 0:
        return None
    oldest = min(record.timestamp()[1] for record in records)
    age = subject.now - oldest
    is_set = oldest >= EARLIEST_MS
    said = f"{as_duration(age)} old" if is_set else "without a plausible timestamp"
    text = f"retention depends on the records' timestamps, and the oldest one sampled is {said}"
    if is_set and age < retention / 2:
        return Finding("ok", text)
    return Finding(
        "warning",
        f"{text}, {topic} keeps {as_duration(retention)}: replayed clicks that carry their event "
        "time there are deleted within minutes",
        f"set retention.ms=-1 for {topic}, or leave the timestamp to the producer's clock and send "
        "the event time in the value",
    )


def _retention_ms(subject: DiagnosisInput) -> int:
    return int(subject.clicks_config().get("retention.ms", "-1"))


def _bytes_per_ms(records: Sequence[SampledRecord]) -> float:
    """Return the bytes that a partition gets in a ms; 0 if that is unknown."""
    took = records[-1].timestamp()[1] - records[0].timestamp()[1]
    return sum(record.size for record in records) / took if took >= SHORTEST_MS else 0.0
