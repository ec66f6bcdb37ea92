"""Brokers that forget producers, slow them down, and whose defaults would lose what is ours."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ader_stream.local_kafka import Guard
from ader_stream.local_kafka.jars import fetch_jars
from ader_stream.stream.models.manifest import KINDS
from ader_stream.stream.models.model_log import ModelPublisher
from ader_stream.stream.models.model_reader import ModelReader
from ader_stream.types import Click
from tests.chaos.killed_publishers import parts_of
from tests.fakes import example_manifest
from tests.integration.conftest import RealKafka, from_java
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import Kafka, System

UNKIND = {
    "transactional.id.expiration.ms": "3000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
}
EXPIRED_SECONDS = 5.0
FORGOTTEN = "producer id which is not currently assigned"
VISITORS = 12_000
CLIENT = "slowed-down"
SMALL_BATCHES = {
    "client.id": CLIENT,
    "batch.num.messages": "200",
    "max.in.flight": "1",
    "compression.type": "none",
}
"""A broker lets a request pass and delays the next one: the smaller they are, the smoother."""


@pytest.fixture(scope="module")
def unkind(tmp_path_factory: pytest.TempPathFactory, kafka_cache: Path) -> Iterator[RealKafka]:
    with (
        Guard() as guard,
        from_java(tmp_path_factory.mktemp("unkind"), kafka_cache, guard, UNKIND) as kafka,
    ):
        yield kafka


def allow(kafka: Kafka, kafka_cache: Path, bytes_a_second: int) -> None:
    """Set the producer quota of our client; only Kafka's own tool can."""
    java = ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", f"{fetch_jars(kafka_cache)}/*"]
    tool = ["kafka.admin.ConfigCommand", "--bootstrap-server", kafka.bootstrap_servers, "--alter"]
    what = ["--entity-type", "clients", "--entity-name", CLIENT]
    quota = ["--add-config", f"producer_byte_rate={bytes_a_second}"]
    subprocess.run([*java, *tool, *what, *quota], check=True, capture_output=True, timeout=120)


def test_a_worker_whose_producers_the_broker_has_forgotten_loses_nothing(
    unkind: RealKafka, tmp_path: Path
) -> None:
    with System(unkind.bootstrap_servers, tmp_path) as system:
        blocks = simulated_clicks(system.settings.block_rule, blocks=2, walks=60)
        worker = system.start("sessionizer")
        publisher = ModelPublisher(system.clients, system.topics, 10_000)
        for number, clicks in enumerate(blocks):
            system.send(clicks)
            system.end_block(number)
            system.wait_until_sessions_have(sum(map(len, blocks[: number + 1])))
            publisher.publish(example_manifest(number + 1), parts_of(number + 1))
            time.sleep(EXPIRED_SECONDS)
        publisher.close()
        assert worker.logged(FORGOTTEN), "it was not forgotten: this proves nothing"
        everything = [click for block in blocks for click in block]
        assert system.sessions() == expected_sessions(system.settings.block_rule, everything)
        assert [manifest["version"] for manifest in system.manifests()] == [1, 2]
        reader = ModelReader(system.clients, system.topics)
        for manifest in system.manifests():
            assert reader.fetch(manifest, KINDS) == parts_of(manifest["version"])


def test_a_worker_that_is_slowed_down_commits_a_block_all_the_same(
    unkind: RealKafka, kafka_cache: Path, tmp_path: Path
) -> None:
    """What a block's end writes takes longer than a transaction may, at first."""
    slow = {"kafka": {"librdkafka": SMALL_BATCHES, "transaction_timeout": "2s"}}
    with System(unkind.bootstrap_servers, tmp_path, slow, partitions=1) as system:
        start = system.settings.block_rule.start(0)
        clicks = [Click(f"{n * 7919 % VISITORS:032}", "x", start + n) for n in range(VISITORS)]
        system.send(clicks)
        system.end_block(0)
        allow(unkind, kafka_cache, 20_000)
        worker = system.start("sessionizer")
        system.wait_until_sessions_have(VISITORS)
        assert worker.logged("transactions take too long"), "nothing was slow"
        assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)
