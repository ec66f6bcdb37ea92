"""What is wrong between this system and a cluster, and how to mend it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from ader_stream.errors import AderError, ClickError, TopicError
from ader_stream.stream.clicks.decoder import RECORD_TIME, ClickDecoder, ClickFormat
from ader_stream.stream.kafka.changelog import offset_range, read_range
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.topics import ADMIN_TIMEOUT, Topics, check_configs, check_topics
from ader_stream.types import DAY_MS

SAMPLE = 2_000
"""Clicks looked at in each partition, the newest ones."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    level
        ``ok``, ``warning`` or ``error``.
    text
        What was found and, if it is not ok, how to mend it.
    """

    level: str
    text: str


def diagnose(clients: KafkaClients, topics: Topics, format: ClickFormat) -> Iterator[Finding]:  # noqa: A002
    """Look at connection, topics, retention, limits and a sample of the clicks, in this order.

    What needs a step that failed is left out.
    """
    try:
        clients.check_reachable()
        yield Finding("ok", f"a broker answers at {clients.bootstrap_servers}")
        partitions = check_topics(clients.admin(), topics)
    except AderError as error:
        yield Finding("error", str(error))
        return
    yield Finding("ok", f"every topic is there; {topics.clicks} has {partitions} partitions")
    admin = clients.admin()
    yield _check_configs(admin, topics)
    yield _check_transaction_timeout(_broker_config(admin), clients.transaction_timeout)
    yield _check_group_protocol(_broker_config(admin), clients)
    records = [
        record for partition in range(partitions) for record in _sample(clients, topics, partition)
    ]
    if not records:
        yield Finding("warning", f"{topics.clicks} holds no clicks yet: nothing to look at")
        return
    config = _topic_config(admin, topics.clicks)
    yield _check_retention(config, topics.clicks, records)
    if format.time == RECORD_TIME:
        yield _check_timestamps(config, topics.clicks)
    try:
        yield from _check_clicks(records, ClickDecoder(format))
    except AderError as error:  # a schema registry that does not answer, or refuses us
        yield Finding("error", str(error))


def _check_configs(admin: AdminClient, topics: Topics) -> Finding:
    try:
        check_configs(admin, topics)
    except TopicError as error:
        return Finding("error", str(error))
    return Finding("ok", "every topic of ours keeps what it must")


def _check_transaction_timeout(broker: dict[str, str], timeout: int) -> Finding:
    limit = int(broker.get("transaction.max.timeout.ms", timeout))
    if timeout <= limit:
        return Finding("ok", f"transaction timeout {timeout} ms, the broker allows {limit} ms")
    return Finding(
        "error",
        f"kafka.transaction_timeout = {timeout} ms, the broker allows {limit} ms: lower it, or "
        "raise transaction.max.timeout.ms",
    )


def _check_group_protocol(broker: dict[str, str], clients: KafkaClients) -> Finding:
    if clients.group_protocol == "classic":
        return Finding(
            "ok", f"classic group protocol, session timeout {clients.session_timeout} ms"
        )
    timeout = broker.get("group.consumer.session.timeout.ms", "unknown")
    return Finding("ok", f"consumer group protocol, the broker's session timeout is {timeout} ms")


def _check_retention(config: dict[str, str], topic: str, records: list[Record]) -> Finding:
    retention = int(config.get("retention.ms", "-1"))
    oldest = min(record.timestamp()[1] for record in records)
    if retention < 0:
        return Finding("ok", f"{topic} keeps its records for good")
    age = time.time() * 1000 - oldest
    text = (
        f"{topic} deletes records whose timestamp is older than {retention / DAY_MS:.1f} days; the "
        f"oldest one sampled is {age / DAY_MS:.1f} days old"
    )
    if age < retention / 2:
        return Finding("ok", text)
    return Finding(
        "warning",
        f"{text}: retention goes by the record's timestamp, so replayed clicks that carry their "
        "event time there are deleted within minutes. Set retention.ms=-1, or leave the timestamp "
        "to the producer's clock and send the event time in the value",
    )


def _check_timestamps(config: dict[str, str], topic: str) -> Finding:
    if config.get("message.timestamp.type", "CreateTime") == "CreateTime":
        return Finding("ok", f"{topic} keeps the timestamp that a click was sent with")
    return Finding(
        "warning",
        f"{topic} has message.timestamp.type=LogAppendTime: the event time is when a click reaches "
        "the broker, and clicks sent again would be new ones. Set CreateTime, or name a field in "
        "clicks.time_field",
    )


def _check_clicks(records: list[Record], decoder: ClickDecoder) -> Iterator[Finding]:
    partitions_of: defaultdict[str, set[int]] = defaultdict(set)
    refused: list[tuple[Record, ClickError]] = []
    for record in records:
        if record.value() is None:
            continue  # a heartbeat
        try:
            partitions_of[decoder.decode(record).key].add(record.partition())
        except ClickError as error:
            refused.append((record, error))
    yield _check_refused(len(records), refused)
    scattered = [key for key, partitions in partitions_of.items() if len(partitions) > 1]
    if scattered:
        yield Finding(
            "error",
            f"{len(scattered)} of {len(partitions_of)} session keys sampled stand in several "
            f"partitions, {scattered[0]!r} for one: a session would be cut apart. Produce clicks "
            "with the session key as the record's key",
        )
    else:
        yield Finding("ok", f"each of {len(partitions_of)} session keys keeps to one partition")


def _check_refused(count: int, refused: list[tuple[Record, ClickError]]) -> Finding:
    if not refused:
        return Finding("ok", f"{count} records sampled, all of them clicks or heartbeats")
    record, error = refused[0]
    return Finding(
        "error",
        f"{len(refused)} of {count} records sampled would become dead letters; the one at "
        f"partition {record.partition()}, offset {record.offset()}: {error}. Check clicks.format "
        "and clicks.*_field",
    )


def _sample(clients: KafkaClients, topics: Topics, partition: int) -> Iterator[Record]:
    first, end = offset_range(clients, topics.clicks, partition)
    yield from read_range(clients, topics.clicks, partition, max(first, end - SAMPLE), end)


def _topic_config(admin: AdminClient, topic: str) -> dict[str, str]:
    return _config(admin, ConfigResource(ResourceType.TOPIC, topic))


def _broker_config(admin: AdminClient) -> dict[str, str]:
    broker = next(iter(admin.list_topics(timeout=ADMIN_TIMEOUT).brokers))
    return _config(admin, ConfigResource(ResourceType.BROKER, str(broker)))


def _config(admin: AdminClient, resource: ConfigResource) -> dict[str, str]:
    [future] = admin.describe_configs([resource]).values()
    entries = future.result(ADMIN_TIMEOUT)
    return {name: entry.value for name, entry in entries.items() if entry.value is not None}
