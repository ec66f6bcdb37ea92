"""The properties of a broker that is a whole cluster by itself."""

from __future__ import annotations

from collections.abc import Mapping

HEAP_OPTIONS = ("-Xms256m", "-Xmx512m")
"""Enough for some hundred partitions, and little beside a trainer on the same machine."""

SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # A mistyped topic name is an error, never a new topic with settings that nobody chose.
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # 50 each by default, for clusters of many nodes; one node creates and loads 4 at once.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # A group of local workers starts at once instead of waiting 3 s for members to come.
    "group.initial.rebalance.delay.ms": "0",
}
"""What every single node needs, wherever it comes from."""


def process_properties(host: str, port: int, controller_port: int, logs: str) -> dict[str, str]:
    """Properties of a broker that is a process on this machine."""
    return SINGLE_NODE | {
        "controller.quorum.voters": f"1@{host}:{controller_port}",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": logs,
    }


def container_properties(host: str, port: int) -> dict[str, str]:
    """Properties of a broker in a container whose port 9092 is this machine's `host:port`.

    The listener BROKER is the broker's way to itself: since Kafka 3.6 it verifies transactions
    over its inter-broker listener, and the address advertised to the host does not answer inside
    the container: with it alone every transactional produce would hang.
    """
    return SINGLE_NODE | {
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://localhost:9093,BROKER://localhost:9094",
        "advertised.listeners": f"PLAINTEXT://{host}:{port},BROKER://localhost:9094",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "BROKER",
        "log.dirs": CONTAINER_LOGS,
    }


CONTAINER_LOGS = "/var/lib/kafka/data"
"""The folder that the official image keeps for it, with the right owner."""


def as_text(properties: Mapping[str, str]) -> str:
    """Write properties as a server.properties file."""
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def as_environment(properties: Mapping[str, str]) -> dict[str, str]:
    """Write properties as the variables of the official image.

    >>> as_environment({"node.id": "1"})
    {'KAFKA_NODE_ID': '1'}
    """
    return {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in properties.items()}
