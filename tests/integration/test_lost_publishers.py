"""Leaders that freeze or die while they publish, and what their successors make of it."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from confluent_kafka import KafkaException

from ader_stream.artifact import KINDS
from ader_stream.stream.kafka.producing import FLUSHES
from ader_stream.stream.model_registry.model_log import CHUNKS_A_TRANSACTION
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.transactions.producer import TransactionalProducer
from tests.chaos import killed_trainers
from tests.chaos.killed_publishers import held, named
from tests.integration.simulated import simulated_clicks
from tests.integration.system import SMALL, WAIT_SECONDS, Kafka, SettingsGroups, System, Worker

OVERRIDES = {**SMALL["trainer"]["overrides"], "hidden": 768, "max_epochs": 1}
SLOW_TO_PUBLISH: SettingsGroups = {"trainer": {"chunk_size": 1_000, "overrides": OVERRIDES}}
"""With a map of 768 × 768 in it, a version is over two thousand chunks: forty transactions."""


def test_a_frozen_publisher_wakes_to_a_history_that_has_gone_on_without_it(
    kafka: Kafka, tmp_path: Path
) -> None:
    """Three trainers: the leader wakes while its successor publishes."""
    with System(kafka.bootstrap_servers, tmp_path, SLOW_TO_PUBLISH) as system:
        blocks = simulated_clicks(system.settings.block_rule, blocks=3, walks=60)
        system.start("sessionizer")
        trainers = [system.start("trainer") for _ in range(3)]
        system.wait_until_ready(*trainers)
        system.wait_until(lambda: leads(trainers), "one leads")
        first = leads(trainers)[0]

        system.send(blocks[0])
        system.end_block(0)
        wait_until_published(system, 1)

        system.send(blocks[1])
        system.end_block(1)
        wait_for_more_chunks(system)
        first.signal(signal.SIGSTOP)
        assert not is_published(system, 2), "frozen too late to prove anything"
        others = [trainer for trainer in trainers if trainer is not first]
        system.wait_until(lambda: leads(others), "another one leads")
        second = leads(others)[0]
        wait_for_more_chunks(system)
        assert not is_published(system, 2), "woken too late to prove anything"
        first.signal(signal.SIGCONT)
        wait_until_published(system, 2)
        system.wait_until(lambda: first.logged("no longer leading"), "the woken one stands by")

        system.send(blocks[2])
        system.end_block(2)
        wait_until_published(system, 3)
        assert leads(trainers) == [second]
        assert times_led(first) == 1
        # Once more, where the woken one asked for an epoch before it knew that it leads no longer.
        assert times_led(second) == 1 + second.logged("no longer leading")
        assert sum(map(times_led, trainers)) == 1 + times_led(second)
        assert first.logged("version published") == 1
        assert second.logged("version published") == 2

        history = system.manifests()
        assert [(m.version, m.parent) for m in history] == [(1, None), (2, 1), (3, 2)]
        assert [m.blocks for m in history] == [(0,), (1,), (2,)]
        reader = ModelReader(system.clients, system.topics)
        assert all(reader.fetch(manifest, KINDS) for manifest in history)
        assert set(held(system.settings)) == named(history)


def test_a_fenced_producer_raises_no_error_but_its_own_while_deliveries_are_reported(
    kafka: Kafka, tmp_path: Path
) -> None:
    """Without a class of our own, CPython makes a SystemError of it."""
    with System(kafka.bootstrap_servers, tmp_path) as system:
        first, second = (system.clients.producer("the-same") for _ in range(2))
        outcomes: list[object] = []

        def send(records: int) -> None:
            for _ in range(records):
                value, note = bytes(1_000), lambda *outcome: outcomes.append(outcome)
                first.produce(system.topics.models, value, b"key", on_delivery=note)

        first.init_transactions(WAIT_SECONDS)
        first.begin_transaction()
        send(2_000)
        second.init_transactions(WAIT_SECONDS)
        with suppress(KafkaException):
            send(2_000)
        for _ in range(FLUSHES):
            with suppress(KafkaException):  # fatal, unless the broker was slow to fence it
                first.flush(WAIT_SECONDS)
        TransactionalProducer(first).give_up()
        assert outcomes


def test_what_a_killed_publisher_has_sent_is_deleted_by_the_next_leader(
    kafka: Kafka, tmp_path: Path
) -> None:
    """The next one cuts the same version into a few chunks: hundreds of keys stand for nothing."""
    with System(kafka.bootstrap_servers, tmp_path, SLOW_TO_PUBLISH) as system:
        blocks = simulated_clicks(system.settings.block_rule, blocks=2, walks=60)
        system.start("sessionizer")
        first = system.start("trainer")
        system.send(blocks[0])
        system.end_block(0)
        wait_until_published(system, 1)
        system.send(blocks[1])
        system.end_block(1)
        wait_for_more_chunks(system)
        first.kill()
        assert not is_published(system, 2), "killed too late to prove anything"

        second = system.start("trainer", trainer={"chunk_size": 900_000})
        wait_until_published(system, 2)
        assert second.logged("orphaned chunks deleted") == 1
        assert set(held(system.settings)) == named(system.manifests())
        reader = ModelReader(system.clients, system.topics)
        assert all(reader.fetch(manifest, KINDS) for manifest in system.manifests())


def test_killed_leaders_leave_the_versions_of_one_that_lives(kafka: Kafka, tmp_path: Path) -> None:
    outcome = killed_trainers.kill_many(kafka.bootstrap_servers, tmp_path, kills=3, seed=7)
    assert outcome.versions >= 2
    assert outcome.halves > 0, "killed too early or too late to prove anything"


def leads(trainers: list[Worker]) -> list[Worker]:
    return [trainer for trainer in trainers if trainer.metric("ader_trainer_leader")]


def times_led(trainer: Worker) -> int:
    return trainer.logged("newest=")


def wait_for_more_chunks(system: System) -> None:
    """Wait until a version is being published: its first transaction is done."""
    killed_trainers.wait_for_chunks(system, CHUNKS_A_TRANSACTION + 1)


def is_published(system: System, version: int) -> bool:
    system.view.poll(0.1)
    return version in system.view.manifests


def wait_until_published(system: System, version: int) -> None:
    system.wait_until(lambda: version in system.view.manifests, f"version {version} is published")
