"""``ader-stream forget`` while a trainer is at work: what it reads, publishes and leaves."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ader_stream.ader.artifact.parts import decode_state
from ader_stream.artifact import KINDS
from ader_stream.stream.control.commands import ask
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.groups.groups import extents
from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_log import CHUNKS_A_TRANSACTION
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.topics.topics import topic_id
from ader_stream.types import Click
from tests.chaos.killed_publishers import held, named
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, RawRecord, SettingsGroups, System

SLOW: SettingsGroups = {
    "kafka": {"session_timeout": "1m", "transaction_timeout": "1m"},
    "trainer": {"chunk_size": 1_000},
    "models": {"keep": 2},
}
"""A frozen trainer stays the leader, and a version is over a thousand chunks."""

BLOCKS = 5


def own_items(key: str, block: int) -> list[str]:
    """What nobody else clicks, and the key in no other block."""
    return [f"{key}-alone-{block}-{number}" for number in range(3)]


class Shop:
    """A system whose blocks hold sessions of some keys, each with items of its own."""

    def __init__(self, system: System, keys: Sequence[str], max_epochs: int = 12) -> None:
        self.system, self.keys = system, keys
        self.others = simulated_clicks(system.settings.block_rule, blocks=BLOCKS, walks=60)
        trainer = dict(system.settings.trainer.overrides) | {
            "hidden": 512,
            "max_epochs": max_epochs,
        }
        for name in ("sessionizer", "inference"):
            system.start(name)
        checkpoints = {"checkpoints": str(system.folder / "checkpoints")}
        self.trainer = system.start("trainer", trainer={"overrides": trainer} | checkpoints)

    def send(self, block: int) -> None:
        start = self.system.settings.block_rule.start(block)
        own = [
            Click(key, item, start + 60_000 * number)
            for key in self.keys
            if block > 0
            for number, item in enumerate(own_items(key, block))
        ]
        self.system.send(sorted([*own, *self.others[block]], key=lambda click: click.time))
        self.system.end_block(block)

    def send_and_wait(self, block: int) -> None:
        self.send(block)
        self.wait_for_version(block + 1)

    def wait_for_version(self, version: int) -> None:
        self.system.wait_until(lambda: self.manifest(version), f"version {version} is there")

    def manifest(self, version: int) -> Manifest | None:
        self.system.view.poll(0.1)
        return self.system.view.manifests.get(version)

    def forget(self, key: str) -> dict[str, Any]:
        """Ask while the trainer stands still; return the report."""
        self.trainer.signal(signal.SIGSTOP)
        done = self.system.command("forget", key, "--json")
        self.trainer.signal(signal.SIGCONT)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def known(self, manifest: Manifest) -> bytes:
        """Everything that a version holds, as its bytes."""
        parts = ModelReader(self.system.clients, self.system.topics).fetch(manifest, KINDS)
        state = decode_state(parts)
        exemplars = [state.vocabulary.items[item - 1] for item in state.exemplars.items]
        texts = [*state.vocabulary.items, *exemplars, *manifest.frequent_items]
        return b"".join(map(bytes, parts.values())) + "\n".join(texts).encode()


def ask_to_erase(system: System, key: str, before: Erasures) -> int:
    """Ask as `forget` does, in less time; return the request's offset."""
    admin, clicks = system.clients.admin(), system.topics.clicks
    ends = extents(admin, clicks, range(system.partitions))
    clicks_end = tuple(ends[partition].end for partition in range(system.partitions))
    request = erasure_request(key, before, clicks_end, topic_id(admin, clicks))
    offset = ask(system.clients, system.topics, request)
    before.take(request, offset)
    return offset


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path, SLOW) as system:
        yield system


def chunks_sent(system: System) -> int:
    return offset_range(system.clients, system.topics.model_chunks, 0)[1]


def wait_until_publishing(system: System, before: int) -> None:
    system.wait_until(
        lambda: chunks_sent(system) > before + CHUNKS_A_TRANSACTION, "a version is being sent"
    )


def topics_that_hold(system: System, text: str) -> dict[str, int]:
    """Topics of our own → records that hold a text, where compaction has done its work."""
    topics, found = system.topics, {}
    for topic, _, configuration in topics.specifications(system.partitions):
        if topic == topics.clicks:
            continue
        records = {}
        for record in system.records(topic):
            is_compacted = "compact" in configuration.get("cleanup.policy", "delete")
            own = record.key() if is_compacted else record.offset()
            records[record.partition(), own] = record
        whole = [(r.key() or b"") + (r.value() or b"") for r in records.values() if r.value()]
        found[topic] = sum(text.encode() in record for record in whole)
    return {topic: count for topic, count in found.items() if count}


def test_what_is_forgotten_in_mid_cycle_and_while_publishing_is_nowhere_in_the_end(
    system: System,
) -> None:
    shop = Shop(system, ["visit-a", "visit-b", "visit-c"])
    shop.send_and_wait(0)

    shop.send(1)
    shop.system.wait_until(lambda: shop.trainer.logged("epoch=3 ") == 2, "the cycle has begun")
    in_mid_cycle = shop.forget("visit-a")
    shop.system.wait_until(
        lambda: shop.trainer.logged("the block is trained again") == 1, "it is trained again"
    )
    wait_until_publishing(system, before=chunks_sent(system))
    while_publishing = shop.forget("visit-b")
    assert shop.manifest(2) is None, "asked too late to prove anything"
    shop.wait_for_version(2)
    assert shop.trainer.logged("the block is trained again") == 2
    assert shop.trainer.logged("orphaned chunks deleted") == 1

    second = shop.manifest(2)
    assert second
    for report in (in_mid_cycle, while_publishing):
        assert report["nothing_read_from_version"] == 2
        assert report["skipped_by_the_trainer"]["sessions"] == 1
        assert report["goes_with_the_trim"]["sessions"] == 1
        offset = int(report["proof"].split("is above ")[1].split()[0])
        assert second.run.control_offset > offset
    assert second.run.skipped_sessions == 2
    content = shop.known(second)
    assert b"visit-c-alone-1" in content
    assert b"visit-a" not in content
    assert b"visit-b" not in content
    assert set(held(system.settings)) == named(system.manifests())
    assert topics_that_hold(system, "visit-a") == {system.topics.sessions: 1}

    shop.keys = ()  # none of them comes back
    for block in range(2, BLOCKS):
        shop.send_and_wait(block)
    system.wait_until(lambda: min(system.view.manifests) == BLOCKS - 1, "older ones are pruned")
    system.wait_until(
        lambda: not topics_that_hold(system, "visit-a") | topics_that_hold(system, "visit-b"),
        "all of it is gone",
    )
    assert system.topics.model_chunks in topics_that_hold(system, "visit-c-alone-1")
    assert not any((system.folder / "checkpoints").iterdir())


def test_of_the_closed_sessions_of_a_block_those_before_the_request_are_left_out(
    kafka: Kafka, tmp_path: Path
) -> None:
    """All of their clocks stand in 1970, long before the request."""
    with System(kafka.bootstrap_servers, tmp_path) as system:
        rule, hour = system.settings.block_rule, 3_600_000
        others = simulated_clicks(rule, blocks=1, walks=60)[0]
        middle = rule.start(0) + rule.length // 2
        worker = system.start("sessionizer")
        own = {
            name: [Click("visit-a", f"{name}-{number}", start + number) for number in range(3)]
            for name, start in (("before", middle - 2 * hour), ("behind", middle + hour))
        }
        earlier = [click for click in others if click.time < middle]
        system.send(sorted([*earlier, *own["before"]], key=lambda click: click.time))
        passed = [("ader-watermark", str(middle).encode())]
        system.send_raw(RawRecord(None, None, passed, p) for p in range(system.partitions))
        system.wait_until(
            lambda: any(row.key == "visit-a" for row in system.sessions()), "its session has closed"
        )
        done = system.command("forget", "visit-a", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["skipped_by_the_trainer"]["sessions"] == 1
        worker.kill()
        system.start("sessionizer")
        later = [click for click in others if click.time >= middle]
        system.send(sorted([*later, *own["behind"]], key=lambda click: click.time))
        system.end_block(0)
        system.start("trainer")
        system.wait_until(system.manifests, "a version is there")
        [manifest] = system.manifests()
        sessions = system.sessions()
        parts = ModelReader(system.clients, system.topics).fetch(manifest, KINDS)
        items = decode_state(parts).vocabulary.items
    assert [row.items[0] for row in sessions if row.key == "visit-a"] == ["before-0", "behind-0"]
    assert manifest.run.skipped_sessions == 1
    assert manifest.report.sessions == len(sessions) - 1
    assert {"behind-0", "behind-2"} <= set(items)
    assert not any(item.startswith("before") for item in items)


def test_every_manifest_tells_the_truth_about_requests_that_come_at_any_moment(
    kafka: Kafka, tmp_path: Path
) -> None:
    """For each block a key is erased while its version is trained, sent, committed or served.

    In the blocks that are sent afterwards, it is a new visitor's.
    """
    rng = random.Random(7)
    with System(kafka.bootstrap_servers, tmp_path, {**SLOW, "models": {}}) as system:
        shop = Shop(system, [f"visit-{block}" for block in range(1, BLOCKS)], max_epochs=2)
        shop.send_and_wait(0)
        requests = Erasures()
        asked: list[int] = []
        newest: list[int] = []
        seconds = 0.0
        for block, key in enumerate(shop.keys, start=1):
            shop.send(block)
            sent = time.monotonic()
            time.sleep(rng.uniform(0, 1.2 * seconds))
            if block == BLOCKS - 1:
                shop.wait_for_version(BLOCKS)
            asked.append(ask_to_erase(system, key, requests))
            newest.append(len(system.manifests()))
            shop.wait_for_version(block + 1)
            seconds = time.monotonic() - sent

        found, expected = {}, {}
        for manifest in system.manifests()[1:]:
            version, content = manifest.version, shop.known(manifest)
            requests_ = zip(shop.keys, asked, newest, strict=True)
            for block, (key, offset, before) in enumerate(requests_, start=1):
                is_new = version > block + 1
                own = own_items(key, version - 1)[0].encode()
                found[version, key] = own in content
                expected[version, key] = is_new or offset >= manifest.run.control_offset
                has_lied = found[version, key] and not is_new and version > before + 1
                assert not has_lied, "the report has lied"
        assert found == expected
        assert set(found.values()) == {True, False}
