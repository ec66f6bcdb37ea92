"""Commands on versions while every worker runs: what serves, what is trained from, what stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import overridden, recipe
from ader_stream.artifact import content_digest
from ader_stream.stream.avro.plain import from_plain
from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.pruning import needed_offsets, trim_sessions
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.topics.topics import topic_id
from ader_stream.types import Click
from ader_stream.versions.load import load_state
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, System, Worker

KEYS = [f"visit-{number}" for number in range(40)]
ITEMS = ["item-1", "item-2"]


class Shop:
    """A system whose blocks come when a test says so."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.blocks = simulated_clicks(system.settings.block_rule, blocks=4, walks=60)
        self.trainer, self.inference = self.start("trainer"), self.start("inference")
        self.start("sessionizer")

    def start(self, name: str, **overrides: Any) -> Worker:
        return self.system.start(name, **overrides)

    def send(self, block: int, clicks: list[Click] | None = None) -> None:
        """Send a block and wait until it is served, or has come to nothing."""
        self.system.send(self.blocks[block] if clicks is None else clicks)
        self.system.end_block(block)
        self.system.wait_until_served(block)

    def command(self, *arguments: str | Path) -> str:
        done = self.system.command("models", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self) -> dict[int, dict[str, Any]]:
        """What ``models list`` says, by version."""
        rows = map(json.loads, self.command("list", "--json").splitlines())
        return {row["version"]: row for row in rows}

    def manifest(self, version: int) -> Manifest:
        return from_plain(Manifest, json.loads(self.command("show", str(version), "--json")))

    def serves(self, version: int) -> None:
        """Wait until the worker serves a version."""
        self.system.wait_until(
            lambda: self.inference.metric("ader_version_served") == version, f"{version} serves"
        )

    def given(self) -> set[int]:
        """Versions that answer forty visitors."""
        answers = [
            self.inference.post("/recommend", {"items": ITEMS, "session": key}) for key in KEYS
        ]
        return {answer.json()["version"] for answer in answers}


@pytest.fixture(scope="module")
def shop(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Three blocks, and the three versions of them."""
    with System(kafka.bootstrap_servers, tmp_path_factory.mktemp("registry")) as system:
        shop = Shop(system)
        for block in range(3):
            shop.send(block)
        yield shop


def test_a_rollback_serves_and_trains_from_an_older_version_while_reading_continues(
    shop: Shop,
) -> None:
    assert shop.command("rollback", "1") == "serving 1, training from 1\n"
    shop.serves(1)
    shown = ("chosen", "accepted")
    assert [shop.inference.metric(f"ader_version_{name}") for name in shown] == [1, 3]
    shop.send(3)
    shop.serves(4)
    fourth, third = shop.manifest(4), shop.manifest(3)
    assert (fourth.parent, fourth.predecessor, fourth.blocks) == (1, 3, (3,))
    begin = {place.partition: place.first_offset for place in fourth.run.offsets}
    end = {place.partition: place.next_offset for place in third.run.offsets}
    assert begin == end
    assert fourth.digest == digest_from(shop.system, shop.manifest(1), blocks=(3,))
    assert {version: row["roles"] for version, row in shop.rows().items()} == {
        1: [],
        2: ["rolled back"],
        3: ["rolled back"],
        4: ["serving", "parent"],
    }


def digest_from(system: System, parent: Manifest | None, blocks: tuple[int, ...]) -> str:
    """Train blocks from a version, without Kafka: exemplars and optimizer are that one's."""
    trainer = system.settings.trainer
    sessions = [row for row in system.sessions() if row.block in blocks]
    sessions.sort(key=lambda row: (row.last_time, row.first_time, row.key))
    torch.set_num_threads(trainer.threads)
    state = load_state(ModelReader(system.clients, system.topics), parent) if parent else None
    chosen = overridden(recipe(trainer.recipe), trainer.overrides)
    items = [row.items for row in sessions]
    state = train_cycle(items, state, chosen, trainer.seed, lambda _: None).state
    return content_digest(encode_parts(state))


def test_a_canary_gets_the_newest_version_until_it_is_promoted(shop: Shop) -> None:
    said = shop.command("pin", "1", "--canary", "0.5")
    assert said == "serving 1, canary 4 for 50%, training from 4\n"
    shop.system.wait_until(lambda: shop.given() == {1, 4}, "both versions answer")
    assert shop.command("promote") == "serving 4, training from 4\n"
    shop.system.wait_until(lambda: shop.given() == {4}, "the newest version answers everyone")
    refused = shop.system.command("models", "promote")
    assert (refused.returncode, "there is no canary" in refused.stderr) == (2, True)


def test_every_version_can_be_used_and_two_can_be_compared(shop: Shop) -> None:
    assert shop.command("verify").splitlines() == [
        f"version {version}: as published, unsigned" for version in range(1, 5)
    ]
    differences = json.loads(shop.command("diff", "3", "4", "--json"))
    assert differences["parent"] == [2, 1]
    assert "digest" in differences
    assert "seed" not in differences
    refused = shop.system.command("models", "show", "99")
    assert (refused.returncode, "there are 1, 2, 3, 4" in refused.stderr) == (2, True)


def test_pruned_versions_and_the_sessions_that_only_they_need_are_deleted(shop: Shop) -> None:
    assert shop.command("prune", "--keep", "2").startswith("versions 2, 3: ")
    shop.system.wait_until(lambda: set(shop.system.view.manifests) == {1, 4}, "two are gone")
    assert set(shop.rows()) == {1, 4}
    assert shop.command("verify").count("as published") == 2
    fourth = Registry(shop.system.settings.trust)
    fourth.manifests[4] = shop.manifest(4)
    clients, topics = shop.system.clients, shop.system.topics
    begin = trim_sessions(clients, topics, fourth)
    assert begin == needed_offsets(fourth, topic_id(clients.admin(), topics.sessions))
    assert {p: offset_range(clients, topics.sessions, p)[0] for p in begin} == begin


def test_an_export_starts_another_cluster(shop: Shop, tmp_path: Path) -> None:
    shop.command("export", "4", tmp_path / "fourth")
    with System(shop.system.bootstrap_servers, tmp_path) as other:
        done = other.command("models", "import", tmp_path / "fourth")
        assert done.returncode == 0, done.stderr
        again = other.command("models", "import", tmp_path / "fourth")
        assert (again.returncode, "has versions already" in again.stderr) == (2, True)
        inference = other.start("inference")
        other.wait_until_ready(inference)
        ours, theirs = (
            worker.post("/recommend", {"items": ITEMS}).json()
            for worker in (inference, shop.inference)
        )
        assert (ours["version"], theirs["version"]) == (1, 4)
        assert ours["items"] == theirs["items"]


def test_a_trainer_starts_with_an_export_and_keeps_as_many_versions_as_the_settings_say(
    shop: Shop, tmp_path: Path
) -> None:
    shop.command("export", "4", tmp_path / "fourth", "--without-onnx")
    warm = {
        "trainer": {"bootstrap_folder": str(tmp_path / "fourth")},
        "models": {"keep": 2},
    }
    with System(shop.system.bootstrap_servers, tmp_path, warm) as other:
        for name in ("trainer", "sessionizer", "inference"):
            other.start(name)
        other.wait_until(lambda: 1 in other.view.manifests, "the export is version 1")
        assert other.view.manifests[1].digest == shop.manifest(4).digest
        for block in range(2):
            other.send(shop.blocks[block])
            other.end_block(block)
        other.wait_until(lambda: set(other.view.manifests) == {2, 3}, "two versions are kept")
        second, third = other.view.manifests[2], other.view.manifests[3]
        assert (second.parent, third.parent) == (1, 2)
        assert [place.first_offset for place in second.run.offsets] == [0, 0, 0]


def test_a_trainer_starts_with_recorded_clicks(shop: Shop, tmp_path: Path) -> None:
    recorded = "".join(f"{click.key} {click.item}\n" for click in shop.blocks[0])
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "period_0.txt").write_text(recorded)
    warm = {"trainer": {"bootstrap_dataset": str(tmp_path / "shop")}}
    with System(shop.system.bootstrap_servers, tmp_path, warm) as other:
        for name in ("trainer", "sessionizer", "inference"):
            other.start(name)
        other.wait_until_served(0)
        other.send(shop.blocks[1])
        other.end_block(1)
        other.wait_until_served(1)
        first, second = other.manifests()
        assert first.report.clicks == len(shop.blocks[0])
        assert (first.blocks, first.run.offsets) == ((0,), ())
        assert (second.blocks, second.parent, second.predecessor) == ((1,), 1, 1)
        assert [place.first_offset for place in second.run.offsets] == [0, 0, 0]


def test_blocks_that_wait_are_trained_as_one_where_the_setting_says_so(
    shop: Shop, tmp_path: Path
) -> None:
    joining = {"trainer": {"join_waiting": True, "chunk_compression": "zstd"}}
    with System(shop.system.bootstrap_servers, tmp_path, joining) as behind:
        behind.start("sessionizer")
        for block in range(3):
            behind.send(shop.blocks[block])
            behind.end_block(block)
        behind.wait_until_sessions_have(sum(map(len, shop.blocks[:3])))
        behind.start("trainer")
        behind.wait_until(lambda: behind.view.manifests, "the three are trained")
        behind.send(shop.blocks[3])
        behind.end_block(3)
        behind.wait_until(lambda: len(behind.view.manifests) == 2, "the fourth is trained")
        first, second = behind.manifests()
        assert (first.blocks, second.blocks) == ((0, 1, 2), (3,))
        assert first.digest == digest_from(behind, None, blocks=(0, 1, 2))
        assert second.digest == digest_from(behind, first, blocks=(3,))


def test_a_block_that_cannot_be_trained_is_a_rejected_version_and_is_passed(shop: Shop) -> None:
    start = shop.system.settings.block_rule.start(4)
    shop.send(4, [Click(f"single-{number}", "item-1", start + number) for number in range(9)])
    fifth = shop.manifest(5)
    assert (fifth.status, fifth.parent, fifth.parts) == ("rejected", 4, ())
    assert "hold no sub-sequence" in fifth.rejection
    assert shop.rows()[5]["roles"] == ["rejected"]
    for shown in ("served", "chosen", "accepted"):
        assert shop.inference.metric(f"ader_version_{shown}") == 4


def test_a_version_that_fails_the_gate_is_not_served_and_the_next_one_comes_from_the_last_good(
    shop: Shop,
) -> None:
    rule = shop.system.settings.block_rule
    shop.trainer.terminate()
    assert shop.trainer.wait() == 0
    strict = shop.start("trainer", trainer={"min_item_coverage": 1.0})
    blocks = simulated_clicks(rule, blocks=7, walks=20, seed=2)
    # More items than the lists of so few samples have room for.
    lonely = [Click(f"lonely-{n}", f"lonely-{n}", blocks[5][0].time) for n in range(3_000)]
    shop.send(5, [blocks[5][0], *lonely, *blocks[5][1:]])
    sixth = shop.manifest(6)
    assert (sixth.status, sixth.parent) == ("rejected", 4)
    assert "of the items; trainer.min_item_coverage asks for" in sixth.rejection
    assert strict.metric("ader_versions_rejected_total") == 1
    assert shop.inference.metric("ader_version_served") == 4
    strict.terminate()
    strict.wait()
    shop.start("trainer")
    shop.send(6, blocks[6])
    shop.serves(7)
    assert (shop.manifest(7).parent, shop.manifest(7).predecessor) == (4, 6)
