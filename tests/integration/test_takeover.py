"""Several workers of one kind: partitions and leadership move, the outcome does not."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ader_stream.stream.clicks.decoder import ClickDecoder, decode_heartbeat
from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.kafka.records import written_at_of
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import HOUR_MS, Click
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import WAIT_SECONDS, Kafka, SessionRow, System, Worker
from tests.integration.whole_run import identities, whole_run

BLOCKS = 3
PIECES = 6

# --- sessionizers that share the partitions


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        yield system


@pytest.fixture
def pair(system: System) -> tuple[Worker, Worker]:
    return system.start("sessionizer"), system.start("sessionizer")


def disordered(system: System) -> list[Click]:
    """Clicks of which many come late, some behind the end of their block."""
    rng = random.Random(2)
    blocks = simulated_clicks(system.settings.block_rule, BLOCKS)
    clicks = [click for block in blocks for click in block]
    return sorted(clicks, key=lambda click: click.time + rng.choice((0, 0, 0, 2 * HOUR_MS)))


def in_pieces(clicks: Sequence[Click]) -> list[Sequence[Click]]:
    size = -(-len(clicks) // PIECES)
    return [clicks[start : start + size] for start in range(0, len(clicks), size)]


def finish(system: System, clicks: Sequence[Click]) -> None:
    for block in range(BLOCKS):
        system.end_block(block)
    system.wait_until_sessions_have(len(clicks))


def expected_by_the_log(system: System) -> list[SessionRow]:
    """What pure intake and window make of each partition of the topic, read from end to end."""
    return sorted(
        SessionRow(s.key, s.block, tuple(s.items), s.first, s.last)
        for partition in range(system.partitions)
        for s in closed_sessions(system, partition)
    )


def closed_sessions(system: System, partition: int) -> list[OpenSession]:
    settings = system.settings
    decoder = ClickDecoder(settings.click_format)
    window = SessionWindow(settings.block_rule, settings.session_rule)
    intake = Intake(window, settings.intake_rule, settings.session_rule.lateness)
    for record in system.records(system.topics.clicks):
        if record.partition() == partition:
            offset, written_at = record.offset(), written_at_of(record)
            if record.value() is None:
                intake.heartbeat(decode_heartbeat(record.headers()) or 0, offset, written_at)
            else:
                intake.observe(decoder.decode(record), offset, written_at)
    return [output for output in window.take_output() if isinstance(output, OpenSession)]


def crash(system: System, worker: Worker, more: Sequence[Click]) -> None:
    worker.kill()
    system.send(more)


def leave(system: System, worker: Worker, more: Sequence[Click]) -> None:
    worker.terminate()
    system.send(more)
    # A worker that does not leave within 10 s of SIGTERM ends itself with exit code 1.
    assert worker.wait() == 0, worker.tail()


def freeze_and_wake(system: System, worker: Worker, more: Sequence[Click]) -> None:
    """Freeze a worker, with clicks in its hands, until its partitions have moved on."""
    worker.signal(signal.SIGSTOP)
    times_given = worker.logged("partitions taken")
    system.send(more)
    system.wait_until(lambda: is_all_committed(system), "the other has taken over")
    worker.signal(signal.SIGCONT)
    system.wait_until(lambda: worker.logged("partitions taken") > times_given, "it joins again")


def is_all_committed(system: System) -> bool:
    committed = system.committed_offsets("sessionizer")
    return committed == {
        partition: offset_range(system.clients, system.topics.clicks, partition)[1]
        for partition in range(system.partitions)
    }


@pytest.mark.parametrize("goes_away", [crash, leave, freeze_and_wake])
def test_sessions_do_not_depend_on_who_cuts_them(
    system: System,
    pair: tuple[Worker, Worker],
    goes_away: Callable[[System, Worker, Sequence[Click]], None],
) -> None:
    clicks = disordered(system)
    first, second, third, *rest = in_pieces(clicks)
    system.wait_until_holding(*pair)
    system.send(first)
    system.send(second)
    goes_away(system, pair[0], third)
    for piece in rest:
        system.send(piece)
    finish(system, clicks)

    late = sum(counts.late for counts in system.view.blocks.values())
    assert late > 100, "too little disorder to prove anything"
    assert system.clicks_in_blocks() == len(clicks)
    assert system.sessions() == expected_by_the_log(system)


def test_recovery_does_not_hang_on_transactions_that_dead_owners_left_open(system: System) -> None:
    topics, dead = system.topics, []
    for partition in range(system.partitions):
        owner = system.clients.producer(f"{topics.group('sessionizer')}.{partition}")
        owner.init_transactions(WAIT_SECONDS)
        owner.begin_transaction()
        for topic in (topics.sessions, topics.sessionizer_state):
            owner.produce(topic, b"left behind", partition=partition)
        assert owner.flush(WAIT_SECONDS) == 0
        dead.append(owner)  # it keeps its transaction open
    clicks = [
        click for block in simulated_clicks(system.settings.block_rule, 1, 30) for click in block
    ]
    system.send(clicks)
    system.start("sessionizer")
    finish(system, clicks)
    assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)


def test_a_worker_in_whose_name_another_joins_ends_and_says_so(system: System) -> None:
    kafka = {"librdkafka": {"group.instance.id": "the-only-one"}}
    first = system.start("sessionizer", kafka=kafka)
    system.wait_until_holding(first)
    second = system.start("sessionizer", kafka=kafka)
    assert first.wait() == 1  # it has asked once more, which the other one has, too
    assert first.logged("give each its own, or let this one end")
    clicks = [
        click for block in simulated_clicks(system.settings.block_rule, 1, 30) for click in block
    ]
    system.send(clicks)
    finish(system, clicks)
    assert second.process.poll() is None


def test_a_worker_waits_until_the_group_has_given_up_its_dead_namesake(
    kafka: Kafka, tmp_path: Path
) -> None:
    named = {"group_protocol": "consumer", "librdkafka": {"group.instance.id": "the-only-one"}}
    with System(kafka.bootstrap_servers, tmp_path, {"kafka": named}) as system:
        first = system.start("sessionizer")
        system.wait_until_holding(first)
        first.kill()
        second = system.start("sessionizer")
        system.wait_until(
            lambda: second.logged("has another member with this worker's name"), "it waits"
        )
        rule = system.settings.block_rule
        clicks = [click for block in simulated_clicks(rule, 1, 30) for click in block]
        system.send(clicks)
        system.wait_until_holding(second)
        finish(system, clicks)
        assert system.sessions() == expected_sessions(rule, clicks)


# --- trainers of which one leads


def test_one_trainer_leads_and_the_other_continues_its_history(
    kafka: Kafka, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    untouched = whole_run(kafka.bootstrap_servers, tmp_path_factory.getbasetemp() / "whole-run")
    with System(kafka.bootstrap_servers, tmp_path) as system:
        blocks = simulated_clicks(system.settings.block_rule)
        system.start("sessionizer")
        trainers = [system.start("trainer"), system.start("trainer")]
        system.wait_until(lambda: len(leaders(trainers)) == 1, "one trainer leads")
        [leader] = leaders(trainers)
        [standby] = [trainer for trainer in trainers if trainer is not leader]
        train(system, blocks, 0)

        send_until_cycle(system, blocks, 1, leader)
        leader.signal(signal.SIGSTOP)
        wait_until_published(system, 2)
        leader.signal(signal.SIGCONT)
        system.wait_until(lambda: leaders(trainers) == [standby], "the woken trainer stands by")

        send_until_cycle(system, blocks, 2, standby)
        standby.kill()
        wait_until_published(system, 3)
        assert leaders(trainers) == [leader]

        system.start("trainer")
        send_until_cycle(system, blocks, 3, leader)
        leader.terminate()
        assert leader.wait() == 0, leader.tail()
        assert leader.logged("stopped in mid-cycle")
        wait_until_published(system, 4)
        assert identities(system.manifests()) == identities(untouched.outcome.manifests)


def leaders(trainers: Sequence[Worker]) -> list[Worker]:
    return [trainer for trainer in trainers if trainer.metric("ader_trainer_leader")]


def train(system: System, blocks: Sequence[Sequence[Click]], block: int) -> None:
    system.send(blocks[block])
    system.end_block(block)
    wait_until_published(system, block + 1)


def send_until_cycle(
    system: System, blocks: Sequence[Sequence[Click]], block: int, trainer: Worker
) -> None:
    """Send a block, and return when its update cycle has just begun."""
    before = trainer.logged("update cycle")
    system.send(blocks[block])
    system.end_block(block)
    system.wait_until(lambda: trainer.logged("update cycle") > before, f"block {block} is trained")


def wait_until_published(system: System, version: int) -> None:
    system.wait_until(lambda: version in system.view.manifests, f"version {version} is published")
