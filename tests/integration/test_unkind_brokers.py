"""Brokers that forget producers, slow them down, and whose defaults would lose what is ours."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic

from ader_stream.artifact import KINDS
from ader_stream.local_kafka import Guard
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.topics.differences import topic_configs
from ader_stream.stream.topics.topics import partition_counts
from ader_stream.testing.brokers import RealKafka, from_java
from ader_stream.types import Click
from tests.chaos.killed_publishers import parts_of
from tests.fakes import example_manifest
from tests.integration.cluster import run_script
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import Kafka, System, merged
from tests.integration.test_doctor import configure

UNKIND = {
    "transactional.id.expiration.ms": "3000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
    "auto.create.topics.enable": "true",
    "log.cleanup.policy": "compact",
    "log.retention.ms": "3600000",
    "log.retention.bytes": "1048576",
    "log.cleaner.delete.retention.ms": "0",
    "unclean.leader.election.enable": "true",
    "message.max.bytes": "200000",
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
    what = ["--alter", "--entity-type", "clients", "--entity-name", CLIENT]
    quota = ["--add-config", f"producer_byte_rate={bytes_a_second}"]
    address = ["--bootstrap-server", kafka.bootstrap_servers]
    run_script(kafka_cache, "kafka-configs.sh", *address, *what, *quota)


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
        assert [manifest.version for manifest in system.manifests()] == [1, 2]
        reader = ModelReader(system.clients, system.topics)
        for manifest in system.manifests():
            assert reader.fetch(manifest, KINDS) == parts_of(manifest.version)


def test_a_worker_that_is_slowed_down_commits_a_block_all_the_same(
    unkind: RealKafka, kafka_cache: Path, tmp_path: Path
) -> None:
    """What a block's end writes takes longer than a transaction may, at first."""
    slow = {"kafka": {"librdkafka": SMALL_BATCHES, "transaction_timeout": "2s"}}
    with System(unkind.bootstrap_servers, tmp_path, slow, partitions=1) as system:
        start = system.settings.block_rule.start(0)
        clicks = [Click(f"{n * 7919 % VISITORS:032}", "x", start + n) for n in range(VISITORS)]
        worker = system.start("sessionizer")
        system.send(clicks)
        system.wait_until(
            lambda: system.committed_offsets("sessionizer").get(0) == VISITORS, "all are open"
        )
        allow(unkind, kafka_cache, 50_000)
        system.end_block(0)
        system.wait_until_sessions_have(VISITORS)
        assert worker.logged("transactions take too long"), "nothing was slow"
        assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)


# --- topics


def settings_of(system: System, topic: str) -> Mapping[str, str]:
    return topic_configs(system.clients.admin(), [topic])[topic]


def test_our_topics_keep_what_the_brokers_defaults_would_delete(
    unkind: RealKafka, tmp_path: Path
) -> None:
    with System(unkind.bootstrap_servers, tmp_path) as system:
        assert system.command("topics", "check").returncode == 0
        kept = settings_of(system, system.topics.sessions)
        assert (kept["cleanup.policy"], kept["retention.ms"], kept["retention.bytes"]) == (
            "delete",
            "-1",
            "-1",
        )
        chunks = settings_of(system, system.topics.model_chunks)
        assert (chunks["cleanup.policy"], chunks["delete.retention.ms"]) == ("compact", "86400000")


DANGERS = {
    "cleanup.policy": "compact,delete",
    "retention.ms": "60000",
    "retention.bytes": "1000000",
    "max.message.bytes": "100000",
    "unclean.leader.election.enable": "true",
}


def test_what_check_finds_alter_changes(unkind: RealKafka, tmp_path: Path) -> None:
    with System(unkind.bootstrap_servers, tmp_path) as system:
        sessions, models = system.topics.sessions, system.topics.models
        for name, value in DANGERS.items():
            configure(system, sessions, name, value)
        configure(system, models, "delete.retention.ms", "1000")
        configure(
            system, system.topics.dead_letters, "retention.ms", "172800000"
        )  # as the user likes
        checked = system.command("topics", "check")
        assert checked.returncode == 1
        for name, value in DANGERS.items():
            assert f"{sessions}: {name}={value} (expected " in checked.stderr
        assert f"{models}: delete.retention.ms=1000 (expected 86400000)" in checked.stderr
        assert checked.stderr.count("expected") == len(DANGERS) + 2, "and nothing else"

        altered = system.command("topics", "alter")
        assert (altered.returncode, altered.stderr) == (0, "")
        assert len(altered.stdout.splitlines()) == len(DANGERS) + 1
        assert system.command("topics", "check").returncode == 0
        assert "keep their records as needed" in system.command("topics", "alter").stdout


def test_a_misspelled_clicks_topic_is_not_created(unkind: RealKafka, tmp_path: Path) -> None:
    """Not even where brokers create any topic that somebody asks for."""
    with System(unkind.bootstrap_servers, tmp_path) as system:
        admin, name = system.clients.admin(), f"{system.topics.prefix}-shop.clicks"
        [made] = admin.create_topics([NewTopic(name, 2)]).values()
        made.result(30)
        theirs = {"kafka": {"prefix": f"{system.topics.prefix}-new"}}
        misspelled = theirs | {"clicks": {"topic": name.replace("click", "clik")}}
        for command in (["topics", "create"], ["run", "sessionizer"], ["topics", "check"]):
            refused = system.command(*command, **misspelled)
            assert refused.returncode == 1
            assert f"no such topic; did you mean {name}" in refused.stderr
        there = partition_counts(admin)
        assert not [topic for topic in there if "clik" in topic or "-new" in topic]
        assert f"{name}s" not in there

        assert "topics create --with-clicks" in refused.stderr
        created = system.command("topics", "create", "--with-clicks", **misspelled)
        assert created.returncode == 0, created.stderr
        assert system.command("topics", "check", **misspelled).returncode == 0
        rightly = theirs | {"clicks": {"topic": name}}
        other = merged(rightly, {"kafka": {"prefix": f"{system.topics.prefix}-other"}})
        assert system.command("topics", "create", **other).returncode == 0
        assert partition_counts(admin)[f"{system.topics.prefix}-other.sessions"] == 2


def test_a_clicks_topic_that_is_compacted_is_an_error(
    unkind: RealKafka, kafka_cache: Path, tmp_path: Path
) -> None:
    with System(unkind.bootstrap_servers, tmp_path) as system:
        admin, name = system.clients.admin(), f"{system.topics.prefix}-shop.clicks"
        [made] = admin.create_topics([NewTopic(name, system.partitions)]).values()
        made.result(30)
        theirs = {"clicks": {"topic": name}}
        checked = system.command("topics", "check", **theirs)
        assert checked.returncode == 1
        assert f"{name}: cleanup.policy=compact deletes the earlier clicks" in checked.stderr
        _, remedy, *_ = checked.stderr.split("`")
        script, *arguments = remedy.replace("HOST:PORT", unkind.bootstrap_servers).split()
        run_script(kafka_cache, script, *arguments)
        assert system.command("topics", "check", **theirs).returncode == 0

        configure(system, system.topics.clicks, "cleanup.policy", "compact")
        assert "cleanup.policy=compact" in system.command("topics", "check").stderr


def test_a_clicks_topic_that_is_one_of_ours_or_kafkas_is_refused(
    unkind: RealKafka, tmp_path: Path
) -> None:
    with System(unkind.bootstrap_servers, tmp_path) as system:
        ours = (system.topics.sessions, "ader-stream writes a topic of this name itself")
        for topic, what in (ours, ("__consumer_offsets", "a topic of Kafka itself")):
            for command in (["topics", "create"], ["run", "sessionizer"]):
                refused = system.command(*command, clicks={"topic": topic})
                assert refused.returncode == 2
                assert f"clicks.topic = {topic!r}: {what}" in refused.stderr
