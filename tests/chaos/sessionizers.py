"""Kills, freezes and replaces sessionizers and their broker at random; no session may change.

``python -m tests.chaos.sessionizers --kills 200`` starts a Kafka of its own and says in the end how
many sessions the clicks come to, worked out without the code under test, and how many of them were
lost, doubled or wrong. ``--seed`` repeats a run's clicks and actions.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

from ader_stream.local_kafka import Guard
from ader_stream.stream.kafka.changelog import offset_range
from ader_stream.types import Click
from tests.integration.conftest import from_java
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import SessionRow, System, Worker

BLOCKS = 3
MOST_WORKERS = 3
PAUSE_SECONDS = (0.2, 2.0)
FREEZE_SECONDS = (1.0, 9.0)
"""Some end before the session timeout of 6 s has passed, some when others have taken over."""

MEASURED_KILLS = 5
"""The recovery from every so many kills is waited for and timed."""


@dataclass
class Report:
    """What was done, and what became of the sessions.

    Parameters
    ----------
    actions
        Kind → how often it was done.
    recovery_seconds
        From a kill to the commit of all that was sent before it, where that was waited for.
    lost, doubled, wrong
        Sessions that are not there, there more than once, or other than expected.
    """

    seed: int
    actions: dict[str, int] = field(default_factory=dict)
    recovery_seconds: list[float] = field(default_factory=list)
    expected: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether every session is there once, as expected."""
        return not (self.lost or self.doubled or self.wrong)


class Chaos:
    """Does one thing after another to the sessionizers of a system."""

    def __init__(self, system: System, restart_broker: Callable[[], None], seed: int) -> None:
        self._system = system
        self._restart_broker = restart_broker
        self._rng = random.Random(seed)
        self._running = [system.start("sessionizer"), system.start("sessionizer")]
        self._frozen: dict[int, float] = {}  # process id → until when
        self.report = Report(seed)
        self._actions: Counter[str] = Counter()

    def run(self, clicks: Sequence[Click], kills: int) -> Report:
        """Send the clicks piece by piece, and do something to a worker after each."""
        self._system.wait_until_holding(*self._running)
        todo = self._todo(kills)
        size = -(-len(clicks) // len(todo))
        for number, action in enumerate(todo):
            self._system.send(clicks[number * size : (number + 1) * size])
            self._thaw()
            getattr(self, f"_{action}")()
            self._actions[action] += 1
            time.sleep(self._rng.uniform(*PAUSE_SECONDS))
        self._thaw(everyone=True)
        self._finish(clicks)
        return self.report

    def _todo(self, kills: int) -> list[str]:
        others = {"freeze": kills // 3, "leave": kills // 6, "join": kills // 6}
        todo = ["kill"] * kills + [name for name, times in others.items() for _ in range(times)]
        todo += ["restart"] * (1 + kills // 40)
        self._rng.shuffle(todo)
        return todo

    # --- what is done to them

    def _kill(self) -> None:
        worker = self._take_one()
        worker.kill()
        if self._actions["kill"] % MEASURED_KILLS == MEASURED_KILLS - 1:
            killed_at = time.monotonic()
            self._start()
            self._thaw(everyone=True)
            self._system.wait_until(self._is_all_committed, "all is committed after a kill")
            self.report.recovery_seconds.append(round(time.monotonic() - killed_at, 1))
        else:
            self._start()

    def _freeze(self) -> None:
        worker = self._rng.choice(self._running)
        if worker.process.pid not in self._frozen:
            worker.signal(signal.SIGSTOP)
            until = time.monotonic() + self._rng.uniform(*FREEZE_SECONDS)
            self._frozen[worker.process.pid] = until

    def _leave(self) -> None:
        worker = self._take_one()
        worker.signal(signal.SIGCONT)
        worker.terminate()
        self._start()

    def _join(self) -> None:
        if len(self._running) == MOST_WORKERS:
            self._take_one().kill()
        self._start()

    def _restart(self) -> None:
        self._restart_broker()
        self._replace_who_found_no_broker()

    # --- helpers of these

    def _start(self) -> None:
        self._running.append(self._system.start("sessionizer"))

    def _replace_who_found_no_broker(self) -> bool:
        """Do what an orchestrator does: a worker that starts while no broker answers ends."""
        gone = [w for w in self._running if w.has_died() and w.logged("no Kafka answers")]
        for worker in gone:
            worker.may_end = True
            self._running.remove(worker)
            self._start()
        return not gone

    def _take_one(self) -> Worker:
        worker = self._running.pop(self._rng.randrange(len(self._running)))
        self._frozen.pop(worker.process.pid, None)
        return worker

    def _thaw(self, *, everyone: bool = False) -> None:
        for worker in self._running:
            until = self._frozen.get(worker.process.pid)
            if until is not None and (everyone or time.monotonic() >= until):
                worker.signal(signal.SIGCONT)
                del self._frozen[worker.process.pid]

    def _is_all_committed(self) -> bool:
        system = self._system
        committed = system.committed_offsets("sessionizer")
        ends = (
            (partition, offset_range(system.clients, system.topics.clicks, partition)[1])
            for partition in range(system.partitions)
        )
        return all(end == 0 or committed.get(partition) == end for partition, end in ends)

    def _finish(self, clicks: Sequence[Click]) -> None:
        rule = self._system.settings.block_rule
        for block in range(BLOCKS):
            self._system.end_block(block)
        self._system.wait_until(
            lambda: (
                self._replace_who_found_no_broker()
                and self._system.clicks_in_blocks() >= len(clicks)
            ),
            "every click is in a session",
        )
        compare(self.report, expected_sessions(rule, clicks), self._system.sessions())
        self.report.actions = dict(self._actions)


def compare(report: Report, expected: Sequence[SessionRow], found: Sequence[SessionRow]) -> None:
    """Count what differs, by the sessions' identity: key, block, first time."""
    wanted = {identity(row): row for row in expected}
    times = Counter(map(identity, found))
    report.expected = len(wanted)
    report.lost = len(wanted.keys() - times.keys())
    report.doubled = sum(count - 1 for count in times.values())
    report.wrong = sum(wanted.get(identity(row)) != row for row in found)


def identity(row: SessionRow) -> tuple[str, int, int]:
    return row.key, row.block, row.first_time


def cause_chaos(
    address: str, folder: Path, restart_broker: Callable[[], None], kills: int, seed: int
) -> Report:
    """Run one chaos on a Kafka that is there."""
    with System(address, folder) as system:
        walks = max(200, 40 * kills)
        blocks = simulated_clicks(system.settings.block_rule, BLOCKS, walks, seed)
        clicks = [click for block in blocks for click in block]
        return Chaos(system, restart_broker, seed).run(clicks, kills)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = arguments.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        data = Path(folder)
        with from_java(data / "kafka", user_cache_path("ader-stream"), guard) as kafka:
            report = cause_chaos(
                kafka.bootstrap_servers, data, kafka.restart, chosen.kills, chosen.seed
            )
    print(json.dumps(asdict(report)))
    sys.exit(not report.is_clean)


if __name__ == "__main__":
    main()
