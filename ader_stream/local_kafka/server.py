"""Properties of a broker that is a whole cluster by itself."""

from __future__ import annotations

from collections.abc import Mapping

HEAP_OPTIONS = ("-Xms256m", "-Xmx512m")
"""Enough for some hundred partitions, and little compared with a trainer on the same machine."""

SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # A mistyped topic name is an error; it must not create a topic with default settings.
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # 50 each by default, for clusters of many nodes; one node creates and loads 4 at once.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # A group of local workers starts at once instead of waiting 3 s for more members.
    "group.initial.rebalance.delay.ms": "0",
}
"""Properties of every single node, from Docker or Java."""


def process_properties(host: str, port: int, controller_port: int, logs: str) -> dict[str, str]:
    """Return properties of a broker that is a process on this machine."""
    return SINGLE_NODE | {
        "controller.quorum.voters": f"1@{host}:{controller_port}",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": logs,
    }


def container_properties(host: str, port: int) -> dict[str, str]:
    """Return properties of a broker in a container whose port 9092 is `host:port` of this machine.

    Through the listener BROKER the broker reaches itself: since Kafka 3.6 it verifies transactions
    over its inter-broker listener. The address advertised to the host does not answer inside the
    container; with that alone, every transactional produce would hang.
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
"""The folder of the official image for data, with the right owner."""


def as_text(properties: Mapping[str, str]) -> str:
    """Return properties as the text of a server.properties file."""
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def as_environment(properties: Mapping[str, str]) -> dict[str, str]:
    """Return properties as the variables of the official image.

    >>> as_environment({"node.id": "1"})
    {'KAFKA_NODE_ID': '1'}
    """
    return {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in properties.items()}
