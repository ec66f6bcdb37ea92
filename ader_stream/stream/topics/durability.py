"""Replication of our topics: the number of replicas, and how many must acknowledge a record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka.admin import ClusterMetadata

from ader_stream.errors import TopicError

USUAL_FACTOR = 3
"""With three replicas, one broker may fail while another one is down for an update."""

INTERNAL = ("__consumer_offsets", "__transaction_state")
"""Kafka's own topics with our offsets and transactions, without which sessions are useless."""


class Replication(NamedTuple):
    """Replication that our topics need on a cluster.

    Parameters
    ----------
    factor
        Replicas of each partition.
    min_insync
        Replicas that must have a record before it is acknowledged.
    """

    factor: int
    min_insync: int

    def config(self, replicas: int) -> dict[str, str]:
        """Return the properties of a topic with this number of replicas; it must stay writable."""
        return {"min.insync.replicas": str(min(self.min_insync, replicas))}


@dataclass(frozen=True)
class Durability:
    """Replication in the settings; 0 leaves it to the cluster.

    Parameters
    ----------
    replication_factor
        0: as many as the clicks topic has, and at least three if there are three brokers.
    min_insync_replicas
        0: two of three or more replicas, else one.
    """

    replication_factor: int = 0
    min_insync_replicas: int = 0

    def on(self, cluster: ClusterMetadata, clicks: str) -> Replication:
        """Return the replication that our topics need on a cluster, given its clicks topic.

        Raises
        ------
        TopicError
            If more replicas must have a record than a partition has.
        """
        factor = self.replication_factor or min(
            max(USUAL_FACTOR, _replicas(cluster, clicks)), len(cluster.brokers)
        )
        min_insync = self.min_insync_replicas or (2 if factor >= USUAL_FACTOR else 1)
        if min_insync > factor:
            raise TopicError(
                f"kafka.min_insync_replicas = {min_insync}: expected at most the replication "
                f"factor, {factor} here, or nothing could be written; lower it, or raise "
                "kafka.replication_factor"
            )
        return Replication(factor, min_insync)

    def for_new_topics(self, cluster: ClusterMetadata, clicks: str) -> Replication:
        """Return the same for topics that are to be created.

        Raises
        ------
        TopicError
            If there are fewer brokers than replicas, too.
        """
        replication, brokers = self.on(cluster, clicks), len(cluster.brokers)
        if replication.factor > brokers:
            raise TopicError(
                f"kafka.replication_factor = {replication.factor}: expected at most the number of "
                f"brokers, {brokers}; lower it, or start more brokers"
            )
        return replication


AS_THE_CLUSTER = Durability()


class PartitionReplicas(NamedTuple):
    """The brokers with a partition, the preferred leader first, and the needed number of them."""

    topic: str
    partition: int
    brokers: tuple[int, ...]
    needed: int = 0


def replicas_of(
    cluster: ClusterMetadata, topics: Collection[str], needed: int = 0
) -> list[PartitionReplicas]:
    """Return the brokers of each partition of the existing topics."""
    return [
        PartitionReplicas(name, partition, tuple(found.replicas), needed)
        for name in topics
        if name in cluster.topics
        for partition, found in sorted(cluster.topics[name].partitions.items())
    ]


def spread(
    kept: Collection[PartitionReplicas], brokers: Collection[int]
) -> list[PartitionReplicas]:
    """Give each partition as many brokers as it needs; its current brokers stay, in their order.

    The brokers with the fewest partitions are taken first.

    >>> kept = [PartitionReplicas("t", 0, (1,), 2), PartitionReplicas("t", 1, (2,), 2)]
    >>> [each.brokers for each in spread(kept, [1, 2, 3])]
    [(1, 3), (2, 1)]
    """
    load = {broker: sum(broker in each.brokers for each in kept) for broker in brokers}
    wider = []
    for each in kept:
        free = sorted(load.keys() - set(each.brokers), key=lambda broker: (load[broker], broker))
        added = free[: max(0, each.needed - len(each.brokers))]
        for broker in added:
            load[broker] += 1
        wider.append(each._replace(brokers=(*each.brokers, *added)))
    return wider


def _replicas(cluster: ClusterMetadata, topic: str) -> int:
    return max((len(each.brokers) for each in replicas_of(cluster, [topic])), default=0)
