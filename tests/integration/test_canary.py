"""Two versions on the same clicks, on a real broker: measured, promoted, or ended by the rule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ader_stream.ader.artifact.parts import decode_serving
from ader_stream.paired import Pair, PairedCounts
from ader_stream.serve.comparing import compare
from ader_stream.serve.loaded_versions import Version
from ader_stream.serve.recommending import rank_clicks
from ader_stream.stream.control.commands import Command, decode_command
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.scores.paired_log import read_paired
from ader_stream.types import Click, Target
from tests.integration.artifacts import manifest_of, tiny_parts
from tests.integration.system import Kafka, System, Worker

ITEMS = tuple(f"item-{number}" for number in range(100))
STEPS = 4
"""Clicks of a visitor."""

Parts = Mapping[int, Mapping[str, bytes]]


@pytest.fixture(scope="module")
def parts() -> Parts:
    """Versions 1 and 3 have learnt next to nothing, version 2 the whole shop."""
    return {
        version: tiny_parts(version, ITEMS, epochs) for version, epochs in ((1, 1), (2, 20), (3, 1))
    }


@pytest.fixture(scope="module")
def system(
    kafka: Kafka, tmp_path_factory: pytest.TempPathFactory, parts: Parts
) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path_factory.mktemp("canary")) as system:
        publisher = ModelPublisher(system.clients, system.topics, chunk_size=5_000)
        for version in (1, 2):
            publisher.publish(manifest_of(version, dict(parts[version])), dict(parts[version]))
        system.start("sessionizer")
        yield system


def walks(system: System, block: int, first: int, visitors: int) -> list[Click]:
    """Visitors who walk along the items, as those did that versions were trained on."""
    start = system.settings.block_rule.start(block)
    clicks = [
        Click(f"visit-{visitor}", (ITEMS * 2)[visitor % len(ITEMS) + step], start + visitor + step)
        for visitor in range(first, first + visitors)
        for step in range(STEPS)
    ]
    return sorted(clicks, key=lambda click: click.time)


def expected(parts: Parts, pair: Pair, visitors: int) -> PairedCounts:
    """What the clicks of visitors from 0 on come to, without Kafka."""
    targets = [
        Target((ITEMS * 2)[place : place + step], (ITEMS * 2)[place + step], f"visit-{visitor}")
        for visitor in range(visitors)
        for step in range(STEPS)
        for place in [visitor % len(ITEMS)]
    ]
    one, other = (
        rank_clicks(Version(number, 0, 0, *decoded(parts[number]), ()), targets) for number in pair
    )
    return compare(one, other, targets)


def decoded(parts: Mapping[str, bytes]) -> Any:
    return decode_serving(parts["weights"], parts["vocabulary"])


def begin_canary(system: System, worker: Worker, pair: Pair) -> None:
    done = system.command("models", "pin", pair.stable, "--canary", "0.5")
    assert f"serving {pair.stable}, canary {pair.canary} for 50%" in done.stdout, done.stderr
    system.wait_until(lambda: worker.metric("ader_version_canary") == pair.canary, "it has come")


def commands(system: System) -> list[Command]:
    return [decode_command(r) for r in system.records(system.topics.control) if r.value()]


def shown(system: System, version: int) -> dict[str, Any]:
    done = system.command("models", "show", version, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_both_versions_are_scored_by_every_click_once_and_the_better_one_is_promoted(
    system: System, parts: Parts
) -> None:
    pair = Pair(stable=1, canary=2)
    first = system.start("inference")
    system.wait_until_ready(first)
    begin_canary(system, first, pair)
    early = system.command("models", "promote", "--when-better")
    assert early.returncode == 1
    assert "version 2 is not promoted" in early.stderr
    assert "over 0 clicks" in early.stderr

    system.send(walks(system, block=5, first=0, visitors=400))
    system.wait_until_scored(200)
    first.kill()
    successor = system.start("inference")
    system.send(walks(system, block=5, first=400, visitors=200))
    system.wait_until_scored(600 * STEPS)
    whole = expected(parts, pair, visitors=600)
    assert read_paired(system.clients, system.topics.scores) == {pair: whole}

    def is_shown() -> bool:
        return successor.metric("ader_canary_compared_clicks") == whole.clicks

    system.wait_until(is_shown, "the worker of partition 0 shows the whole system's clicks")
    [compared] = shown(system, 2)["compared"]
    assert (compared["stable"], compared["canary"], compared["clicks"]) == (1, 2, whole.clicks)
    assert compared["recall20"]["lower"] > 0

    done = system.command("models", "promote", "--when-better", "--wait", "10s")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"version 2 minus version 1: {whole}\nserving 2, training from 2\n"
    assert commands(system)[-1].reason == f"better than version 1: {whole}"
    system.wait_until(lambda: successor.metric("ader_version_served") == 2, "it serves everyone")
    assert successor.samples("ader_canary_compared_clicks") == []
    successor.terminate()
    successor.wait()


def test_a_canary_that_is_worse_ends_by_itself_where_the_setting_says_so(
    system: System, parts: Parts
) -> None:
    pair = Pair(stable=2, canary=3)
    publisher = ModelPublisher(system.clients, system.topics, chunk_size=5_000)
    publisher.publish(manifest_of(3, dict(parts[3])), dict(parts[3]))
    rule = {"fallback": True, "fallback_margin": 1.0, "fallback_clicks": 300}
    worker = system.start("inference", inference=rule)
    system.wait_until_ready(worker)
    begin_canary(system, worker, pair)
    system.send(walks(system, block=6, first=0, visitors=400))
    system.wait_until(lambda: worker.metric("ader_version_canary") == 0, "the canary has ended")

    [command] = [c for c in commands(system) if c.command == "fallback"]
    assert (command.version, command.stable) == (3, 2)
    assert command.reason.startswith("worse than version 2: Recall@20 -")
    given = {
        worker.post("/recommend", {"items": ITEMS[:2], "session": f"key-{n}"}).json()["version"]
        for n in range(40)
    }
    assert given == {2}
    assert worker.metric("ader_canary_fallbacks_total") == 1
    listed = [json.loads(r) for r in system.command("models", "list", "--json").stdout.splitlines()]
    assert {row["version"]: row["roles"] for row in listed} == {
        1: [],
        2: ["serving"],
        3: ["parent", "fallen back"],
    }
    [decision] = shown(system, 3)["decisions"]
    assert (decision["command"], decision["reason"]) == ("fallback", command.reason)
