"""Three brokers: what our topics need so that one may be lost, and a run that loses one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ader_stream.artifact import KINDS
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.topics.durability import replicas_of
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT
from tests.integration.cluster import NODES, Cluster, run_script, three_brokers
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import System


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka_cache: Path) -> Iterator[Cluster]:
    with three_brokers(tmp_path_factory.mktemp("cluster"), kafka_cache) as cluster:
        yield cluster


def replicas(system: System) -> dict[str, set[int]]:
    """Topic → how many replicas its partitions have."""
    found = system.clients.admin().list_topics(timeout=ADMIN_TIMEOUT)
    counts: dict[str, set[int]] = {}
    for each in replicas_of(found, [*system.topics.needed_configs()]):
        counts.setdefault(each.topic, set()).add(len(each.brokers))
    return counts


def test_topics_with_too_few_replicas_get_them_as_it_is_said(
    cluster: Cluster, tmp_path: Path
) -> None:
    alone = {"kafka": {"replication_factor": 1}}
    with System(cluster.bootstrap_servers, tmp_path, alone) as system:
        usual = {"kafka": {"replication_factor": 0}}
        assert {*map(frozenset, replicas(system).values())} == {frozenset([1])}
        assert system.command("topics", "check").returncode == 0, "as was asked for"
        checked = system.command("topics", "check", **usual)
        assert checked.returncode == 1
        assert f"{system.topics.sessions}/0,1,2: 1 replica (expected 3)" in checked.stderr

        plan = tmp_path / "plan.json"
        altered = system.command("topics", "alter", "--reassignment", plan, **usual)
        assert altered.returncode == 1
        _, script, *_ = altered.stderr.split("`")
        name, *arguments = script.split()
        said = run_script(cluster.cache, name, *arguments)
        assert "Successfully started partition reassignments" in said
        moved = len(json.loads(plan.read_text())["partitions"])
        system.wait_until(
            lambda: {*map(frozenset, replicas(system).values())} == {frozenset([3])},
            f"{moved} partitions have three replicas",
        )
        again = system.command("topics", "alter", **usual)
        assert (again.returncode, again.stderr) == (0, "")
        assert f"{system.topics.models}: min.insync.replicas=2" in again.stdout
        assert system.command("topics", "check", **usual).returncode == 0


def test_more_replicas_than_brokers_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    with System(cluster.bootstrap_servers, tmp_path) as system:
        new = {"prefix": f"{system.topics.prefix}-new"}
        many = system.command("topics", "create", kafka={**new, "replication_factor": 4})
        assert many.returncode == 1
        assert "kafka.replication_factor = 4: expected at most the number of brokers, 3" in (
            many.stderr
        )
        strict = system.command("topics", "create", kafka={**new, "min_insync_replicas": 4})
        assert "expected at most the replication factor, 3" in strict.stderr


def test_a_broker_that_is_lost_with_its_disk_costs_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The last test here: the cluster is one broker short afterwards."""
    with System(cluster.bootstrap_servers, tmp_path) as system:
        assert {*map(frozenset, replicas(system).values())} == {frozenset([3])}
        assert system.command("topics", "check").returncode == 0
        blocks = simulated_clicks(system.settings.block_rule, blocks=3, walks=100)
        system.start("sessionizer")
        trainer = system.start("trainer")
        for number, clicks in enumerate(blocks):
            half = len(clicks) // 2
            system.send(clicks[:half])
            if number == 1:
                cluster.lose(leader_of_models(system))
            system.send(clicks[half:])
            system.end_block(number)
            system.wait_until_sessions_have(sum(map(len, blocks[: number + 1])))
            system.wait_until(
                lambda n=number: n + 1 in system.view.manifests, f"version {number + 1} is there"
            )
        everything = [click for block in blocks for click in block]
        assert system.sessions() == expected_sessions(system.settings.block_rule, everything)
        manifests = system.manifests()
        assert [manifest.version for manifest in manifests] == [1, 2, 3]
        assert [manifest.blocks for manifest in manifests] == [(0,), (1,), (2,)]
        reader = ModelReader(system.clients, system.topics)
        assert all(reader.fetch(manifest, KINDS) for manifest in manifests)
        assert not trainer.has_died()


def leader_of_models(system: System) -> int:
    found = system.clients.admin().list_topics(timeout=ADMIN_TIMEOUT)
    leader = found.topics[system.topics.models].partitions[0].leader
    assert leader in NODES
    return int(leader)
