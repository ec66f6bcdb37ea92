"""Check which topics exist, and whether their setup is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from confluent_kafka import KafkaException

from ader_stream.errors import AderError
from ader_stream.stream.avro.codec import TYPE_HEADER
from ader_stream.stream.diagnosis.finding import Finding
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.kafka.reading import offset_ranges
from ader_stream.stream.kafka.rights import Right, require_rights
from ader_stream.stream.topics.safety import check_configs
from ader_stream.stream.topics.topics import NEAR_NAMES, check_topics, near_names


def check_clicks_topic(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check the clicks topic; if it does not exist, search for a similar name.

    Raises
    ------
    AuthorizationError
        If this user may not describe it: it looks as if it were missing.
    """
    topic, counts = subject.topics.clicks, subject.partition_counts()
    if topic in our_names(subject):
        yield Finding(
            "error",
            f"clicks.topic = {topic}: a topic that ader-stream writes itself",
            "set clicks.topic to the topic in which your clicks are",
        )
    elif topic.startswith("__"):
        yield Finding(
            "error",
            f"clicks.topic = {topic}: a topic of Kafka's own",
            "set clicks.topic to the topic in which your clicks are",
        )
    elif topic not in counts:
        require_rights(subject.clients, [Right("Topic", topic, ("Describe",))], "doctor")
        yield Finding("error", f"{topic}: no such topic", _where_clicks_are(subject))
    else:
        yield Finding("ok", f"{topic} has {counts[topic]} partitions", details={"topic": topic})


def check_our_topics(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check our own topics and their retention."""
    counts, names = subject.partition_counts(), our_names(subject)
    if subject.topics.clicks not in counts or subject.topics.clicks in names:
        # The needed number of partitions of our topics is unknown.
        missing = ", ".join(name for name in names if name not in counts)
        if missing:
            yield Finding("error", f"missing: {missing}", "run `ader-stream topics create`")
        return
    check_topics(subject.admin(), subject.topics)
    yield Finding("ok", f"all {len(names)} topics of ader-stream exist")


def check_our_configs(subject: DiagnosisInput) -> Iterator[Finding]:
    """Compare the configuration of our topics with the needed one."""
    counts = subject.partition_counts()
    if all(name in counts for name in our_names(subject)):
        check_configs(subject.admin(), subject.topics)
        yield Finding("ok", "all topics of ader-stream keep their records as needed")


def check_contents(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check that the clicks topic has records, and none that ader-stream has written."""
    sample = subject.sample()
    written = [r for r in sample.records if any(name == TYPE_HEADER for name, _ in r.headers())]
    if written:
        types = {dict(record.headers())[TYPE_HEADER].decode() for record in written}
        yield Finding(
            "error",
            f"{subject.topics.clicks} holds {', '.join(sorted(types))}: records that ader-stream "
            "writes, and no clicks",
            _where_clicks_are(subject),
        )
    elif not sample.records and sample.ranges and not sample.unread:
        yield Finding(
            "waiting",
            f"{subject.topics.clicks} holds no records that can be read yet: nothing to check",
            _where_clicks_are(subject),
        )


def our_names(subject: DiagnosisInput) -> list[str]:
    """Return the names of the topics that ader-stream writes."""
    topics = replace(subject.topics, clicks_name="")
    return [name for name, *_ in topics.specifications(1) if name != topics.clicks]


def _holds_records(subject: DiagnosisInput, topic: str, partitions: int) -> bool:
    try:
        ranges = offset_ranges(subject.clients, topic, range(partitions))
    except (AderError, KafkaException):  # this user may not be allowed to describe it
        return True
    return any(first < end for first, end in ranges.values())


def _where_clicks_are(subject: DiagnosisInput) -> str:
    counts = subject.partition_counts()
    others = near_names(subject.topics, counts)
    held = (name for name in others if _holds_records(subject, name, counts[name]))
    if near := [*islice(held, NEAR_NAMES)]:
        return f"did you mean {' or '.join(near)}? Set clicks.topic (ADER_CLICKS_TOPIC)"
    return "set clicks.topic to the topic in which your clicks are, and send some"
