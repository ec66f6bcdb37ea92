"""Kills leading monitors at random moments; their numbers must be those of one that nobody killed.

``python -m tests.chaos.monitors --kills 50`` starts a Kafka of its own and a sessionizer, kills the
leading monitor again and again while sessions, block ends and refused clicks come in, and compares
what the last one has committed with what one uninterrupted process counts on the same topics.
``--seed`` repeats a run's clicks and pauses, ``--out`` adds the report to a file.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_cache_path

from ader_stream.local_kafka import Guard
from ader_stream.testing.brokers import from_java
from ader_stream.types import Click
from tests.integration.monitored import kept_numbers, uninterrupted_numbers
from tests.integration.simulated import simulated_clicks
from tests.integration.system import RawRecord, System, Worker

OFTEN = {"monitor": {"commit_interval": "50ms"}, "kafka": {"session_timeout": "6s"}}
"""Many commits, so that kills come within some of them."""

BLOCKS = 4
PAUSE_SECONDS = (0.0, 1.0)
"""From the takeover to the kill."""


@dataclass(frozen=True)
class Report:
    """What a run came to.

    Parameters
    ----------
    kills
        Leaders that were killed; each time the standby took over.
    commits
        Records of the changelog.
    numbers, different
        What is compared: statistics and places, and how many of them differ.
    """

    seed: int
    kills: int
    seconds: int
    clicks: int
    commits: int
    numbers: int
    different: int


def kill_many(bootstrap_servers: str, folder: Path, kills: int, seed: int) -> Report:
    """Kill leading monitors one after another while clicks come in."""
    began, rng = time.monotonic(), random.Random(seed)
    with System(bootstrap_servers, folder, OFTEN) as system:
        rule = system.settings.block_rule
        blocks = simulated_clicks(rule, BLOCKS, max(200, 20 * kills), seed)
        system.start("sessionizer")
        monitors = [system.start("monitor"), system.start("monitor")]
        for part in parts(blocks, kills):
            leader = leading(system, monitors)
            send(system, part)
            time.sleep(rng.uniform(*PAUSE_SECONDS))
            leader.kill()
            monitors = [*(w for w in monitors if w is not leader), system.start("monitor")]
        system.wait_until_sessions_have(sum(map(len, blocks)))
        expected = uninterrupted_numbers(system)
        leading(system, monitors)
        system.wait_until(lambda: kept_numbers(system).keys() == expected.keys(), "all is counted")
        found = settled_numbers(system, monitors)
        return Report(
            seed,
            kills,
            round(time.monotonic() - began),
            sum(map(len, blocks)),
            len(system.records(system.topics.monitor_state)),
            len(expected),
            sum(found.get(name) != value for name, value in expected.items()),
        )


def parts(blocks: Sequence[Sequence[Click]], kills: int) -> Iterator[list[Click | int]]:
    """Yield what is sent before each kill: clicks, and the numbers of blocks that end."""
    everything: list[Click | int] = []
    for block, clicks in enumerate(blocks):
        everything += [*clicks, block]
    size = -(-len(everything) // kills)
    for begin in range(0, size * kills, size):
        yield everything[begin : begin + size]


def send(system: System, part: Sequence[Click | int]) -> None:
    """Send clicks and block ends, and one record that is refused."""
    system.send_raw([RawRecord(b"poisoned", b"no click")])
    clicks: list[Click] = []
    for each in part:
        if isinstance(each, Click):
            clicks.append(each)
        else:
            system.send(clicks)
            system.end_block(each)
            clicks = []
    system.send(clicks)


def leading(system: System, monitors: Sequence[Worker]) -> Worker:
    """Wait until one of the monitors leads, and return it."""
    found: list[Worker] = []

    def leads() -> bool:
        found[:] = [worker for worker in monitors if worker.metric("ader_monitor_leader")]
        return bool(found)

    system.wait_until(leads, "one leads")
    return found[0]


def settled_numbers(system: System, monitors: Sequence[Worker]) -> dict[str, object]:
    """End the monitors; return what the leader has committed at its end."""
    leader = leading(system, monitors)
    system.wait_until(lambda: leader.metric("ader_monitor_caught_up"), "it has read all")
    for worker in monitors:
        if worker is not leader:
            worker.kill()
    leader.terminate()
    assert leader.wait() == 0, leader.tail()
    return kept_numbers(system)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments.add_argument("--out", type=Path, help="file that the report is added to")
    chosen = arguments.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        data = Path(folder)
        broker = from_java(data / "kafka", user_cache_path("ader-stream"), guard)
        with broker as kafka:
            report = kill_many(kafka.bootstrap_servers, data, chosen.kills, chosen.seed)
    line = json.dumps(asdict(report))
    print(line)
    if chosen.out:
        with chosen.out.open("a") as out:
            out.write(line + "\n")
    sys.exit(bool(report.different))


if __name__ == "__main__":
    main()
