"""Check whether our topics, and Kafka's topics for our commits, keep their records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka.admin import AdminClient

from ader_stream.errors import TopicError
from ader_stream.stream.topics.differences import (
    ConfigDifference,
    config_differences,
    replicas_text,
    too_few,
    topic_configs,
)
from ader_stream.stream.topics.durability import (
    INTERNAL,
    USUAL_FACTOR,
    PartitionReplicas,
    replicas_of,
)
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT, Topics


class Unsafe(NamedTuple):
    """Problems that may lose records.

    Parameters
    ----------
    configs
        Properties that would lose or refuse records.
    few
        Partitions with too few replicas.
    brokers
        Brokers of the cluster.
    """

    configs: list[ConfigDifference]
    few: list[PartitionReplicas]
    brokers: list[int]


def find_unsafe(admin: AdminClient, topics: Topics) -> Unsafe:
    """Compare our topics, and Kafka's topics with our commits, with what they need.

    Raises
    ------
    TopicError
        If a topic cannot be described.
    """
    cluster = admin.list_topics(timeout=ADMIN_TIMEOUT)
    replication, configs = topics.durability.on(cluster, topics.clicks), topics.needed_configs()
    kept = replicas_of(cluster, configs, replication.factor)
    replicas = {each.topic: len(each.brokers) for each in kept}
    for each in kept:
        replicas[each.topic] = min(replicas[each.topic], len(each.brokers))
    needed = {
        topic: configs[topic] | replication.config(count) for topic, count in replicas.items()
    }
    relied_on = replicas_of(cluster, INTERNAL, min(replication.factor, USUAL_FACTOR))
    return Unsafe(
        config_differences(admin, needed), too_few([*kept, *relied_on]), sorted(cluster.brokers)
    )


def check_configs(admin: AdminClient, topics: Topics) -> None:
    """Require that our topics keep their records.

    Raises
    ------
    TopicError
        Names each property and each partition that would lose records, and the remedy.
    """
    if wrong := [*_losses(find_unsafe(admin, topics))]:
        raise TopicError(f"topics not kept as needed: {'; '.join(wrong)}")


def _losses(unsafe: Unsafe) -> Iterator[str]:
    if unsafe.configs:
        differences = ", ".join(map(str, unsafe.configs))
        yield f"{differences}: `ader-stream topics alter` sets what is expected"
    if unsafe.few:
        yield (
            f"{replicas_text(unsafe.few)}: `ader-stream topics alter --reassignment FILE` writes "
            "what kafka-reassign-partitions.sh takes"
        )


def check_clicks_are_kept(admin: AdminClient, clicks: str) -> None:
    """Raise `TopicError` if the clicks topic keeps only the last click of each key."""
    policy = topic_configs(admin, [clicks])[clicks].get("cleanup.policy", "")
    if "compact" in policy:
        raise TopicError(
            f"{clicks}: cleanup.policy={policy} deletes the earlier clicks of each key (expected "
            "delete): `kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics "
            f"--entity-name {clicks} --add-config cleanup.policy=delete`, or name a topic that is "
            "not compacted in clicks.topic"
        )
