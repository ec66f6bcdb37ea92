"""Three real brokers, each of them a controller, too: one of them may be lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ader_stream.local_kafka import Guard, LocalKafka, java
from ader_stream.local_kafka.jars import fetch_jars
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.local_kafka.record import StartOptions

NODES = (1, 2, 3)
TOOLS = Path(__file__).with_name("kafka-tools.xml")

SHARED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "default.replication.factor": "1",  # whoever does not ask for more has no second copy
    "broker.session.timeout.ms": "4000",  # after which a dead broker's partitions are led by others
    "broker.heartbeat.interval.ms": "500",
}


@dataclass
class Cluster:
    """Brokers by their ids.

    Parameters
    ----------
    cache
        Folder for Kafka's jars.
    """

    brokers: dict[int, LocalKafka]
    cache: Path

    @property
    def bootstrap_servers(self) -> str:
        """Every address, also those of the dead."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers.values())

    def lose(self, broker: int) -> None:
        """Kill a broker and remove its disk."""
        os.kill(self.brokers[broker].pid, signal.SIGKILL)
        shutil.rmtree(self.brokers[broker].data)


@contextmanager
def three_brokers(folder: Path, cache: Path) -> Iterator[Cluster]:
    ports = {node: (free_port(), free_port()) for node in NODES}
    cluster_id = java.new_cluster_id()

    def start(node: int) -> LocalKafka:
        data = folder / str(node)
        data.mkdir()
        properties = SHARED | node_properties(node, ports)
        options = StartOptions(
            data, ports[node][0], "", cache, properties=properties, cluster_id=cluster_id
        )
        return java.start(options, guard)

    with Guard() as guard, ThreadPoolExecutor(len(NODES)) as pool:
        # One alone is no majority: each of them waits for the others.
        brokers = dict(zip(NODES, pool.map(start, NODES), strict=True))
        cluster = Cluster(brokers, cache)
        yield cluster
        for broker in brokers.values():  # the last one would wait for the others before it stops
            if java.is_running(broker):
                os.kill(broker.pid, signal.SIGKILL)


def node_properties(node: int, ports: Mapping[int, tuple[int, int]]) -> dict[str, str]:
    port, controller_port = ports[node]
    voters = [f"{each}@{HOST}:{controller}" for each, (_, controller) in ports.items()]
    return {
        "node.id": str(node),
        "controller.quorum.voters": ",".join(voters),
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
    }


SCRIPTS = {
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-reassign-partitions.sh": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
}
"""What Kafka's scripts run: the jars that a broker needs come without the scripts."""


def run_script(cache: Path, script: str, *arguments: str) -> str:
    """Run one of Kafka's own tools; return what it says."""
    jars = [fetch_jars(cache), fetch_jars(cache, TOOLS)]
    java_ = ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m"]
    classpath = ["-cp", ":".join(f"{folder}/*" for folder in jars)]
    done = subprocess.run(
        [*java_, *classpath, SCRIPTS[script], *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
