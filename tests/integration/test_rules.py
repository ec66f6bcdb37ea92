"""Settings that change between two starts: they hold from a place in the log on, or are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ader_stream.stream.avro.codec import decode
from ader_stream.stream.control.rules_log import read_logged_rules
from ader_stream.types import DAY_MS, MINUTE_MS, Click
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import Kafka, System, Worker

LONGER: dict[str, Any] = {"blocks": {"length": "3d"}}


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        yield system


def stop(*workers: Worker) -> None:
    for worker in workers:
        worker.terminate()
    assert [worker.wait() for worker in workers] == [0] * len(workers)


def wait_until_committed(system: System, count: int, *, by: str = "sessionizer") -> None:
    system.wait_until(lambda: sum(system.committed_offsets(by).values()) == count, f"{count} {by}")


def rules_changes(system: System) -> list[dict[str, Any]]:
    records = [decode(r.value(), r.headers()) for r in system.records(system.topics.sessions)]
    return [value for name, value in records if name == "RulesChange"]


def refusal(system: System, name: str, **overrides: Any) -> str:
    """Start a worker that must not start, and return what it says."""
    worker = system.start(name, **overrides)
    assert worker.wait() == 2
    lines = worker.log.read_text().splitlines()
    [said] = [line for line in lines if line.startswith("ader-stream: ")]
    assert not any("Traceback" in line for line in lines)
    return said


# --- at any time


def test_another_gap_holds_from_the_next_click_on_and_the_log_says_from_where(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path, partitions=1) as system:
        change_the_gap(system)


def change_the_gap(system: System) -> None:
    day = system.settings.block_rule.start(10)
    first = system.start("sessionizer")
    system.send([Click(key, "i0", day) for key in "bca"])
    system.send([Click("a", "i20", day + 20 * MINUTE_MS)])
    wait_until_committed(system, 4)
    stop(first)
    second = system.start("sessionizer", sessions={"gap": "5m"})
    system.send([Click("a", f"i{n}", day + n * MINUTE_MS) for n in (24, 31)])
    system.end_block(10)
    system.wait_until_sessions_have(6)
    of_a = [row.items for row in system.sessions() if row.key == "a"]
    assert of_a == [("i0", "i20", "i24"), ("i31",)]
    changes = [(c["next_offset"], c["rules"]["sessions.gap"]) for c in rules_changes(system)]
    assert changes == [(0, "30m"), (4, "5m")]
    assert second.logged("sessions.gap: 30m → 5m")
    logged = read_logged_rules(system.clients, system.topics)
    assert logged.rules["sessions.gap"] == "5m"


def test_inference_says_where_its_settings_are_not_the_sessionizers(system: System) -> None:
    inference = system.start("inference", sessions={"gap": "7m"})
    system.start("sessionizer")
    system.end_block(9)
    system.wait_until(lambda: inference.metric("ader_settings_differing") == 1, "one differs")
    assert inference.logged("sessions.gap: 30m → 7m") == 1


# --- after a reset


def test_another_clicks_topic_is_refused_in_one_line(system: System) -> None:
    first = system.start("sessionizer")
    system.end_block(9)
    wait_until_committed(system, system.partitions)
    stop(first)
    other = f"{system.topics.clicks}-other"
    made = system.command("topics", "create", "--with-clicks", clicks={"topic": other})
    assert made.returncode == 0, made.stderr
    said = refusal(system, "sessionizer", clicks={"topic": other})
    assert f"clicks.topic = {other}" in said
    assert f"was made with {system.topics.clicks}; set it back, or" in said


# --- from the next block


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_blocks_cannot_be_changed_under_workers_that_run(system: System, protocol: str) -> None:
    worker = system.start("sessionizer", kafka={"group_protocol": protocol})
    system.end_block(9)
    system.wait_until(
        lambda: read_logged_rules(system.clients, system.topics).blocks, "blocks are noted"
    )
    running = system.command("blocks", "change", "--yes", **LONGER)
    assert running.returncode == 1
    assert "workers are running" in running.stderr
    assert "Traceback" not in running.stderr
    stop(worker)
    assert system.command("blocks", "change", "--yes", **LONGER).returncode == 0


def test_blocks_of_another_length_continue_where_the_last_open_one_ends(
    kafka: Kafka, tmp_path: Path
) -> None:
    unheld = {"clicks": {"max_jump": "0ms"}}  # so few clicks of long ago would wait for others
    with System(kafka.bootstrap_servers, tmp_path, unheld) as system:
        change_the_length(system)


def change_the_length(system: System) -> None:
    days = simulated_clicks(system.settings.block_rule, blocks=9, walks=40)
    sessionizer, inference, trainer = (
        system.start(name) for name in ("sessionizer", "inference", "trainer")
    )
    system.send(days[0])
    system.end_block(0)
    system.wait_until_served(0)
    system.send(days[1])
    for worker in ("sessionizer", "inference"):
        wait_until_committed(system, len(days[0] + days[1]) + system.partitions, by=worker)
    stop(sessionizer, inference, trainer)

    for name in ("sessionizer", "inference", "trainer"):
        said = refusal(system, name, **LONGER)
        assert "blocks.length = 3d: blocks are cut with blocks.length = 1d; set it back" in said
        assert "`ader-stream blocks change`" in said
    (system.folder / "period_0.txt").write_text("a x\n")
    replayed = system.command("replay", "--dataset", system.folder, **LONGER)
    assert (replayed.returncode, "blocks are cut with" in replayed.stderr) == (2, True)

    before = read_logged_rules(system.clients, system.topics)
    planned = system.command("blocks", "change", **LONGER)
    assert "block 1 (open on partition" in planned.stdout
    assert "block 2 starts there and lasts 1d" in planned.stdout
    assert "nothing was changed" in planned.stdout
    assert read_logged_rules(system.clients, system.topics) == before
    done = system.command("blocks", "change", "--yes", "--json", **LONGER)
    assert (json.loads(done.stdout)["done"], done.stderr) == (True, "")
    assert "blocks.length = 1d: blocks are cut with blocks.length = 3d from block 2 on" in refusal(
        system, "sessionizer"
    )

    rule = read_logged_rules(system.clients, system.topics).blocks
    assert rule is not None
    assert [rule.start(block) // DAY_MS - 4 for block in range(6)] == [0, 1, 2, 3, 6, 9]
    for name in ("sessionizer", "inference", "trainer"):
        system.start(name, **LONGER)
    ends_with = {1: 1, 2: 2, 5: 3, 8: 4}  # day → block
    for day in range(1, 9):
        system.send(days[day] if day > 1 else [])
        system.end_block(day)
        if day in ends_with:
            system.wait_until_served(ends_with[day])
    clicks = [click for day in days for click in day]
    system.wait_until_scored(len(clicks))
    assert system.sessions() == expected_sessions(rule, clicks)
    manifests = system.manifests()
    assert [manifest.blocks for manifest in manifests] == [(0,), (1,), (2,), (3,), (4,)]
    lengths = [manifest.cut["blocks.length"] // DAY_MS for manifest in manifests]
    assert lengths == [1, 1, 3, 3, 3]
    scored_by = {(key.block, key.version) for key in system.scores()}
    assert scored_by == {(0, None), (1, 1), (2, 2), (3, 3), (4, 4)}
    shown = system.command("blocks", "show")
    assert shown.stdout.splitlines()[1].startswith("from block 2 (1970-01-07T00:00:00Z) on: 3d")
