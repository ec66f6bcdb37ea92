"""``ader-stream reset``: the workers begin again with the clicks, and nothing is there twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.topics.topics import partition_counts, topic_id
from tests.integration.remedies import complaint_of, follow
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import Kafka, System, Worker
from tests.integration.test_doctor import configure

WORKERS = ("sessionizer", "trainer", "inference")


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        yield system


def stop(system: System, *workers: Worker) -> None:
    for worker in workers:
        worker.terminate()
    assert {worker.wait() for worker in workers} == {0}, "\n".join(system.log_tails())


def ids(system: System) -> dict[str, str]:
    admin = system.clients.admin()
    names = [name for name, *_ in system.topics.specifications(1)]
    return {name: topic_id(admin, name) for name in names}


def test_after_a_reset_nothing_is_there_twice_and_training_continues_from_the_kept_versions(
    system: System,
) -> None:
    blocks = simulated_clicks(system.settings.block_rule, blocks=4, walks=60)
    workers = [system.start(name) for name in WORKERS]
    for block in range(3):
        system.send(blocks[block])
        system.end_block(block)
        system.wait_until_served(block)
    system.wait_until_scored(sum(map(len, blocks[:3])))

    refused = system.command("reset", "--yes")
    assert (refused.returncode, "workers are running" in refused.stderr) == (1, True)
    stop(system, *workers)
    before, ids_before = system.outcome(), ids(system)
    configure(system, system.topics.sessions, "max.message.bytes", "5000000")

    planned = system.command("reset", "--json")
    assert planned.returncode == 0, planned.stderr
    assert ids(system) == ids_before
    done = system.command("reset", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    plan, report = json.loads(planned.stdout), json.loads(done.stdout)
    assert (plan.pop("done"), report.pop("done")) == (False, True)
    assert plan == report
    made_again = {name for name, id_ in ids(system).items() if id_ != ids_before[name]}
    assert made_again == report["topics"].keys()
    assert made_again.isdisjoint(report["kept"])
    assert system.topics.models in report["kept"]
    assert system.committed_offsets("sessionizer") == {}
    assert system.sessions() == []

    system.view_again()
    workers = [system.start(name) for name in WORKERS]
    system.wait_until_scored(sum(map(len, blocks[:3])))
    system.send(blocks[3])
    system.end_block(3)
    system.wait_until_served(3)
    system.wait_until_scored(sum(map(len, blocks)))
    assert workers[1].metric("ader_sessions_trained_before_total") == len(before.sessions)
    stop(system, *workers)
    sessions = system.sessions()
    assert [row for row in sessions if row.block < 3] == before.sessions
    assert max(Counter((row.key, row.first_time) for row in sessions).values()) == 1
    assert sum(score.clicks for score in system.scores().values()) == sum(map(len, blocks))
    manifests = system.manifests()
    assert manifests[:-1] == before.manifests
    assert (manifests[-1].parent, manifests[-1].blocks) == (3, (3,))


def test_with_its_models_nothing_is_left_of_a_system_but_the_clicks(system: System) -> None:
    blocks = simulated_clicks(system.settings.block_rule, blocks=1, walks=60)
    workers = [system.start(name) for name in WORKERS]
    system.send(blocks[0])
    system.end_block(0)
    system.wait_until_served(0)
    [first] = system.manifests()
    stop(system, *workers)
    done = system.command("reset", "--models", "--dead-letters", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"unchanged: {system.topics.clicks}" in done.stdout
    assert set(partition_counts(system.clients.admin())) >= {
        name for name, *_ in system.topics.specifications(1)
    }
    assert system.manifests() == []
    system.view_again()
    for name in WORKERS:
        system.start(name)
    system.wait_until_served(0)
    [again] = system.manifests()
    assert again.digest == first.digest


def test_what_was_erased_stays_erased_though_versions_and_commands_go(system: System) -> None:
    blocks = simulated_clicks(system.settings.block_rule, blocks=1, walks=60)
    sessionizer = system.start("sessionizer")
    key = blocks[0][0].key
    system.send(blocks[0])
    system.end_block(0)
    system.wait_until_sessions_have(len(blocks[0]))
    for command in (("forget", key), ("models", "unpin")):
        done = system.command(*command)
        assert done.returncode == 0, done.stderr
    stop(system, sessionizer)
    done = system.command("reset", "--models", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert "unpin" in json.loads(done.stdout)["commands"]
    assert system.topics.control in json.loads(done.stdout)["kept"]
    system.view_again()
    system.start("sessionizer")
    system.start("trainer")
    system.wait_until(system.manifests, "a version is there")
    [manifest] = system.manifests()
    own = sum(row.key == key for row in system.sessions())
    assert manifest.run.skipped_sessions == own > 0


def test_sessions_that_were_deleted_before_they_were_trained_on_are_made_again(
    system: System,
) -> None:
    blocks = simulated_clicks(system.settings.block_rule, blocks=2, walks=60)
    sessionizer, trainer, inference = (system.start(name) for name in WORKERS)
    system.send(blocks[0])
    system.end_block(0)
    system.wait_until_served(0)
    stop(system, trainer, inference)
    system.send(blocks[1])
    system.end_block(1)
    system.wait_until_sessions_have(sum(map(len, blocks)))
    stop(system, sessionizer)
    clients, sessions = system.clients, system.topics.sessions
    end = offset_range(clients, sessions, 0)[1]
    admin = clients.admin()
    for answer in admin.delete_records([TopicPartition(sessions, 0, end)]).values():
        answer.result(30)

    complaint = complaint_of(system.start("trainer"))
    assert "were deleted before a version was trained on them" in complaint
    follow(system, complaint)
    system.view_again()
    for name in WORKERS:
        system.start(name)
    system.wait_until_served(1)
    assert [manifest.blocks for manifest in system.manifests()] == [(0,), (1,)]


def test_refused_clicks_that_are_read_again_are_not_sent_back_as_well(system: System) -> None:
    blocks = simulated_clicks(system.settings.block_rule, blocks=1, walks=20)
    misread = {"clicks": {"item_field": "sku"}, "sessionizer": {"dead_letter_ratio": 1.0}}
    sessionizer = system.start("sessionizer", **misread)
    system.send(blocks[0])
    system.wait_until(lambda: system.view.dead_letters == len(blocks[0]), "all are refused")
    stop(system, sessionizer)
    refused = f"{len(blocks[0])} refused clicks are read again"
    planned, done = system.command("reset"), system.command("reset", "--yes")
    assert (refused in planned.stdout, refused in done.stdout) == (True, True), done.stderr
    system.view_again()
    system.start("sessionizer")
    replayed = system.command("dead-letters", "replay")
    assert replayed.returncode == 0, replayed.stderr
    system.end_block(0)
    system.wait_until_sessions_have(len(blocks[0]))
    assert system.sessions() == expected_sessions(system.settings.block_rule, blocks[0])
