"""Compare the properties of topics with those that prevent a loss of records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from ader_stream.errors import TopicError
from ader_stream.stream.topics.durability import PartitionReplicas, spread
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT, read_config
from ader_stream.types import DAY_MS

Config = Mapping[str, str]

_EXACTLY = ("unclean.leader.election.enable",)
_AT_LEAST = ("max.message.bytes", "delete.retention.ms", "min.insync.replicas")
_RETENTION = ("retention.ms", "retention.bytes")
_UNLIMITED = -1

SHORTEST_RETENTION = {"retention.ms": DAY_MS}
"""If records are not kept for ever, the user may choose the time, as long as a reader that runs
once a day can read each of them."""


class ConfigDifference(NamedTuple):
    """A property of a topic that differs from the needed one."""

    topic: str
    name: str
    found: str
    expected: str

    def __str__(self) -> str:
        """Return the property with both values."""
        return f"{self.topic}: {self.name}={self.found} (expected {self.expected})"


def config_differences(admin: AdminClient, needed: Mapping[str, Config]) -> list[ConfigDifference]:
    """Compare properties that can lose or refuse a record; the others affect speed only.

    A property that the broker does not know is skipped.

    Parameters
    ----------
    needed
        Topic → its properties.
    """
    found = topic_configs(admin, needed.keys())
    return [
        ConfigDifference(topic, name, found[topic][name], expected)
        for topic, config in needed.items()
        for name, expected in config.items()
        if name in found[topic] and not _is_enough(name, found[topic][name], expected)
    ]


def topic_configs(admin: AdminClient, topics: Collection[str]) -> dict[str, Config]:
    """Read the properties of topics; raise the same errors as `read_config`."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    answers = admin.describe_configs(resources) if resources else {}
    return {resource.name: read_config(resource, answer) for resource, answer in answers.items()}


def alter(admin: AdminClient, differences: Sequence[ConfigDifference]) -> None:
    """Set each property to the needed value.

    Raises
    ------
    TopicError
        If the broker refuses one.
    """
    resources = [
        ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[*map(_setting, of_topic)])
        for topic, of_topic in groupby(differences, attrgetter("topic"))
    ]
    altered = admin.incremental_alter_configs(resources) if resources else {}
    for resource, future in altered.items():
        try:
            future.result(ADMIN_TIMEOUT)
        except KafkaException as error:
            raise TopicError(f"cannot alter {resource.name}: {error.args[0].str()}") from None


def too_few(kept: Collection[PartitionReplicas]) -> list[PartitionReplicas]:
    """Return the partitions with too few replicas."""
    return [each for each in kept if len(each.brokers) < each.needed]


def replicas_text(few: Sequence[PartitionReplicas]) -> str:
    """Return topics and partitions with too few replicas, as text.

    >>> replicas_text([PartitionReplicas("t", 0, (1,), 3), PartitionReplicas("t", 2, (2,), 3)])
    't/0,2: 1 replica (expected 3)'
    """
    return ", ".join(
        f"{topic}/{','.join(str(each.partition) for each in of_topic)}: "
        f"{count} replica{'s' * (count > 1)} (expected {needed})"
        for (topic, count, needed), of_topic in groupby(
            few, lambda each: (each.topic, len(each.brokers), each.needed)
        )
    )


def reassignment(few: Collection[PartitionReplicas], brokers: Collection[int]) -> dict[str, object]:
    """Return the plan for `kafka-reassign-partitions.sh`: librdkafka cannot move partitions."""
    return {
        "version": 1,
        "partitions": [
            {"topic": each.topic, "partition": each.partition, "replicas": [*each.brokers]}
            for each in spread(few, brokers)
        ],
    }


def _is_enough(name: str, found: str, expected: str) -> bool:
    if name in _EXACTLY:
        return found == expected
    if name in _RETENTION:
        return _is_kept_enough(name, int(found), int(expected))
    if name in _AT_LEAST:
        return int(found) >= int(expected)
    if name == "cleanup.policy":
        return {*found.split(",")} == {*expected.split(",")}
    return True


def _is_kept_enough(name: str, found: int, expected: int) -> bool:
    """Return whether a retention is unlimited, or long enough where a limit is expected."""
    shortest = min(expected, SHORTEST_RETENTION.get(name, expected))
    return found == _UNLIMITED or (expected != _UNLIMITED and found >= shortest)


def _setting(difference: ConfigDifference) -> ConfigEntry:
    return ConfigEntry(
        difference.name,
        difference.expected,
        incremental_operation=AlterConfigOpType.SET,
    )
